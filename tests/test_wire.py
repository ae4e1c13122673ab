"""Bytes ↔ values: decoding is strict and names the place, encoding is the same everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import field
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from fedcli import wire
from fedcli.plan import (
    Aggregation,
    Aspect,
    Augmentation,
    Differing,
    Evaluation,
    Exams,
    Finetuning,
    Images,
    Intensity,
    Limits,
    Network,
    OptimizerState,
    Part,
    Plan,
    Split,
    Training,
    Unit,
)
from fedcli.wire import STRICT, Digest, MalformedError, ShortText, SiteName, Timestamp, absent_means


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Visit:
    """A small record with every kind of field."""

    site: SiteName
    digest: Digest
    at: Timestamp
    count: int
    score: float | None
    agreed: bool
    part: Part
    notes: tuple[ShortText, ...]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Caps:
    """A section to which settings were added: `norm` is on in new files; where it is absent, it is off."""

    name: str = "caps"
    parts: tuple[Part, ...] = (Part.TEST,)
    norm: Annotated[float, Field(ge=0), absent_means(0.0)] = 10.0
    part: Annotated[Part, absent_means(Part.TRAIN)] = Part.TEST


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Rules:
    """A plan to which a section and an optional value were added."""

    caps: Caps = field(default_factory=Caps)
    extra: Annotated[Caps, absent_means(Caps(name="none", norm=0.0))] = field(default_factory=Caps)
    host: Annotated[str | None, absent_means(None)] = None


OLD_RULES = b'{"caps": {"name": "caps", "parts": ["test"]}}'

VISIT = Visit(
    site="north",
    digest="0" * 64,
    at=datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC),
    count=3,
    score=0.1,
    agreed=True,
    part=Part.TEST,
    notes=("δ", "no line break"),
)

SEEN = st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp", "Cn"))
FRACTIONS = st.floats(0, 1, allow_nan=False)
RATES = st.floats(0, 1, exclude_min=True, allow_nan=False)


@st.composite
def splits(draw: st.DrawFn) -> Split:
    train, validation = sorted((draw(st.integers(0, 100)), draw(st.integers(0, 100))))
    return Split(train=train / 100, validation=(validation - train) / 100, test=(100 - validation) / 100)


@st.composite
def waits(draw: st.DrawFn) -> Aggregation:
    if draw(st.booleans()):
        return Aggregation()
    return Aggregation(quorum=draw(st.integers(1, 10_000)), deadline_hours=draw(st.floats(0, 8760, exclude_min=True)))


PLANS = st.builds(
    Plan,
    name=st.text(SEEN, min_size=1, max_size=200),
    seed=st.integers(0, 2**31 - 1),
    rounds=st.integers(1, 9999),
    classes=st.lists(st.text(SEEN, min_size=1, max_size=8), min_size=2, max_size=64, unique=True).map(tuple),
    unit=st.sampled_from(Unit),
    allow_empty=st.sampled_from([(), (Part.TEST,), (Part.VALIDATION, Part.TEST)]),
    images=st.builds(
        Images,
        size=st.integers(16, 1024),
        aspect=st.sampled_from(Aspect),
        intensity=st.sampled_from([intensity for intensity in Intensity if intensity is not Intensity.REFERENCE]),
        differing=st.sampled_from(Differing),
        exams=st.sampled_from(Exams),
    ),
    split=splits(),
    network=st.builds(Network, name=st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,62}", fullmatch=True)),
    training=st.builds(
        Training,
        batch_size=st.integers(1, 64),
        epochs=st.integers(1, 100),
        rate=RATES,
        rate_decay=RATES,
        rate_step=st.integers(1, 9999),
        weight_decay=FRACTIONS,
        optimizer_state=st.sampled_from(OptimizerState),
    ),
    augmentation=st.builds(
        Augmentation,
        flip_horizontal=st.booleans(),
        flip_vertical=st.booleans(),
        rotation=st.floats(0, 180),
        intensity_shift=FRACTIONS,
    ),
    finetuning=st.builds(Finetuning, epochs=st.integers(1, 1000), rate=RATES),
    aggregation=waits(),
    evaluation=st.builds(Evaluation, resamples=st.integers(100, 100_000), dense=st.just(()), min_cell=st.integers(0, 1000)),
    limits=st.builds(Limits, steps=st.integers(1, 2**29 - 1), model_mb=st.integers(1, 100_000)),
)


def visit(**changes: Any) -> bytes:
    """Return the JSON of the visit with some values changed."""
    return json.dumps({**wire.plain(VISIT), **changes}).encode()


def faults(data: bytes, kind: type[Any] = Visit) -> tuple[wire.Fault, ...]:
    with pytest.raises(MalformedError) as caught:
        wire.decode(kind, data)
    assert caught.value.faults
    assert str(caught.value).startswith("; ".join(map(str, caught.value.faults[:3])))
    return caught.value.faults


# ------------------------------------------------------------------------------------------------------------- encoding


def test_the_encoding_is_pinned() -> None:
    expected = """{
 "site": "north",
 "digest": "0000000000000000000000000000000000000000000000000000000000000000",
 "at": "2024-05-06T07:08:09.123456Z",
 "count": 3,
 "score": 0.1,
 "agreed": true,
 "part": "test",
 "notes": [
  "δ",
  "no line break"
 ]
}
"""
    assert wire.encode(VISIT) == expected.encode()
    assert wire.decode(Visit, expected.encode()) == VISIT
    assert wire.digest(VISIT) == wire.sha256(expected.encode())


def test_sha256_is_that_of_the_standard() -> None:
    assert wire.sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@given(PLANS)
@settings(max_examples=100)
def test_a_plan_comes_back_as_it_was(plan: Plan) -> None:
    data = wire.encode(plan)
    assert wire.decode(Plan, data) == plan
    assert wire.encode(wire.decode(Plan, data)) == data
    assert plan.digest == wire.sha256(data)
    assert data.endswith(b"}\n")


@given(st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_order_and_spacing_of_the_input_do_not_matter_to_the_encoding(chance: Any) -> None:
    items = list(wire.plain(VISIT).items())
    chance.shuffle(items)
    assert wire.encode(wire.decode(Visit, json.dumps(dict(items), indent=chance.randrange(5)).encode())) == wire.encode(VISIT)


@pytest.mark.parametrize("hash_seed", ["1", "4711"])
def test_another_process_encodes_the_same_bytes(hash_seed: str) -> None:
    program = "import sys; from fedcli import plan, wire; sys.stdout.buffer.write(wire.encode(plan.Plan(name='δ', seed=5)))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    finished = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env=environment)
    assert finished.stdout == wire.encode(Plan(name="δ", seed=5))


def test_two_plans_have_two_digests() -> None:
    plan = Plan(name="a")
    assert plan.digest == Plan(name="a").digest
    assert len({plan.digest, Plan(name="b").digest, Plan(name="a", seed=1).digest, Plan(name="a", rounds=1).digest}) == 4


def test_moments_keep_their_offset() -> None:
    east = datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=9)))
    decoded = wire.decode(Visit, visit(at="2024-01-01T00:00:00+09:00"))
    assert decoded.at == east
    assert b'"2024-01-01T00:00:00+09:00"' in wire.encode(decoded)


# ----------------------------------------------------------------------------------------- fields that were added later


def test_what_was_encoded_before_a_field_existed_keeps_its_meaning_and_its_digest() -> None:
    old = wire.decode(Rules, OLD_RULES)
    assert old == Rules(caps=Caps(norm=0.0, part=Part.TRAIN), extra=Caps(name="none", norm=0.0))
    assert json.loads(wire.encode(old)) == json.loads(OLD_RULES)


def test_a_file_that_a_person_writes_now_has_the_new_default() -> None:
    assert wire.decode_mapping(Rules, json.loads(OLD_RULES)) == Rules()


def test_a_value_other_than_that_of_absence_is_stated_and_read() -> None:
    for rules in (Rules(), Rules(caps=Caps(norm=3.0)), Rules(extra=Caps(norm=0.0, part=Part.TRAIN)), Rules(host="a")):
        assert wire.decode(Rules, wire.encode(rules)) == rules
    assert json.loads(wire.encode(Rules()))["caps"] == {"name": "caps", "parts": ["test"], "norm": 10.0, "part": "test"}


def test_all_other_keys_are_still_needed() -> None:
    (fault,) = faults(b'{"caps": {"name": "caps"}}', Rules)
    assert str(fault) == "caps.parts: this key is missing"
    (fault,) = faults(b'{"caps": {"name": "caps", "parts": ["test"], "norm": -1}}', Rules)
    assert fault.place == ("caps", "norm")


# -------------------------------------------------------------------------------------------------------------- strictness


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"site": "North"}, ("site",)),
        ({"site": "north\n"}, ("site",)),
        ({"site": "-north"}, ("site",)),
        ({"site": "n" * 64}, ("site",)),
        ({"site": "../north"}, ("site",)),
        ({"site": None}, ("site",)),
        ({"site": 1}, ("site",)),
        ({"digest": "0" * 63}, ("digest",)),
        ({"digest": "A" * 64}, ("digest",)),
        ({"digest": "0" * 64 + "\n"}, ("digest",)),
        ({"at": "2024-05-06T07:08:09"}, ("at",)),
        ({"at": "yesterday"}, ("at",)),
        ({"count": "3"}, ("count",)),
        ({"count": 3.0}, ("count",)),
        ({"count": True}, ("count",)),
        ({"count": None}, ("count",)),
        ({"count": [3]}, ("count",)),
        ({"score": "0.1"}, ("score",)),
        ({"score": False}, ("score",)),
        ({"agreed": 1}, ("agreed",)),
        ({"agreed": "true"}, ("agreed",)),
        ({"part": "Test"}, ("part",)),
        ({"part": 2}, ("part",)),
        ({"notes": "text"}, ("notes",)),
        ({"notes": {"0": "text"}}, ("notes",)),
        ({"notes": ["fine", 1]}, ("notes", 1)),
        ({"notes": ["fine", ""]}, ("notes", 1)),
        ({"notes": ["n" * 201]}, ("notes", 0)),
        ({"surprise": 1}, ("surprise",)),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_place(changes: dict[str, Any], place: tuple[str | int, ...]) -> None:
    wire.decode(Visit, visit())
    assert [fault.place for fault in faults(visit(**changes))] == [place]


def test_an_unknown_key_is_named() -> None:
    (fault,) = faults(visit(surprise=1))
    assert str(fault) == "surprise: unknown key"


def test_a_missing_key_is_named() -> None:
    mapping = wire.plain(VISIT)
    del mapping["count"]
    (fault,) = faults(json.dumps(mapping).encode())
    assert str(fault) == "count: this key is missing"


def test_every_fault_is_reported() -> None:
    assert [fault.place for fault in faults(visit(count="3", part="all", other=0))] == [("count",), ("part",), ("other",)]


def test_faults_inside_a_plan_have_their_whole_place() -> None:
    (fault,) = faults(b'{"name": "a", "training": {"batch_size": 5000}}', Plan)
    assert str(fault) == "training.batch_size: should be less than or equal to 4096, found 5000"
    (fault,) = faults(b'{"name": "a", "images": {"sise": 64}}', Plan)
    assert fault.place == ("images", "sise")


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "a", "name": "a"}',
        '{"name": "a", "seed": 1, "seed": 2}',
        '{"name": "a", "images": {"size": 64, "size": 64}}',
        '{"name": "a", "\\u006eame": "a"}',
    ],
)
def test_a_key_given_twice_is_refused(text: str) -> None:
    (fault,) = faults(text.encode(), Plan)
    assert "a key is given twice" in fault.actual


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_refused(word: str) -> None:
    (fault,) = faults(visit().replace(b'"score": 0.1', f'"score": {word}'.encode()))
    assert word in fault.actual


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" + "0" * 400])
def test_a_number_that_becomes_infinite_is_refused(number: str) -> None:
    (fault,) = faults(visit().replace(b'"score": 0.1', f'"score": {number}'.encode()))
    assert fault.place[0] == "score"
    assert "finite" in fault.expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_cannot_be_made_or_encoded(value: float) -> None:
    with pytest.raises(ValidationError):
        Visit(**{**{name: getattr(VISIT, name) for name in wire.plain(VISIT)}, "score": value})
    with pytest.raises(ValueError, match="not JSON compliant"):
        wire.encode([value])


@pytest.mark.parametrize("digits", [100, 4000, 5000, 100_000])
def test_over_long_integers_are_refused(digits: int) -> None:
    text = f'{{"name": "a", "seed": {"9" * digits}}}'.encode()
    (fault,) = faults(text, Plan)
    assert fault.place in {("seed",), ()}
    assert len(str(fault)) < 400


@pytest.mark.parametrize("depth", [150, 250, 2000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_refused(opening: str, closing: str, depth: int) -> None:
    (fault,) = faults(b'{"name": ' + (opening * depth + "1" + closing * depth).encode() + b"}", Plan)
    assert fault.place in {("name",), ()}
    assert len(str(fault)) < 400


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{}{}",
        b"{'site': 1}",
        b"// comment\n{}",
        b'{"name": "\xff"}',
        b'{"name": "\xed\xa0\x80"}',
        b'{"name": "\xc0\xaf"}',
        b'{"name": "\\ud800"}',
        b'{"name": "a\nb"}',
        b'{"name": "a",}',
        b'{"name": "a"}\0',
        b'\xef\xbb\xbf{"name": "a"}',
        '{"name": "a"}'.encode("utf-16"),
        '{"name": "a"}'.encode("utf-32-le"),
    ],
)
def test_what_is_not_one_json_mapping_in_utf_8_is_refused(data: bytes) -> None:
    assert all(fault.place == () for fault in faults(data, Plan))


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_any_bytes_decode_or_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        wire.decode(Plan, data)


@given(st.data())
@settings(max_examples=200)
def test_one_changed_byte_decodes_or_is_malformed(data: st.DataObject) -> None:
    changed = bytearray(wire.encode(VISIT))
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = wire.decode(Visit, bytes(changed))
    except MalformedError:
        return
    assert wire.decode(Visit, wire.encode(decoded)) == decoded


@pytest.mark.parametrize("key", ["k" * 100_000, "\x1b[2J", "no line break", "a.b\r"])
def test_a_hostile_key_can_neither_flood_a_message_nor_steer_a_terminal(key: str) -> None:
    (fault,) = faults(visit(**{key: 1}))
    assert len(str(fault)) < 200
    assert str(fault).isprintable()
    assert "unknown key" in str(fault)


def test_a_hostile_value_can_neither_flood_a_message_nor_steer_a_terminal() -> None:
    for value in ("v" * 100_000, "\x1b[2J\n", ["v" * 1000] * 100):
        (fault,) = faults(visit(count=value))
        assert len(str(fault)) < 200
        assert str(fault).isprintable()


# ------------------------------------------------------------------------------------------- mappings of another format


def test_a_mapping_is_taken_as_strictly_as_bytes() -> None:
    assert wire.decode_mapping(Plan, {"name": "a", "training": {"rate": 1}}) == Plan(name="a", training=Training(rate=1.0))
    for mapping in ({"name": "a", "seed": True}, {"name": "a", "seed": 1.0}, {"name": "a", "seed": "1"}):
        with pytest.raises(MalformedError):
            wire.decode_mapping(Plan, mapping)


def test_a_mapping_may_hold_what_json_calls_null() -> None:
    assert wire.decode_mapping(Visit, {**wire.plain(VISIT), "score": None}).score is None
    with pytest.raises(MalformedError, match="count: should be a valid integer, found None"):
        wire.decode_mapping(Visit, {**wire.plain(VISIT), "count": None})


def test_a_date_is_not_taken_for_text() -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    for value in (moment, moment.date(), moment.timetz()):
        with pytest.raises(MalformedError) as caught:
            wire.decode_mapping(Plan, {"name": "a", "classes": ["b", value]})
        assert [fault.place for fault in caught.value.faults] == [("classes", 1)]
        assert "date or time" in str(caught.value)


def test_a_mapping_cannot_overflow() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    for value in (deep, 1 << 100_000, float("inf"), float("nan")):
        with pytest.raises(MalformedError):
            wire.decode_mapping(Plan, {"name": "a", "seed": value})


def test_a_key_that_a_default_would_fill_in_is_missing_all_the_same() -> None:
    mapping = wire.plain(Plan(name="x"))
    del mapping["training"]["rate"]
    with pytest.raises(wire.MalformedError, match=r"training\.rate: this key is missing"):
        wire.decode(Plan, json.dumps(mapping).encode())
