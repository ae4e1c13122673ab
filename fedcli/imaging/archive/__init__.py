"""Many files in parallel: each becomes one prepared image, or a reason why not.

`image_archive` is a folder, whose files `archive_listing` lists. `reading` reads them all: `file_result.read_file` is the task
for one file, which `pool` runs in processes of this machine, or `cluster` on the workers of a Dask scheduler; `cache` keeps the
results for the next run. `acceptance` then decides, file by file, which images are used.
"""
