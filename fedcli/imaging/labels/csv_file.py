"""A CSV file that a person or another program wrote: header, rows, line numbers.

UTF-8, or UTF-16 with a byte order mark. The separator is comma, semicolon, tab or bar: the one by which the first lines have
equally many cells, or the one that a first line such as `sep=;` names. Cells are stripped, of invisible characters too. Column
names are not case-sensitive. Only the columns that somebody needs are kept.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, TextIO

from fedcli.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MAX_COLUMNS = 4096

_SEPARATORS = ",;\t|"
_LINES = 50
"""So many lines tell the separator."""
_INVISIBLE = "\0\u200b\u200c\u200d\u2060\ufeff"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_WORKBOOK = b"PK\3\4"
_HINT = "save the table as CSV in UTF-8, with the column names in the first line"
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
        names: The columns that were kept, as the file writes them.
        rows: All rows that are not empty.
        header: All columns of the file.
    """

    names: tuple[str, ...]
    rows: tuple[CsvRow, ...]
    header: tuple[str, ...]

    def column(self, name: str) -> int | None:
        """Return a column's position, or None."""
        return next((index for index, column in enumerate(self.names) if column.lower() == name.lower()), None)

    def composed(self, template: str) -> CsvFile:
        """Return the table with one more column, named and composed by a template such as `{patient}_{image}`.

        Raises:
            KeyError: A column of the template does not exist; the argument is its name.
        """
        places: dict[str, int] = {}
        for name in fields_of(template):
            index = self.column(name)
            if index is None:
                raise KeyError(name)
            places[name] = index

        def cell(row: CsvRow) -> str:
            return _FIELD.sub(lambda field: row.cells[places[field[1]]], template)

        rows = tuple(CsvRow(line=row.line, cells=(*row.cells, cell(row))) for row in self.rows)
        return CsvFile(names=(*self.names, template), rows=rows, header=self.header)


def fields_of(template: str) -> list[str]:
    """Return the columns from which a template such as `{patient}_{image}` composes one."""
    return _FIELD.findall(template)


def read(path: Path, needed: Callable[[str], bool] = lambda _name: True) -> CsvFile:
    """Read a table.

    Args:
        path: The file.
        needed: Whether a column is kept, by its name.

    Raises:
        DataError: The file cannot be read or is no table, or a row has more or fewer cells than the header.
    """
    try:
        with path.open("rb") as head:
            mark = head.read(4)
        if mark == _WORKBOOK:
            msg = f"{path}: not a CSV table but a workbook"
            raise DataError(msg, hint=_HINT)
        with path.open(encoding="utf-16" if mark.startswith(_UTF16_MARKS) else "utf-8-sig", newline="") as file:
            header, *rows = _rows(path, file, needed)
    except OSError as error:
        msg = f"{path}: the table cannot be read: {error.strerror}"
        raise DataError(msg) from error
    except UnicodeError as error:
        msg = f"{path}: not UTF-8 text: {error}"
        raise DataError(msg, hint=_HINT) from error
    except csv.Error as error:
        msg = f"{path}: not a CSV table: {error}"
        raise DataError(msg, hint=_HINT) from error
    kept = [index for index, name in enumerate(header.cells) if needed(name)]
    return CsvFile(names=tuple(header.cells[index] for index in kept), rows=tuple(rows), header=header.cells)


def _rows(path: Path, file: TextIO, needed: Callable[[str], bool]) -> Iterator[CsvRow]:
    """Yield the header, then the needed cells of every row that is not empty."""
    first = list(islice(file, _LINES))
    named = re.fullmatch(r"sep=([,;\t|])\s*", first[0]) if first else None
    separator = named[1] if named else max(_SEPARATORS, key=lambda candidate: _fit(first, candidate))
    reader = csv.reader(chain(["\n"] if named else first[:1], first[1:], file), delimiter=separator, strict=True)
    lines = (CsvRow(line=reader.line_num, cells=_stripped(cells)) for cells in reader if any(map(_strip, cells)))
    header = next(lines, None)
    if header is None:
        msg = f"{path}: the table is empty"
        raise DataError(msg, hint=_HINT)
    if len(header.cells) > MAX_COLUMNS:
        msg = f"{path}: {len(header.cells)} columns, expected at most {MAX_COLUMNS}"
        raise DataError(msg, hint=_HINT)
    yield header
    kept = [index for index, name in enumerate(header.cells) if needed(name)]
    texts: dict[str, str] = {}  # many cells hold the same text, which is kept once
    for row in lines:
        cells = row.cells
        while len(cells) > len(header.cells) and not cells[-1]:
            cells = cells[:-1]
        if len(cells) != len(header.cells):
            msg = f"{path}, line {row.line}: expected {len(header.cells)} cells as in the header, found {len(row.cells)}"
            raise DataError(msg, hint=_HINT)
        yield CsvRow(line=row.line, cells=tuple(texts.setdefault(cells[index], cells[index]) for index in kept))


def _fit(lines: list[str], separator: str) -> tuple[bool, int]:
    """Return whether lines have equally many cells, several, by a separator, and how many the first one has."""
    try:
        counts = [len(_stripped(cells)) for cells in csv.reader(lines, delimiter=separator) if any(map(_strip, cells))]
    except csv.Error:
        return False, 0
    width = counts[0] if counts else 0
    return width > 1 and len(set(counts)) == 1, width


def _stripped(cells: list[str]) -> tuple[str, ...]:
    return tuple(map(_strip, cells))


def _strip(cell: str) -> str:
    return cell.strip(_INVISIBLE).strip().strip(_INVISIBLE)
