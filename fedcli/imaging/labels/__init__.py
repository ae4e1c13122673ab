"""From a label table to the class of each image and the part of each patient.

`csv_file` reads a CSV file. `columns` decides which of its columns hold what. `matching` joins its rows with the images, using
`density` to interpret how a class is written. `split` assigns patients to parts, by a hash or by a list.
"""
