"""The paper's relative improvements: from one half of Table 2 to the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.reporting.tables.cross_site import mean

if TYPE_CHECKING:
    from fedcli.reporting.tables.cross_site import Cell, CrossSiteTable


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanChange:
    """A mean before and after, both over the cells that have a kappa before and after.

    Attributes:
        before: Mean before.
        after: Mean after.
        present: Cells with both kappas.
        expected: Cells of the complete table.
    """

    before: float | None
    after: float | None
    present: int
    expected: int

    @property
    def relative(self) -> float | None:
        """Change as a fraction of the mean before; None where that is missing, zero or negative: a ratio would mean nothing."""
        return None if self.before is None or self.after is None or self.before <= 0 else self.after / self.before - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """The paper's relative improvements, on the diagonal and off it."""

    diagonal: MeanChange
    off_diagonal: MeanChange


def improvement(before: CrossSiteTable, after: CrossSiteTable) -> Improvement:
    """Compare two tables of the same sites over the cells that both have, so that a missing cell changes neither mean."""
    every = [pair for rows in zip(before.rows, after.rows, strict=True) for pair in zip(*rows, strict=True)]
    pairs = [pair for pair in every if pair[0].trained_at not in before.testers and any(c.planned or c.scored for c in pair)]
    return Improvement(
        diagonal=_change([pair for pair in pairs if pair[0].own]),
        off_diagonal=_change([pair for pair in pairs if not pair[0].own]),
    )


def _change(pairs: list[tuple[Cell, Cell]]) -> MeanChange:
    both = [(before.kappa, after.kappa) for before, after in pairs if before.kappa is not None and after.kappa is not None]
    return MeanChange(
        before=mean(before for before, _ in both).value,
        after=mean(after for _, after in both).value,
        present=len(both),
        expected=len(pairs),
    )
