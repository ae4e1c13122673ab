"""docs/commands.md lists every command, exit code and status."""

from __future__ import annotations

import re
from pathlib import Path

from fedcli.cli import COMMANDS
from fedcli.errors import FedcliError
from fedcli.results import Status

SECTIONS = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8").split("\n## ")


def first_cells(section: int, column: int = 1) -> list[str]:
    """Return a column of a section's table, without its head."""
    rows = [row.split(" | ") for row in SECTIONS[section].splitlines() if row.startswith("| ")]
    return [row[column - 1].strip("| ") for row in rows[1:]]


def test_every_command_is_listed_once() -> None:
    listed = re.findall(r"`([\w-]+)`", " ".join(first_cells(0, 2)))
    assert sorted(listed) == sorted(command for commands in COMMANDS.values() for command in commands)


def test_every_exit_code_is_listed() -> None:
    families = {family.exit_code for family in FedcliError.__subclasses__()}
    assert {int(cell) for cell in first_cells(1)} == families | {0, 1, 9, 130}


def test_every_status_is_listed() -> None:
    assert {cell.strip("`") for cell in first_cells(2)} == {*Status, "error"}
