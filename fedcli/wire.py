"""Bytes ↔ validated values: the one place where JSON exists.

All structured text that is read or written (records, plans, data set facts, a workspace's state) is a frozen pydantic dataclass
in memory and is converted here. Decoding is strict: an unknown key, a duplicate key, a wrong type, a value out of bounds, NaN or
infinity is an error, reported with its place. Encoding is deterministic: UTF-8, keys in the order in which the class declares
them, one space of indentation so that auditors can read it, a newline at the end. A field that is added to a class later says
what its absence means (`absent_means`), so that older texts stay valid and keep their digests.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from fedcli.errors import FedcliError
from fedcli.text.visible_text import hidden

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)  # no defer_build: types would be looked up where first used

SITE_PATTERN = r"[a-z0-9][a-z0-9-]{0,62}"


def _seen(text: str) -> str:
    if match := hidden(text):
        msg = f"should have no control, format or bidirectional character, has U+{ord(match[0]):04X} at position {match.start()}"
        raise ValueError(msg)
    return text


Seen = AfterValidator(_seen)
"""Every text of a record or a plan that has no pattern of its own can be seen whole."""
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
SiteName = Annotated[str, StringConstraints(pattern=f"^{SITE_PATTERN}$")]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200), Seen]
LongText = Annotated[str, StringConstraints(max_length=2000), Seen]


def _of_our_time(moment: datetime) -> datetime:
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        msg = f"should be between the years {_FIRST_YEAR} and {_LAST_YEAR}"
        raise ValueError(msg)
    return moment


Timestamp = Annotated[AwareDatetime, AfterValidator(_of_our_time)]
"""A moment with its offset from UTC; hours can be added to it without an overflow."""

SHORT_DIGEST = 12

_FIRST_YEAR, _LAST_YEAR = 1970, 2200

_MISSING = "this key is missing"
_MOST_FAULTS = 3
"""What is said of a value in which nothing is right."""
_MOST_KEYS = 64
"""Of one mapping; no class has as many fields, and every unknown key would be a fault of its own."""
_ABOUT_A_KEY = {"missing", "extra_forbidden", "unexpected_keyword_argument"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Absent:
    """Tells whether a field is left out of the encoding, because its absence means the value that it has."""

    meaning: object

    def __call__(self, value: object) -> bool:
        return value == self.meaning


def absent_means(value: object) -> Any:
    """Annotate a field that older texts lack, with the value that keeps their meaning.

        norm: Annotated[float, Field(ge=0), absent_means(0.0)] = 10.0

    Where the field has this value it is left out of the encoding, so that what was encoded before the field existed has the same
    digest as ever; `decode` reads its absence as this value. The default is for what people write: a TOML file, or a call.
    """
    return Field(exclude_if=_Absent(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with a value that was read.

    Attributes:
        place: Keys and positions, from the outermost to the faulty value.
        expected: What is allowed there.
        actual: What is there, shortened; empty if nothing is.
    """

    place: tuple[str | int, ...]
    expected: str
    actual: str

    def __str__(self) -> str:
        """Return the fault as one clause."""
        where = ".".join(repr(part)[:80].strip("'") for part in self.place) or "the whole"
        return f"{where}: {self.expected}" + (f", found {self.actual}" if self.actual else "")


class MalformedError(FedcliError):
    """Bytes that are not an encoding of the expected class; the message says the first faults, and how many there are.

    Attributes:
        faults: What is wrong, in the order of the text; of an array only the first fault.
    """

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        super().__init__("; ".join(map(str, faults[:_MOST_FAULTS])) + more)
        self.faults = faults


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def encode(value: object) -> bytes:
    """Return the only encoding of a validated value."""
    return (json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()


def encode_line(value: object) -> bytes:
    """Return a value's encoding for a log with one line per entry."""
    return (json.dumps(plain(value), ensure_ascii=False, allow_nan=False) + "\n").encode()


def digest(value: object) -> str:
    """Return the SHA-256 of a value's encoding."""
    return sha256(encode(value))


def decode(kind: type[T], data: bytes) -> T:
    """Return the value of class `kind` that `data` encodes.

    Raises:
        MalformedError: The bytes are not UTF-8 JSON, repeat a key, or do not fit the class.
    """
    try:
        text = data.decode()
        mapping = json.loads(text, object_pairs_hook=_without_repetition, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        fault = Fault(place=(), expected="UTF-8 JSON without repeated keys", actual=f"{type(error).__name__}: {error}"[:200])
        raise MalformedError((fault,)) from error
    stated = _with_absent(kind, mapping)
    try:
        value: T = _adapter(cast("Any", kind)).validate_json(data if stated is mapping else json.dumps(stated))
    except ValidationError as error:
        raise MalformedError(_faults(error)) from error
    if faults := tuple(_left_out(plain(value), mapping, ())):
        raise MalformedError(faults)
    return value


def decode_saved(kind: type[T], data: bytes) -> T:
    """Return the value of class `kind` that this program has encoded and whose digest was checked; faster than `decode`.

    Raises:
        MalformedError: The bytes do not fit the class.
    """
    if not _defaults_are_meanings(cast("Any", kind)):
        return decode(kind, data)
    try:
        value: T = _adapter(cast("Any", kind)).validate_json(data)
    except ValidationError as error:
        raise MalformedError(_faults(error)) from error
    return value


def decode_mapping(kind: type[T], mapping: dict[str, Any]) -> T:
    """Return the value of class `kind` that a mapping from another format (TOML) describes.

    Raises:
        MalformedError: The mapping does not fit the class, or holds what JSON cannot express, such as a date.
    """
    try:
        if faults := tuple(islice(_inexpressible(mapping, ()), _MOST_KEYS)):
            raise MalformedError(faults)
        return TypeAdapter(kind).validate_json(json.dumps(mapping))
    except RecursionError as error:
        raise MalformedError((Fault(place=(), expected="values are nested too deeply", actual=""),)) from error
    except ValidationError as error:
        raise MalformedError(_faults(error)) from error


def plain(value: object) -> Any:
    """Return a value made of dataclasses, tuples, enums and moments as JSON-ready lists, mappings and scalars."""
    return to_jsonable_python(value)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def _fields(kind: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return of a class's fields what their absence means, and the classes of those that may lack fields of their own."""
    fields = getattr(kind, "__pydantic_fields__", {})
    meanings = {name: plain(item.exclude_if.meaning) for name, item in fields.items() if isinstance(item.exclude_if, _Absent)}
    inner = {name: item.annotation for name, item in fields.items() if any(_fields(item.annotation))}
    return meanings, inner


@cache
def _defaults_are_meanings(kind: Any) -> bool:
    """Tell whether a field that is left out has the value by default that its absence means."""
    meanings, inner = _fields(kind)
    fields = getattr(kind, "__pydantic_fields__", {})
    same = all(plain(fields[name].default) == meaning for name, meaning in meanings.items())
    return same and all(map(_defaults_are_meanings, inner.values()))


def _with_absent(kind: Any, mapping: Any) -> Any:
    """Return a mapping with the fields that it lacks, each with the value that its absence means; the same mapping if none is."""
    meanings, inner = _fields(kind)
    if not (meanings or inner) or not isinstance(mapping, dict):
        return mapping
    stated = meanings | mapping
    for name in inner.keys() & stated.keys():
        stated[name] = _with_absent(inner[name], stated[name])
    same = len(stated) == len(mapping) and all(value is mapping[name] for name, value in stated.items())
    return mapping if same else stated


def _left_out(whole: object, given: object, place: tuple[str | int, ...]) -> Iterator[Fault]:
    """Yield a fault for every key that a default would fill in: what is signed states everything whose absence means nothing."""
    if isinstance(whole, dict) and isinstance(given, dict):
        for key, value in whole.items():
            if key in given:
                yield from _left_out(value, given[key], (*place, key))
            else:
                yield Fault(place=(*place, key), expected=_MISSING, actual="")
    elif isinstance(whole, list) and isinstance(given, list):
        for position, (value, item) in enumerate(zip(whole, given, strict=True)):
            yield from _left_out(value, item, (*place, position))


def _inexpressible(value: object, place: tuple[str | int, ...]) -> Iterator[Fault]:
    if isinstance(value, dict):
        if len(value) > _MOST_KEYS:
            yield Fault(place=place, expected=f"should have at most {_MOST_KEYS} keys", actual=f"{len(value)} keys")
            return
        for key, item in value.items():
            yield from _inexpressible(item, (*place, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _inexpressible(item, (*place, position))
    elif isinstance(value, int) and value.bit_length() > 64:  # noqa: PLR2004 - TOML itself promises no more
        yield Fault(place=place, expected="should be a number of at most 64 bits", actual="")
    elif not isinstance(value, str | int | float | None):
        yield Fault(place=place, expected="should not be a date or time; text must be in quotes", actual=str(value)[:80])


def _faults(error: ValidationError) -> tuple[Fault, ...]:
    return tuple(
        Fault(
            place=item["loc"],
            expected=_expectation(item["type"], item["msg"]),
            actual="" if item["type"] in _ABOUT_A_KEY else repr(item["input"])[:80],
        )
        for item in error.errors(include_url=False)
    )


def _expectation(kind: str, message: str) -> str:
    if kind in {"extra_forbidden", "unexpected_keyword_argument"}:
        return "unknown key"
    if kind == "missing":
        return _MISSING
    return re.sub(r"^(Input|String|Tuple) should", "should", message.removeprefix("Value error, "))


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _MOST_KEYS:
        msg = f"{len(pairs)} keys in one mapping, expected at most {_MOST_KEYS}"
        raise ValueError(msg)
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        msg = "a key is given twice"
        raise ValueError(msg)
    return mapping


def _refuse_constant(name: str) -> None:
    msg = f"{name} is not allowed"
    raise ValueError(msg)
