"""The log of what this party has sent: one JSON line for every file that the store has accepted; it is never rotated.

A line is written, and flushed to the disk, when the store has the file and before the next one is sent. A run that is interrupted
between the two leaves its entry in the outbox; the next run sends the same bytes again and then writes the line. A file is logged
once, however often it is sent.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli import disk, wire
from fedcli.errors import ConfigurationError
from fedcli.wire import STRICT, Digest, ShortText, Timestamp

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Sent:
    """One file that was sent.

    Attributes:
        moment: When the store had accepted it.
        key: Its key in the drop folder.
        bytes: Its size.
        sha256: Its digest.
        command: The command that sent it; empty if it was called from Python.
    """

    moment: Timestamp
    key: ShortText
    bytes: Annotated[int, Field(ge=0)]
    sha256: Digest
    command: Annotated[str, Field(max_length=200)]


class SentLog:
    """The log in one file, to which one process at a time writes.

    Args:
        path: The file; created when the first line is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> tuple[Sent, ...]:
        """Return what was sent, in order, without a last line that a power failure has cut off.

        Raises:
            ConfigurationError: A line is not one of such a log.
        """
        return tuple(map(self._decoded, self._whole_lines()))

    def add(self, sent: Sent) -> None:
        """Write a line, unless these bytes were sent under this key before.

        Raises:
            ConfigurationError: The file is no log.
        """
        digest = sent.sha256.encode()
        if any((sent.key, sent.sha256) == (line.key, line.sha256) for line in map(self._decoded, self._with(digest))):
            return
        line = wire.encode_line(sent)
        with self._path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._lines.append(line)

    def _with(self, text: bytes) -> list[bytes]:
        """Return the lines in which a text occurs; after hundreds of rounds, few of thousands are worth decoding."""
        return [line for line in self._lines if text in line]

    @cached_property
    def _lines(self) -> list[bytes]:
        """What the log holds when this command begins to write; a line that was cut off is removed."""
        lines = self._whole_lines()
        for line in lines[-1:]:
            self._decoded(line)
        with self._path.open("ab") as file:
            file.truncate(self._path.read_bytes().rfind(b"\n") + 1)
        disk.sync(self._path.parent)
        return lines

    def _whole_lines(self) -> list[bytes]:
        return self._path.read_bytes().split(b"\n")[:-1] if self._path.exists() else []

    def _decoded(self, line: bytes) -> Sent:
        try:
            return wire.decode(Sent, line)
        except wire.MalformedError as error:
            msg = f"{self._path}: not a log of sent files: {error}"
            raise ConfigurationError(msg, hint="move the file elsewhere and keep it; fedcli then begins a new log") from error
