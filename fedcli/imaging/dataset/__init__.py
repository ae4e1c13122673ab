"""A prepared data set on disk.

`writing` writes its files: the `index` without identifiers, the images, which `survey` examines scanner by scanner, and sums up
as a cohort. `prepared_dataset` describes the files and loads them.
"""
