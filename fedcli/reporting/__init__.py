"""The paper's tables and figures, and the pages that show them.

    tables/          pure functions from a `History` to frozen values
    figures/         those values as pictures
    report_data.py   everything that the report shows, gathered once
    csv_tables.py    its tables as CSV
    model_card.py    the card of its chosen model, in Markdown
    report_files.py  all of it, with its one-file HTML page, written into a folder
    dataset_page.py, prediction_page.py   the pages of a prepared data set and of predictions, for their site only
    verification_report.py                every check of `verify`, with its result
    trackers/        the report's values for MLflow and the like

The clock, the network and the drop folder are not used here: the same history and statement give the same bytes.
"""
