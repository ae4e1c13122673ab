"""A command that no person watches, as cron runs it: what it prints, and what its party is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.cli import render
from fedcli.environment import Environment, now
from fedcli.notices.event_lines import EventLines
from fedcli.workspace import SETTINGS

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from fedcli.cli.render import Narrator


@dataclass(frozen=True, slots=True, kw_only=True)
class Unattended:
    """Tells a party what it was not told yet; with a terminal, or without a workspace, it does nothing.

    Attributes:
        root: The party's workspace; None tells nobody.
        command: The command.
        lines: What it says on its way; None prints every line.
    """

    root: Path | None
    command: str
    lines: EventLines | None

    @classmethod
    def of(cls, root: Path | None, command: str, *, prints: bool) -> Unattended:
        """Return what tells the party of a workspace.

        Args:
            root: The workspace; None if a person is watching.
            command: The command.
            prints: Whether its output is for a person: it is then silent about what was printed before.
        """
        if root is None or not (root / SETTINGS).is_file():
            return cls(root=None, command=command, lines=None)
        return cls(root=root, command=command, lines=EventLines(root, command, now()) if prints else None)

    def is_news(self, text: str) -> bool:
        """Return whether one of the command's lines is to be printed."""
        return self.lines is None or self.lines.is_news(text)

    def tell(
        self, narrator: Narrator, err: Console, *, idle: bool = False, ended: bool = False, failure: Exception | None = None
    ) -> bool:
        """Send and print what is due; return whether the command's error is to be printed.

        Args:
            narrator: Logs.
            err: Where it is printed.
            idle: Whether the command has found nothing to do.
            ended: Whether it has found that all rounds are done.
            failure: Why it has failed.
        """
        if self.root is None:
            return True
        from fedcli.operations.status.notify import NotifyRequest, notify

        request = NotifyRequest(
            root=self.root,
            command=self.command,
            idle=idle,
            ended=ended,
            failure=failure,
            prints=self.lines is not None,
            lines=tuple(self.lines.said) if self.lines is not None else (),
        )
        try:
            notification = notify(request, Environment(), narrator.log)
        except Exception as error:  # noqa: BLE001 - the command itself has ended well, or says why it has not
            narrator.log(f"notices: {type(error).__name__}: {error}")
            return True
        for line in notification.lines:
            render.print_line(err, line)
        return notification.failure or self.lines is None
