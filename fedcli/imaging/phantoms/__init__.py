"""Synthetic hospitals for rehearsals and tests.

`breast` draws the attenuation of one view. `scanner` makes stored pixel values of it, and `dicom_writer` a DICOM file.
`hospitals` combines them into an archive with its label table.
"""
