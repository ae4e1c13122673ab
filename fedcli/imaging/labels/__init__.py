"""From a label table to the class of each image and the part of each patient.

`csv_file` reads a CSV file. `columns` decides which of its columns hold what. `matching` joins its rows with the images, by the
one of the `key_columns` that names most of them. `resolution` decides the class where several rows name an image, using `density`
to interpret how a class is written. `exams` says which exams the plan takes, `exam_dates` reads their dates. `split` assigns
patients to parts, by a hash or by a list.
"""
