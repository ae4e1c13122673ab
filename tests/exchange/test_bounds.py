"""A record costs its readers no more than the federation's bounds allow, and no honest record reaches them."""

from __future__ import annotations

import json
import types
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from pydantic.fields import FieldInfo
from pydantic.types import FailFast

from fedcli import wire
from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.bounds import Bounds
from fedcli.exchange.history import reference_to
from fedcli.exchange.records import (
    MAX_RECORD_BYTES,
    DatasetRecord,
    EnrolmentRecord,
    EvaluationRecord,
    FederationRecord,
    Late,
    ModelKind,
    ModelRecord,
    Rejected,
    RoundRecord,
    UpdateRecord,
)
from fedcli.plan import Plan
from fedcli.site.training_job import TrainingJob
from fedcli.wire import MalformedError
from tests.fixtures.history import HandmadeHistory, complete_history
from tests.fixtures.records import PLAN, cohort, score
from tests.fixtures.signing import changed, sign

KINDS = (FederationRecord, RoundRecord, EnrolmentRecord, DatasetRecord, UpdateRecord, ModelRecord, EvaluationRecord)
MANY = tuple(f"site-{number:03d}" for number in range(100))
WRONG_ENTRIES = {
    "numbers in place of mappings": b"[" + b"0," * 3000 + b"0]",
    "mappings of unknown keys": json.dumps([{f"k{number}": 0 for number in range(60)}] * 15).encode(),
    "arrays in place of mappings": b"[" + b"[]," * 3000 + b"[]]",
}


def test_the_caps_follow_from_the_federation() -> None:
    history = complete_history()
    ledger = history.ledger(0)
    assert ledger.bounds == Bounds(sites=frozenset(history.sites), classes=4, rounds=PLAN.rounds)
    assert Bounds().record_bytes(layout.evaluation("north", 1)) == MAX_RECORD_BYTES
    assert {ledger.bounds.record_bytes(key) for key in (layout.enrolment("north", 0), "sites/north/x.json")} == {16 << 10}
    assert ledger.bounds.record_bytes(layout.update("north", 1)) == (64 + 2 * 2) << 10
    assert ledger.bounds.record_bytes(layout.model("north", 1, "local")) == (64 + 2 * len(history.sites)) << 10
    assert ledger.bounds.record_bytes(layout.grant("north", 1)) == 1064 << 10
    assert ledger.bounds.record_bytes(layout.evaluation("north", 1)) < 300_000


@pytest.mark.parametrize("number", range(len(complete_history().records)))
def test_1_a_record_of_any_kind_that_is_too_long_is_refused_before_its_signature_is_verified(number: int) -> None:
    history = complete_history()
    key = list(history.records)[number]
    signed = replace(history.records[key], data=history.records[key].data + b" " * MAX_RECORD_BYTES)
    with pytest.raises(TrustError, match=rf"^{key}: the record has \d+ bytes, expected at most \d+$"):
        take(history, key, signed)


def take(history: HandmadeHistory, key: str, signed: Any) -> None:
    """Let a ledger verify a record that is in place of the one under a key."""
    ledger = history.ledger() if key.startswith("sites/") else history.ledger(0)
    site = key.split("/")[1]
    if key == layout.federation(0):
        type(ledger)(ledger.pinned).add_federation(signed)
    elif key.startswith("coordinator/"):
        ledger.add_round(signed)
    elif "/round-" in key:
        ledger.update(site, 1, signed)
    elif "/enrolment-" in key:
        ledger.enrolment(site, signed)
    elif "/dataset/" in key:
        ledger.dataset(site, 1, signed)
    elif "/models/" in key:
        ledger.model(site, 1, "federated", signed)
    else:
        ledger.evaluation(site, 1, signed)


@pytest.mark.parametrize("entries", WRONG_ENTRIES.values(), ids=WRONG_ENTRIES)
@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_wrong_entries_are_one_short_message(kind: type, entries: bytes) -> None:
    for name in (item.name for item in fields(kind)):
        with pytest.raises(MalformedError) as caught:
            wire.decode(kind, b'{"%s": %s}' % (name.encode(), entries))
        assert len(str(caught.value)) < 1000
        assert len(caught.value.faults) < 200


@pytest.mark.parametrize("decode", [lambda mapping: wire.decode(Plan, json.dumps(mapping).encode()),
                                    lambda mapping: wire.decode_mapping(Plan, mapping)])  # fmt: skip
def test_a_mapping_of_100000_unknown_keys_is_one_fault(decode: Any) -> None:
    for mapping in ({f"k{number}": 0 for number in range(100_000)}, {"training": {f"k{number}": 0 for number in range(100_000)}}):
        with pytest.raises(MalformedError, match="100000 keys") as caught:
            decode(mapping)
        assert len(caught.value.faults) == 1


def test_the_first_faults_are_told_and_the_others_counted() -> None:
    with pytest.raises(MalformedError, match=r"^a: unknown key; b: unknown key; c: unknown key; and 2 more$"):
        wire.decode_mapping(Plan, {"name": "x", **dict.fromkeys("abcde", 0)})


def test_every_array_of_a_record_stops_at_its_first_fault() -> None:
    """Without `fail_fast`, each of two million wrong entries is a fault of its own, and a length is checked after them."""
    assert arrays_that_go_on(TrainingJob, "job") == {"job.rates"}  # which comes from this machine
    endless = {place for kind in KINDS for place in arrays_that_go_on(kind, kind.__name__)}
    assert endless == set()


def arrays_that_go_on(hint: Any, place: str) -> set[str]:
    """Return the places of arrays of any length below a type that have no bound, or do not stop at the first fault."""
    if is_dataclass(hint):
        hints = get_type_hints(hint, include_extras=True)
        return {item for field in fields(hint) for item in arrays_that_go_on(hints[field.name], f"{place}.{field.name}")}
    origin, inner, marks = get_origin(hint), get_args(hint), ()
    if hasattr(hint, "__metadata__"):
        inner, marks = get_args(hint.__origin__), tuple(flattened(hint.__metadata__))
        origin = get_origin(hint.__origin__)
    faults = set()
    if origin is tuple and ... in inner:
        bounded = any(type(mark).__name__ == "MaxLen" for mark in marks)
        faults = set() if bounded and any(isinstance(mark, FailFast) for mark in marks) else {place}
    if origin in {tuple, types.UnionType}:
        faults |= {item for number, part in enumerate(inner) for item in arrays_that_go_on(part, f"{place}.{number}")}
    return faults


def flattened(marks: tuple[Any, ...]) -> list[Any]:
    return [part for mark in marks for part in (mark.metadata if isinstance(mark, FieldInfo) else [mark])]


def test_more_scores_than_there_are_models_are_refused() -> None:
    history = complete_history()
    one = wire.plain(score(reference_to(history.model("north", ModelKind.LOCAL)), 0.5, patients=4))
    scores = [one] * (history.ledger().bounds.scores + 1)
    signed = changed(history.evaluations["north"], "north", scores=scores)
    compact = sign(signed.key, json.dumps(json.loads(signed.data), separators=(",", ":")).encode(), "north")
    with pytest.raises(TrustError, match=r"^sites/north/evaluation/0001\.json: 23 scores, expected at most 22$"):
        history.ledger().evaluation("north", 1, compact)


def test_honest_records_of_100_sites_and_300_rounds_are_less_than_half_of_what_is_allowed() -> None:
    history = HandmadeHistory(sites=MANY, plan=replace(PLAN, rounds=300))
    history.round()
    for site in MANY:
        history.update(site, 1, device="NVIDIA GeForce RTX 4090, 24 GB, driver 550.54.15")
    rejected = tuple(Rejected(site=site, update="0" * 64, reason="r" * 600) for site in MANY[40:60])
    late = tuple(Late(site=site, round=number, update="0" * 64) for site in MANY[:10] for number in range(99))
    history.round(absent=MANY[:40], rejected=rejected, late=late)
    history.enrolment(MANY[0])
    history.dataset(MANY[0], cohort())
    reference = reference_to(history.model(MANY[0], ModelKind.LOCAL))
    history.evaluation(MANY[0], [score(reference, 0.123456789012, patients=312)] * 301)
    bounds = history.ledger(0).bounds
    sizes = {key: len(signed.data) for key, signed in history.records.items()}
    assert {key: size for key, size in sizes.items() if 2 * size > bounds.record_bytes(key)} == {}
    assert bounds.files > 2 * (5 * 300 + 200)
