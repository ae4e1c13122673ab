"""One DICOM file → a mammogram.

`reader` goes through these steps:

1. `header` reads the attributes and finds the pixel data.
2. `pixel_layout` checks how the pixels are stored; `views` reads the metadata.
3. `decoding` reads the frames; a compressed frame goes through the first of its `decoders` that succeeds.
4. `modality` applies padding and the Modality LUT; `voi` reads the window.

`syntaxes` lists the supported transfer syntaxes for `doctor` and `prepare --check`.
"""
