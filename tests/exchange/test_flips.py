"""Every single bit of every kind of record, and of its signatures: flipped, the ledger refuses it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from fedcli import wire
from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.ledger import Ledger
from tests.fixtures.signing import amendment, changed, keys_of, signer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fedcli.exchange.checks import Signed
    from tests.fixtures.history import HandmadeHistory

CASES: dict[str, Callable[[HandmadeHistory], tuple[Callable[[Signed], object], Signed]]] = {
    "federation": lambda of: (Ledger(signer_of("coordinator").verify_key.fingerprint).add_federation, of.federation),
    "amendment": lambda of: (of.ledger().add_federation, amendment(of.federation, 2)),
    "round": lambda of: (of.ledger(1).add_round, of.rounds[1]),
    "enrolment": lambda of: (partial(of.ledger().enrolment, "north"), of.enrolments["north"]),
    "update": lambda of: (partial(of.ledger().update, "north", 1), of.updates["north", 1]),
    "dataset": lambda of: (partial(of.ledger().dataset, "north", 1), of.datasets["north"]),
    "model": lambda of: (partial(of.ledger().model, "north", 1, "federated"), of.models["north", "federated"]),
    "evaluation": lambda of: (partial(of.ledger().evaluation, "north", 1), of.evaluations["north"]),
    "archive": lambda of: (partial(of.ledger().archive, 1), of.archive()),
}
"""How the ledger takes a record of each kind, after everything before it; and the record."""


def every_flip(data: bytes) -> Iterator[bytes]:
    for position in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        yield bytes(flipped)


@pytest.mark.parametrize("kind", CASES)
def test_no_flipped_bit_of_a_record_or_its_signature_is_taken(history: HandmadeHistory, kind: str) -> None:
    take, signed = CASES[kind](history)
    for data in every_flip(signed.data):
        with suppress(TrustError):
            take(replace(signed, data=data))
            pytest.fail("a flipped bit was taken")
    for signature in every_flip(signed.signature):
        with suppress(TrustError):
            take(replace(signed, signature=signature))
            pytest.fail("a flipped bit was taken")
    take(signed)  # the same ledger takes it untouched


def test_no_flipped_bit_of_a_rotation_or_its_two_signatures_is_taken(history: HandmadeHistory) -> None:
    ledger, enrolment = history.ledger(), history.enrolments["north"]
    first = ledger.enrolment("north", enrolment)
    moved = replace(enrolment, key=layout.enrolment("north", 1))
    rotation = changed(moved, "north", number=1, previous=first.digest, keys=wire.plain(keys_of("north-new")))
    countersignature = signer_of("north-new").sign(rotation.data)
    for data in every_flip(rotation.data):
        with suppress(TrustError):
            ledger.later_enrolment("north", 1, first, replace(rotation, data=data), countersignature)
            pytest.fail("a flipped bit was taken")
    for signature in every_flip(rotation.signature):
        with suppress(TrustError):
            ledger.later_enrolment("north", 1, first, replace(rotation, signature=signature), countersignature)
            pytest.fail("a flipped bit was taken")
    for signature in every_flip(countersignature):
        with suppress(TrustError):
            ledger.later_enrolment("north", 1, first, rotation, signature)
            pytest.fail("a flipped bit was taken")
    ledger.later_enrolment("north", 1, first, rotation, countersignature)
