"""A CSV file that a person or another program wrote: header, rows, line numbers.

UTF-8, with or without a byte order mark. The separator is comma, semicolon or tab, whichever is most frequent in the header.
Cells are stripped. Column names are not case-sensitive.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

MAX_COLUMNS = 4096

_SEPARATORS = ",;\t"
_FIELD = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvRow:
    """One row.

    Attributes:
        line: Line in the file, counted from 1, at which the row ends.
        cells: One text per column.
    """

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvFile:
    """A header and its rows.

    Attributes:
        names: The columns, as the file writes them.
        rows: All rows that are not empty.
    """

    names: tuple[str, ...]
    rows: tuple[CsvRow, ...]

    def column(self, name: str) -> int | None:
        """Return a column's position, or None."""
        return next((index for index, column in enumerate(self.names) if column.lower() == name.lower()), None)

    def composed(self, template: str) -> CsvFile:
        """Return the table with one more column, named and composed by a template such as `{patient}_{image}`.

        Raises:
            KeyError: A column of the template does not exist; the argument is its name.
        """
        places: dict[str, int] = {}
        for name in _FIELD.findall(template):
            index = self.column(name)
            if index is None:
                raise KeyError(name)
            places[name] = index

        def cell(row: CsvRow) -> str:
            return _FIELD.sub(lambda field: row.cells[places[field[1]]], template)

        rows = tuple(CsvRow(line=row.line, cells=(*row.cells, cell(row))) for row in self.rows)
        return CsvFile(names=(*self.names, template), rows=rows)


def read(path: Path) -> CsvFile:
    """Read a table.

    Raises:
        DataError: The file cannot be read, is not UTF-8 or not a table, or a row has more or fewer cells than the header.
    """
    hint = "save the table as CSV in UTF-8, with the column names in the first line"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            separator = max(_SEPARATORS, key=file.readline().count)
            file.seek(0)
            reader = csv.reader(file, delimiter=separator, strict=True)
            lines = [CsvRow(line=reader.line_num, cells=tuple(map(str.strip, cells))) for cells in reader if any(cells)]
    except OSError as error:
        msg = f"{path}: the table cannot be read: {error.strerror}"
        raise DataError(msg) from error
    except (ValueError, csv.Error) as error:
        msg = f"{path}: not a CSV table: {error}"
        raise DataError(msg, hint=hint) from error
    if not lines:
        msg = f"{path}: the table is empty"
        raise DataError(msg, hint=hint)
    header, *rows = lines
    if len(header.cells) > MAX_COLUMNS:
        msg = f"{path}: {len(header.cells)} columns, expected at most {MAX_COLUMNS}"
        raise DataError(msg, hint=hint)
    for row in rows:
        if len(row.cells) != len(header.cells):
            msg = f"{path}, line {row.line}: expected {len(header.cells)} cells as in the header, found {len(row.cells)}"
            raise DataError(msg, hint=hint)
    return CsvFile(names=header.cells, rows=tuple(rows))
