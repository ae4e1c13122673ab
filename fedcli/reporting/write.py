"""The report as files: `report.html`, `model-card.md`, `tables/*.csv`, `figures/*.svg` and `figures/*.png`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.reporting import card
from fedcli.reporting.contents import gather
from fedcli.reporting.figures import NAMES, illustrations
from fedcli.reporting.page import render
from fedcli.reporting.sheets import sheets
from fedcli.reporting.tables import BEST

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.exchange.history import History

PAGE = "report.html"
CARD = "model-card.md"


def write(history: History, statement: str, out: Path, model: str = BEST) -> tuple[Path, ...]:
    """Write the report into a folder, over an older one.

    Each file appears whole or not at all. A figure of an older report for which this one has nothing to show is removed, and its
    card where there is no model yet.

    Args:
        history: The verified records of one federation.
        statement: What was verified, and against which key; it stands at the top of the page.
        out: The folder; made where it is missing.
        model: Which model the card describes: `best`, `final`, or `SITE/KIND`.

    Returns:
        What was written, the page first.

    Raises:
        MissingError: The history holds no federation record, or not that model.
        UsageError: There can be no such model, or the folder cannot be written.
    """
    report = gather(history, statement, model)
    pictures = illustrations(report)
    files = [(out / PAGE, render(report, pictures).encode())]
    if report.chosen:
        files.append((out / CARD, card.render(report, report.chosen).encode()))
    files += [(out / "tables" / f"{sheet.name}.csv", sheet.text.encode()) for sheet in sheets(report)]
    for picture in pictures:
        files.append((out / "figures" / f"{picture.name}.svg", picture.svg.encode()))
        files.append((out / "figures" / f"{picture.name}.png", picture.png))
    outdated = [out / CARD] + [out / "figures" / f"{name}.{end}" for name in NAMES for end in ("svg", "png")]
    try:
        for path, data in files:
            _replace(path, data)
        for path in {*outdated} - {path for path, _ in files}:
            path.unlink(missing_ok=True)
    except OSError as error:
        msg = f"{out}: the report cannot be written: {error.strerror}"
        raise UsageError(msg, hint="name a folder that you may write with --out") from error
    return tuple(path for path, _ in files)


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
