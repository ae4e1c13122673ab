"""TOML files written by people, read into validated values, with errors that name the line."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from fedcli import wire
from fedcli.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

MAX_BYTES = 1 << 20
_NAME_LENGTH = 80
"""Characters of a key that a message repeats."""


def load(kind: type[T], path: Path, *, hint: str) -> T:
    """Read a TOML file into a value of the class `kind`.

    Raises:
        ConfigurationError: The file is missing, too long, not TOML, or has unknown keys, wrong types or values out of range.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise ConfigurationError(msg, hint=hint) from error
    if len(data) > MAX_BYTES:
        msg = f"{path}: more than the {MAX_BYTES} bytes expected at most"
        raise ConfigurationError(msg, hint=hint)
    try:
        text = data.decode("utf-8-sig")  # some editors begin a file with a byte order mark
        mapping = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"{path}: not a TOML file: {error}"
        raise ConfigurationError(msg, hint=hint) from error
    try:
        return wire.decode_mapping(kind, mapping)
    except wire.MalformedError as error:
        lines = [_describe(kind, path, text, fault) for fault in error.faults]
        raise ConfigurationError("\n".join(lines), hint=hint) from error


def _describe(kind: type[Any], path: Path, text: str, fault: wire.Fault) -> str:
    keys = [key for key in fault.place if isinstance(key, str)]
    if not keys and (named := re.match(r"[a-z_]+(\.[a-z_]+)*", fault.expected)):  # settings that do not go together
        keys = named[0].split(".")
    line = _line_of(text, keys)
    where = f"{path}, line {line}" if line else str(path)
    name = ".".join(key[:_NAME_LENGTH] for key in keys) or "the file"
    if fault.expected == "unknown key":
        allowed = _keys_beside(kind, keys)
        close = difflib.get_close_matches(keys[-1], allowed, n=1)
        guess = f"; did you mean {close[0]}?" if close else ""
        return f"{where}: unknown key {name}{guess} (allowed here: {', '.join(allowed)})"
    actual = f" (found {fault.actual})" if fault.actual and not fault.actual.startswith("{") else ""
    return f"{where}: {name}: {fault.expected}{actual}" if fault.place else f"{where}: {fault.expected}"


def _line_of(text: str, keys: list[str]) -> int:
    """Return the line, counted from 1, that sets a key or opens its table; 0 if there is none."""
    table: list[str] = []
    best = 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\]#]+?)\s*\]", line):
            table = [part.strip().strip("\"'") for part in header[1].split(".")]
            if table == keys[: len(table)]:
                best = number
        elif setting := re.match(r"\s*([\w.\"'-]+)\s*=", line):
            place = table + [part.strip("\"'") for part in setting[1].split(".")]
            if place == keys[: len(place)]:
                return number
    return best


def _keys_beside(kind: Any, keys: list[str]) -> list[str]:
    for key in keys[:-1]:
        hint = get_type_hints(kind).get(key)
        hint = next(filter(is_dataclass, get_args(hint)), hint)  # a table that may be missing
        if not is_dataclass(hint):
            return []
        kind = hint
    return [item.name for item in fields(kind)]
