"""The paper's relative improvements: one half of Table 2 against the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedcli.reporting.tables.cross_site import Cell, CrossSiteTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """From one mean to another, both over the cells that have a kappa before and after.

    Attributes:
        before: Mean before.
        after: Mean after.
        present: Cells in both.
        expected: Cells that there would be.
    """

    before: float | None
    after: float | None
    present: int
    expected: int

    @property
    def relative(self) -> float | None:
        """Change as a fraction of the mean before; None where that is absent, zero or negative, when a ratio says nothing."""
        return None if self.before is None or self.after is None or self.before <= 0 else self.after / self.before - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """The paper's relative improvements, on the diagonal and off it."""

    diagonal: Change
    off_diagonal: Change


def improvement(before: CrossSiteTable, after: CrossSiteTable) -> Improvement:
    """Compare two tables of the same sites, cell by cell, so that a cell which one of them lacks moves neither mean."""
    pairs = [pair for rows in zip(before.rows, after.rows, strict=True) for pair in zip(*rows, strict=True)]
    return Improvement(
        diagonal=_change([pair for pair in pairs if pair[0].own]),
        off_diagonal=_change([pair for pair in pairs if not pair[0].own]),
    )


def _change(pairs: list[tuple[Cell, Cell]]) -> Change:
    both = [(before.kappa, after.kappa) for before, after in pairs if before.kappa is not None and after.kappa is not None]
    num = len(both)
    return Change(
        before=sum(before for before, _ in both) / num if num else None,
        after=sum(after for _, after in both) / num if num else None,
        present=num,
        expected=len(pairs),
    )
