"""A CSV file that a person or another program wrote: header, rows, line numbers.

UTF-8, or UTF-16 with a byte order mark. The separator is comma, semicolon, tab or bar: the one by which the first lines have
equally many cells, or the one that a first line such as `sep=;` names. Cells are stripped, of invisible characters too. Column
names are not case-sensitive. Only the columns that somebody needs are kept.
"""

from __future__ import annotations

import csv
import re
from array import array
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, TextIO

from fedcli.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
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
    """A header and the cells below it.

    Attributes:
        names: The columns that were kept, as the file writes them.
        columns: Their cells; of rows that are not empty.
        lines: For each row the line in the file, counted from 1, at which it ends.
        header: All columns of the file.
    """

    names: tuple[str, ...]
    columns: tuple[Sequence[str], ...]
    lines: Sequence[int]
    header: tuple[str, ...]

    @property
    def rows(self) -> Iterator[CsvRow]:
        """All rows, one after another."""
        for line, *cells in zip(self.lines, *self.columns, strict=True):
            yield CsvRow(line=line, cells=tuple(cells))

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

        def cell(number: int) -> str:
            return _FIELD.sub(lambda field: self.columns[places[field[1]]][number], template)

        column = [cell(number) for number in range(len(self.lines))]
        return replace(self, names=(*self.names, template), columns=(*self.columns, column))


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
            return _table(_rows(path, file), needed)
    except OSError as error:
        msg = f"{path}: the table cannot be read: {error.strerror}"
        raise DataError(msg) from error
    except UnicodeError as error:
        msg = f"{path}: not UTF-8 text: {error}"
        raise DataError(msg, hint=_HINT) from error
    except csv.Error as error:
        msg = f"{path}: not a CSV table: {error}"
        raise DataError(msg, hint=_HINT) from error


def _table(rows: Iterator[CsvRow], needed: Callable[[str], bool]) -> CsvFile:
    header = next(rows).cells
    kept = [index for index, name in enumerate(header) if needed(name)]
    columns: list[list[str]] = [[] for _ in kept]
    lines = array("Q")
    texts: dict[str, str] = {}  # many cells hold the same text, which is kept once
    for row in rows:
        lines.append(row.line)
        for column, index in zip(columns, kept, strict=True):
            cell = _strip(row.cells[index])
            column.append(texts.setdefault(cell, cell))
    return CsvFile(names=tuple(header[index] for index in kept), columns=tuple(columns), lines=lines, header=header)


def _rows(path: Path, file: TextIO) -> Iterator[CsvRow]:
    """Yield the header, then every row that is not empty, its cells as they are written."""
    first = list(islice(file, _LINES))
    named = re.fullmatch(r"sep=([,;\t|])\s*", first[0]) if first else None
    separator = named[1] if named else max(_SEPARATORS, key=lambda candidate: _fit(first, candidate))
    reader = csv.reader(chain(["\n"] if named else first[:1], first[1:], file), delimiter=separator, strict=True)
    lines = (cells for cells in reader if any(map(_strip, cells)))
    header = _stripped(next(lines, []))
    if not header:
        msg = f"{path}: the table is empty"
        raise DataError(msg, hint=_HINT)
    if len(header) > MAX_COLUMNS:
        msg = f"{path}: {len(header)} columns, expected at most {MAX_COLUMNS}"
        raise DataError(msg, hint=_HINT)
    yield CsvRow(line=reader.line_num, cells=header)
    for cells in lines:
        count = len(cells)
        while len(cells) > len(header) and not _strip(cells[-1]):
            cells.pop()
        if len(cells) != len(header):
            msg = f"{path}, line {reader.line_num}: expected {len(header)} cells as in the header, found {count}"
            raise DataError(msg, hint=_HINT)
        yield CsvRow(line=reader.line_num, cells=tuple(cells))


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
