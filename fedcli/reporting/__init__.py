"""The paper's tables and figures, and the pages that show them.

    tables/          pure functions from a `History` to frozen values
    figures/         those values as pictures
    report_data.py   everything that the report shows, gathered once
    csv_tables.py    its tables as CSV
    report_page.py   its one-file HTML page
    model_card.py    the card of its chosen model, in Markdown
    report_files.py  all of it, written into a folder
    dataset_page.py  the page of a prepared data set, for its site only

The clock, the network and the drop folder are not used here: the same history and statement give the same bytes.
"""
