"""From a hospital's archive to a prepared data set.

`preparation` is the whole path: `archive` reads the files below a folder, in parallel; each file passes `dicom` or `pictures`,
which return a `mammogram`, and `pixels`, which makes it a square. `labels` gives each image its class and each patient a part.
`dataset` writes the result and loads it again. `preview` runs the same path over headers only and writes nothing. `phantoms`
draws the archives of synthetic hospitals for rehearsals and tests, and knows none of the others.

A file that cannot be used raises `rejection.RejectedError`; its reason is all that may be published about it.
"""
