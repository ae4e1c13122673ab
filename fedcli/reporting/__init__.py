"""The paper's tables and figures, and the page that holds them.

    tables/     pure functions from a `History` to frozen values
    figures/    those values as pictures
    report.py   everything that the report shows, gathered once
    sheets.py   the tables as CSV
    page.py     the one-file HTML page
    write.py    all of it, into a folder

The clock, the network and the drop folder play no part: the same history and statement give the same bytes.
"""
