"""What is printed: progress and events on stderr, results on stdout, as text or as one JSON object."""

from __future__ import annotations

import json
import logging
import math
import sys
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, Any

from rich import filesize
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from fedcli import wire
from fedcli.progress import BYTES
from fedcli.text.visible_text import visible, visible_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from rich.console import ConsoleOptions, RenderableType
    from rich.progress import Task
    from rich.segment import Segment

    from fedcli.errors import FedcliError

_BLOCKS = " ▁▂▃▄▅▆▇█"
_LOG_BYTES = 1 << 20
_LOG_FILES = 5


class _Rate(ProgressColumn):
    """Units per second."""

    def render(self, task: Task) -> Text:
        """Return `12.3 steps/s`, or nothing before there is a rate."""
        if task.speed is None:
            return Text("")
        if task.fields["unit"] == BYTES:
            return Text(f"{filesize.decimal(int(task.speed))}/s", style="progress.data.speed")
        return Text(f"{task.speed:.3g} {task.fields['unit']}/s", style="progress.data.speed")


class _Amount(ProgressColumn):
    """The units that are done and all units; bytes in units that fit."""

    def __init__(self) -> None:
        super().__init__()
        self._counts = MofNCompleteColumn()
        self._bytes = DownloadColumn()

    def render(self, task: Task) -> Text:
        """Return `3/20` or `12.3/28.1 MB`."""
        return (self._bytes if task.fields["unit"] == BYTES else self._counts).render(task)


class Terminal(Console):
    """A console on which no text can do more than be read; of hidden characters only the line breaks of messages count."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text of others with every hidden character shown."""
        return super().render_str(visible(text, keep="\n"), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render; a styled text of others that has hidden characters is shown with them, without its styles."""
        if isinstance(renderable, Text) and (shown := visible(renderable.plain, keep="\n")) != renderable.plain:
            renderable = renderable.blank_copy(shown)
        return super().render(renderable, options)


class Narrator:
    """The `Progress` of the command line: bars on a terminal, one line per event, and the workspace's log."""

    def __init__(self, console: Console, log: Path | None = None, is_news: Callable[[str], bool] = lambda _: True) -> None:
        self._console = console
        self._is_news = is_news
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            _Amount(),
            _Rate(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._depth = 0
        self._logger = _logger(log) if log is not None else None

    def event(self, text: str) -> None:
        """Print one line if it is news, and log it."""
        if self._is_news(text):
            self._console.print(escape(visible(text)), highlight=False, soft_wrap=True)
        self.log(text)

    def log(self, text: str) -> None:
        """Log one line without printing it."""
        if self._logger is not None:
            self._logger.info("%s", visible(text))

    @contextmanager
    def track(self, label: str, total: int, unit: str) -> Iterator[Callable[[int, str], None]]:
        """Show one bar; nested bars are shown below one another."""
        task = self._bars.add_task(escape(label), total=total, unit=unit, note="")
        if self._depth == 0:
            self._bars.start()
        self._depth += 1
        try:
            yield lambda units, note: self._bars.update(task, advance=units, note=escape(note))
        finally:
            self._depth -= 1
            self._bars.remove_task(task)
            if self._depth == 0:
                self._bars.stop()


def consoles() -> tuple[Console, Console]:
    """Return the console for results, and the console for everything else."""
    return Terminal(file=sys.stdout, emoji=False), Terminal(file=sys.stderr, emoji=False)


def print_json(command: str, result: object) -> None:
    """Print a result as one JSON object on stdout."""
    _print_object({"command": command, **wire.plain(result)})


def print_error(console: Console, command: str, error: FedcliError, *, as_json: bool) -> None:
    """Print what failed and what to do next; with JSON, also one object on stdout."""
    console.print(f"[bold red]fedcli {command}:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
    if error.hint:
        console.print(f"[dim]hint:[/] {escape(error.hint)}", highlight=False, soft_wrap=True)
    if as_json:
        _print_object(
            {
                "command": command,
                "status": "error",
                "error": type(error).__name__,
                "message": str(error),
                "hint": error.hint,
                "exit_code": error.exit_code,
            }
        )


def print_line(console: Console, text: str, style: str = "") -> None:
    """Print a text as it is, in one line."""
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def print_table(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a small table; the first column is text, the others are numbers."""
    table = Table(title=escape(title), title_justify="left", title_style="bold", header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(escape(column), justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(escape(visible(cell)) for cell in row))
    console.print(table)


def bars(values: Sequence[int], *, decades: int = 0) -> str:
    """Return one block per value, as high as its share of the greatest; 0 is a space, everything above it is visible.

    Args:
        values: None of them is negative.
        decades: Powers of ten below the greatest value that a logarithmic scale spans; 0 draws a linear one.
    """
    greatest = max(values, default=0)

    def height(value: int) -> float:
        return value / greatest if not decades else 1 + math.log10(value / greatest) / decades

    return "".join(_BLOCKS[max(1, round(height(value) * (len(_BLOCKS) - 1)))] if value else " " for value in values)


def kappa(value: float | None, interval: tuple[float, float] | None = None) -> str:
    """Return a kappa with its interval, as the tables show it."""
    if value is None:
        return "—"
    return f"{value:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")


def _print_object(mapping: dict[str, Any]) -> None:
    sys.stdout.write(visible_json(json.dumps(mapping, ensure_ascii=False, allow_nan=False)) + "\n")
    sys.stdout.flush()


def _say_nothing(record: logging.LogRecord) -> None:
    """Ignore a line that cannot be written to the log."""


def _logger(path: Path) -> logging.Logger:
    logger = logging.Logger("fedcli")  # noqa: LOG001 - one per command, not per process
    handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.handleError = _say_nothing  # type: ignore[method-assign] # the command itself reports a full disk, once
    logger.addHandler(handler)
    return logger
