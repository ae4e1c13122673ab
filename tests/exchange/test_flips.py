"""Every single bit of every kind of record, and of its signatures: flipped, the ledger refuses it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from fedcli import wire
from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.ledger import Ledger
from tests.exchange.test_archives import archive
from tests.fixtures.signing import amendment, changed, keys_of, signer_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcli.exchange.checks import Signed
    from tests.fixtures.history import HandmadeHistory


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A record as the drop folder holds it, and how the ledger checks it.

    Attributes:
        ledger: Has taken everything before the record.
        signed: The record and its signature.
        take: Gives the ledger the record and a countersignature.
        countersignature: The second signature of a rotation.
    """

    ledger: Ledger
    signed: Signed
    take: Callable[[Ledger, Signed, bytes], object]
    countersignature: bytes = b""


def case_of(history: HandmadeHistory, kind: str) -> Case:
    if kind == "federation":
        ledger = Ledger(signer_of("coordinator").verify_key.fingerprint)
        return Case(ledger=ledger, signed=history.federation, take=lambda ledger, signed, _: ledger.add_federation(signed))
    if kind == "round":
        return Case(ledger=history.ledger(1), signed=history.rounds[1], take=lambda ledger, signed, _: ledger.add_round(signed))
    ledger = history.ledger()
    if kind == "rotation":
        first = ledger.enrolment("north", history.enrolments["north"])
        values: dict[str, Any] = {"number": 1, "previous": first.digest, "keys": wire.plain(keys_of("north-new"))}
        signed = changed(replace(history.enrolments["north"], key=layout.enrolment("north", 1)), "north", **values)
        return Case(
            ledger=ledger,
            signed=signed,
            take=lambda ledger, signed, second: ledger.rotation("north", first, signed, second),
            countersignature=signer_of("north-new").sign(signed.data),
        )
    others: dict[str, tuple[Signed, Callable[[Ledger, Signed, bytes], object]]] = {
        "amendment": (amendment(history.federation, 2), lambda ledger, signed, _: ledger.add_federation(signed)),
        "enrolment": (history.enrolments["north"], lambda ledger, signed, _: ledger.enrolment("north", signed)),
        "update": (history.updates["north", 1], lambda ledger, signed, _: ledger.update("north", 1, signed)),
        "dataset": (history.datasets["north"], lambda ledger, signed, _: ledger.dataset("north", 1, signed)),
        "model": (
            history.models["north", "federated"],
            lambda ledger, signed, _: ledger.model("north", 1, "federated", signed),
        ),
        "evaluation": (history.evaluations["north"], lambda ledger, signed, _: ledger.evaluation("north", 1, signed)),
        "archive": (archive(history), lambda ledger, signed, _: ledger.archive(1, signed)),
    }
    signed, take = others[kind]
    return Case(ledger=ledger, signed=signed, take=take)


KINDS = ("federation", "amendment", "enrolment", "rotation", "round", "update", "dataset", "model", "evaluation", "archive")


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_of_a_record_or_its_signatures_is_taken(history: HandmadeHistory, kind: str) -> None:
    case = case_of(history, kind)
    parts = {"record": case.signed.data, "signature": case.signed.signature, "countersignature": case.countersignature}
    for name, original in parts.items():
        for position in range(len(original) * 8):
            flipped = bytearray(original)
            flipped[position // 8] ^= 1 << position % 8
            altered = parts | {name: bytes(flipped)}
            signed = replace(case.signed, data=altered["record"], signature=altered["signature"])
            try:
                case.take(case.ledger, signed, altered["countersignature"])
            except TrustError:
                continue
            pytest.fail(f"bit {position} of the {name} was flipped unnoticed")
    case.take(case.ledger, case.signed, case.countersignature)  # the same ledger takes it untouched
