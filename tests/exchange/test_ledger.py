"""The ledger's numbered checks: each has a test that breaks it and nothing before it."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcli import tensors, wire
from fedcli.disk import Measured
from fedcli.errors import TrustError
from fedcli.exchange import layout, signatures
from fedcli.exchange.checks import Signed, check_artifact
from fedcli.exchange.ledger import Ledger
from fedcli.exchange.records import Role, UpdateRecord
from fedcli.exchange.signatures import MAX_SIGNATURE_BYTES
from fedcli.plan import Encoding, Packing, Updates
from tests.fixtures.history import HandmadeHistory, complete_history
from tests.fixtures.records import MAX_MODEL_BYTES, MAX_STEPS, PLAN, SITES, artifact, file_of, model
from tests.fixtures.signing import amendment, changed, changed_artifact, keys_of, sign, signer_of

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER_DIGEST = "0" * 64


def refused(history: HandmadeHistory, signed: Signed, match: str, *, site: str = "north", number: int = 1) -> None:
    """Expect an update of a site in a round to be refused for one reason."""
    with pytest.raises(TrustError, match=match):
        history.ledger().update(site, number, signed)


# ---------------------------------------------------------------------------------------------------- the valid history


def test_the_valid_history_is_taken_whole(history: HandmadeHistory) -> None:
    ledger = history.ledger()
    assert (len(ledger.federations), ledger.newest_round) == (1, 1)
    for (site, number), signed in history.updates.items():
        update = ledger.update(site, number, signed)
        assert (update.key, update.digest, update.record.party) == (layout.update(site, number), wire.sha256(signed.data), site)
    assert ledger.enrolment("north", history.enrolments["north"]).record.party == "north"
    assert ledger.dataset("north", 1, history.datasets["north"]).record.cohort.bits == (12,)
    assert ledger.model("north", 1, "federated", history.models["north", "federated"]).artifact.key in history.artifacts
    assert len(ledger.evaluation("north", 1, history.evaluations["north"]).record.scores) == 1
    assert ledger.first_key == signer_of("coordinator").verify_key
    assert ledger.identity == wire.sha256(history.federation.data)


def test_a_record_signed_anew_without_a_change_still_holds(history: HandmadeHistory) -> None:
    """The means by which the tests below forge records do not break them by themselves."""
    assert changed(history.updates["north", 1], "north") == history.updates["north", 1]
    assert changed(history.rounds[1], "coordinator") == history.rounds[1]


# ------------------------------------------------------------------------------------------------------- 1: size caps


def test_1_an_oversize_record_is_refused_before_anything_else(history: HandmadeHistory) -> None:
    largest = b" " * history.ledger().bounds.record_bytes("k")
    refused(history, sign("k", largest, "north"), "k: the whole: UTF-8 JSON")
    longer = Signed(key="k", data=largest + b" ", signature=b"")
    refused(history, longer, f"k: the record has {len(largest) + 1} bytes, expected at most {len(largest)}")


def test_1_an_oversize_signature_is_refused(history: HandmadeHistory) -> None:
    signed = history.updates["north", 1]
    long = signed.signature + b"\n" * (MAX_SIGNATURE_BYTES + 1 - len(signed.signature))
    refused(history, replace(signed, signature=long), f"has {MAX_SIGNATURE_BYTES + 1} bytes, expected at most")
    refused(history, replace(signed, signature=long[:-1]), "not in canonical form|not an OpenSSH signature")


# ---------------------------------------------------------------------------- 2: canonical signature by the party's key


def test_2_an_unsigned_record_is_refused(history: HandmadeHistory) -> None:
    refused(history, replace(history.updates["north", 1], signature=b""), "not an OpenSSH signature")


@pytest.mark.parametrize("signer", ["valley", "coordinator", "stranger"])
def test_2_a_key_that_the_federation_does_not_list_for_the_site_is_refused(history: HandmadeHistory, signer: str) -> None:
    refused(history, changed(history.updates["north", 1], signer), "north/round-0001/update.json: signed by the key")


@pytest.mark.parametrize("signer", ["north", "stranger"])
def test_2_only_the_coordinator_signs_rounds(history: HandmadeHistory, signer: str) -> None:
    with pytest.raises(TrustError, match="signed by the key"):
        history.ledger(1).add_round(changed(history.rounds[1], signer))


def test_2_another_namespace_is_refused(history: HandmadeHistory) -> None:
    signed = history.updates["north", 1]
    refused(
        history,
        replace(signed, signature=signer_of("north").sign(signed.data, namespace="git")),
        "namespace 'git', expected 'fedcli-record@v1'",
    )


def test_2_the_signature_of_other_bytes_is_refused(history: HandmadeHistory) -> None:
    first, second = history.updates["north", 1], history.updates["north", 2]
    refused(history, replace(first, signature=second.signature), "does not match the bytes")


def binary(signature: bytes) -> bytes:
    """Return what a signature's armour holds."""
    return base64.b64decode("".join(signature.decode().splitlines()[1:-1]))


def armoured(blob: bytes, width: int = 70) -> bytes:
    """Return binary data in a signature's armour; OpenSSH breaks lines after 70 characters."""
    text = base64.b64encode(blob).decode()
    lines = [text[start : start + width] for start in range(0, len(text), width)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]).encode()


def blob_changed(signature: bytes, before: bytes, after: bytes) -> bytes:
    """Return a signature whose binary form is changed in one place."""
    blob = binary(signature)
    assert blob.count(before) == 1
    return armoured(blob.replace(before, after))


MALLEATIONS: dict[str, Callable[[bytes], bytes]] = {
    "carriage returns": lambda signature: signature.replace(b"\n", b"\r\n"),
    "no last newline": lambda signature: signature[:-1],
    "one newline more": lambda signature: signature + b"\n",
    "a comment before": lambda signature: b"signed by north\n" + signature,
    "other width": lambda signature: armoured(binary(signature), 76),
    "one line": lambda signature: armoured(binary(signature), 10_000),
    "an empty line": lambda signature: signature.replace(b"-----\n", b"-----\n\n", 1),
    "other armour": lambda signature: signature.replace(b"SSH SIGNATURE", b"PGP SIGNATURE"),
    "other magic": lambda signature: blob_changed(signature, b"SSHSIG", b"SSHSAG"),
    "version 2": lambda signature: blob_changed(signature, b"SSHSIG\0\0\0\1", b"SSHSIG\0\0\0\2"),
    "reserved bytes": lambda signature: blob_changed(signature, b"@v1\0\0\0\0", b"@v1\0\0\0\1x"),
    "other hash": lambda signature: blob_changed(signature, b"\0\0\0\6sha512", b"\0\0\0\6sha256"),
    "trailing bytes": lambda signature: armoured(binary(signature) + b"\0\0\0\0"),
}


@pytest.mark.parametrize("malleate", MALLEATIONS.values(), ids=MALLEATIONS.keys())
def test_2_a_signature_that_is_not_canonical_is_refused(history: HandmadeHistory, malleate: Callable[[bytes], bytes]) -> None:
    signed = history.updates["north", 1]
    malleated = malleate(signed.signature)
    assert malleated != signed.signature
    refused(history, replace(signed, signature=malleated), "not in canonical form|not an OpenSSH signature")


@given(noise=st.binary(max_size=400))
@settings(max_examples=200)
def test_2_noise_is_no_signature(history: HandmadeHistory, noise: bytes) -> None:
    signed = history.updates["north", 1]
    for signature in (noise, armoured(noise)):
        refused(history, replace(signed, signature=signature), "the signature|an OpenSSH signature|signed by the key")


def test_2_nothing_is_parsed_before_its_signature_holds(history: HandmadeHistory) -> None:
    """Bytes that are no JSON fail on their signature, not on their content, wherever a key is known beforehand."""
    signature = history.updates["north", 1].signature
    of_site = Signed(key="k", data=b"{", signature=signature)
    of_coordinator = Signed(key="k", data=b"{", signature=history.rounds[1].signature)
    ledger = history.ledger()
    attempts: list[Callable[[], object]] = [
        lambda: ledger.update("north", 1, of_site),
        lambda: ledger.dataset("north", 1, of_site),
        lambda: ledger.model("north", 1, "federated", of_site),
        lambda: ledger.evaluation("north", 1, of_site),
        lambda: ledger.add_round(of_coordinator),
        lambda: ledger.add_federation(of_coordinator),
    ]
    for attempt in attempts:
        with pytest.raises(TrustError, match=r"^k: the signature does not match the bytes"):
            attempt()


def test_2_a_listed_key_that_is_none_is_a_matter_of_trust(history: HandmadeHistory) -> None:
    """A hostile site's enrolment must not look like a mistake in the reader's own configuration."""
    broken = [{"purpose": "signing", "algorithm": "ssh-ed25519", "public_key": "ssh-ed25519 " + "A" * 68}]
    with pytest.raises(TrustError, match="lists a key that is not an ssh-ed25519 public key"):
        history.ledger().enrolment("north", changed(history.enrolments["north"], "north", keys=broken))
    with pytest.raises(TrustError, match="lists a key that is not an ssh-ed25519 public key"):
        Ledger().add_federation(changed(history.federation, "coordinator", coordinator=broken))


# --------------------------------------------------------------------------------------------------------- 3: the schema


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"schema": "fedcli/update@2"}, "schema: should be 'fedcli/update@1'"),
        ({"schema": "fedcli/round@1"}, "schema: should be 'fedcli/update@1'"),
        ({"surplus": 1}, "surplus: unknown key"),
        ({"steps": "40"}, "steps: "),
        ({"steps": 40.5}, "steps: "),
        ({"steps": True}, "steps: "),
        ({"steps": 0}, "steps: "),
        ({"steps": -1}, "steps: "),
        ({"steps": 1 << 29}, "steps: "),
        ({"norm": -1.0}, "norm: "),
        ({"norm": float("nan")}, "NaN is not allowed"),
        ({"norm": float("inf")}, "Infinity is not allowed"),
        ({"created": "2026-11-24T08:00:00"}, "created: "),
        ({"party": "../north"}, "party: "),
        ({"parent": "0" * 63}, "parent: "),
        ({"artifacts": []}, "artifacts: "),
        ({"transforms": ["noise"]}, "transforms"),
        ({"privacy": {"epsilon": 1}}, "privacy\\.patients: "),
        ({"round": 0}, "round: "),
    ],
)
def test_3_what_the_schema_does_not_allow_is_refused(history: HandmadeHistory, values: dict[str, Any], match: str) -> None:
    refused(history, changed(history.updates["north", 1], "north", **values), match)


@pytest.mark.parametrize("name", ["federation", "parent", "plan", "steps", "artifacts", "received"])
def test_3_a_missing_key_is_refused(history: HandmadeHistory, name: str) -> None:
    refused(history, changed(history.updates["north", 1], "north", without=(name,)), f"{name}: this key is missing")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "UTF-8 JSON"),
        (b"{", "UTF-8 JSON"),
        (b"\xff\xfe", "UTF-8 JSON"),
        (b"[]", "the whole"),
        (b"null", "the whole"),
        (b"[" * 16_000, "UTF-8 JSON"),
        (b'{"steps": 1, "steps": 2}', "a key is given twice"),
        (b'{"steps": ' + b"9" * 10_000 + b"}", "UTF-8 JSON"),
    ],
)
def test_3_signed_bytes_that_are_no_record_are_refused(history: HandmadeHistory, data: bytes, match: str) -> None:
    refused(history, sign("k", data, "north"), match)


# ----------------------------------------------------------------------------------- 4: the record is where it belongs


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"federation": OTHER_DIGEST}, f"federation: expected [0-9a-f]{{64}}, found {OTHER_DIGEST}"),
        ({"federation": None}, "federation: expected [0-9a-f]{64}, found None"),
        ({"party": "valley"}, "party: expected north, found valley"),
        ({"party": "coordinator"}, "party: expected north, found coordinator"),
        ({"round": 2}, "round: expected 1, found 2"),
        ({"parent": OTHER_DIGEST}, f"north has signed that it verified round 0, {OTHER_DIGEST[:12]}; here round 0 is"),
        ({"seen": {"round": 1, "sha256": OTHER_DIGEST}}, "newest round seen: expected"),
        ({"plan": OTHER_DIGEST}, "plan: expected"),
    ],
)
def test_4_an_update_in_the_wrong_place_is_refused(history: HandmadeHistory, values: dict[str, Any], match: str) -> None:
    refused(history, changed(history.updates["north", 1], "north", **values), match)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"federation": OTHER_DIGEST}, "federation: expected"),
        ({"party": "north"}, "party: expected coordinator, found north"),
        ({"round": 2}, "round: expected 1, found 2"),
        ({"round": 0}, "round: expected 1, found 0"),
        ({"parent": OTHER_DIGEST}, "parent round: expected"),
        ({"parent": None}, "parent round: expected [0-9a-f]{64}, found None"),
        ({"federation_record": OTHER_DIGEST}, "federation record in force: expected"),
        ({"rule": "median"}, "rule: expected mean, found median"),
        ({"rule": "mode"}, "rule: should be 'mean', 'momentum'"),
    ],
)
def test_4_a_round_in_the_wrong_place_is_refused(history: HandmadeHistory, values: dict[str, Any], match: str) -> None:
    ledger = history.ledger(1)
    with pytest.raises(TrustError, match=match):
        ledger.add_round(changed(history.rounds[1], "coordinator", **values))
    assert ledger.newest_round == 0


def test_4_a_round_cannot_stand_twice_nor_first(history: HandmadeHistory) -> None:
    with pytest.raises(TrustError, match="round: expected 2, found 1"):
        history.ledger(2).add_round(history.rounds[1])
    with pytest.raises(TrustError, match="round: expected 0, found 1"):
        history.ledger(0).add_round(history.rounds[1])


def test_4_a_valid_update_cannot_be_replayed_in_another_round(history: HandmadeHistory) -> None:
    refused(history, history.updates["north", 1], "round: expected 2, found 1", number=2)
    refused(history, history.updates["north", 2], "round: expected 1, found 2", number=1)


def test_4_a_valid_update_cannot_be_replayed_for_another_site(history: HandmadeHistory) -> None:
    refused(history, history.updates["north", 1], "signed by the key", site="valley")


def test_4_a_valid_update_cannot_be_replayed_for_another_site_of_the_same_key() -> None:
    """Two members that share a key (one hospital, two departments) still cannot replace each other."""
    history = complete_history()
    members = [{"site": site, "keys": wire.plain(keys_of("north"))} for site in SITES]
    first = changed(history.federation, "coordinator", members=members)
    ledger = Ledger()
    ledger.add_federation(first)
    identity = wire.sha256(first.data)
    ledger.add_round(changed(history.rounds[0], "coordinator", federation=identity, federation_record=identity))
    signed = changed(history.updates["north", 1], "north", federation=identity, parent=ledger.rounds[0].digest)
    assert ledger.update("north", 1, signed).record.steps == 15
    with pytest.raises(TrustError, match="party: expected valley, found north"):
        ledger.update("valley", 1, signed)


def test_4_a_valid_update_cannot_be_replayed_in_another_federation(history: HandmadeHistory) -> None:
    """The same members with the same keys, and another seed."""
    other = complete_history(replace(PLAN, seed=4))
    with pytest.raises(TrustError, match="federation: expected"):
        other.ledger().update("north", 1, history.updates["north", 1])
    with pytest.raises(TrustError, match="federation: expected"):
        other.ledger(1).add_round(history.rounds[1])
    with pytest.raises(TrustError, match="federation: expected"):
        other.ledger().dataset("north", 1, history.datasets["north"])


def test_4_who_is_no_member_is_refused(history: HandmadeHistory) -> None:
    refused(history, changed(history.updates["north", 1], "stranger", party="stranger"), "not a member", site="stranger")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"number": 1}, "number: expected 0, found 1"),
        ({"previous": OTHER_DIGEST}, "previous enrolment: expected None"),
        ({"party": "valley"}, "party: expected north, found valley"),
        ({"federation": OTHER_DIGEST}, "federation: expected"),
        ({"keys": wire.plain(keys_of("valley"))}, "signed by the key"),
        ({"keys": []}, "keys: "),
    ],
)
def test_4_an_enrolment_in_the_wrong_place_is_refused(history: HandmadeHistory, values: dict[str, Any], match: str) -> None:
    with pytest.raises(TrustError, match=match):
        history.ledger().enrolment("north", changed(history.enrolments["north"], "north", **values))


def test_4_a_sites_other_records_are_refused_in_the_wrong_place(history: HandmadeHistory) -> None:
    ledger = history.ledger()
    with pytest.raises(TrustError, match="number: expected 2, found 1"):
        ledger.dataset("north", 2, history.datasets["north"])
    with pytest.raises(TrustError, match="number: expected 2, found 1"):
        ledger.evaluation("north", 2, history.evaluations["north"])
    with pytest.raises(TrustError, match="number: expected 2, found 1"):
        ledger.model("north", 2, "federated", history.models["north", "federated"])
    with pytest.raises(TrustError, match="kind: expected local, found federated"):
        ledger.model("north", 1, "local", history.models["north", "federated"])
    with pytest.raises(TrustError, match="started from round record 000000000000, which this federation does not have"):
        ledger.model("north", 1, "federated", changed(history.models["north", "federated"], "north", base=OTHER_DIGEST))
    with pytest.raises(TrustError, match="only the coordinator publishes global ones"):
        ledger.model("north", 1, "global", changed(history.models["north", "federated"], "north", kind="global"))
    for take in (ledger.dataset, ledger.evaluation):
        with pytest.raises(TrustError, match="schema: should be"):
            take("north", 1, history.models["north", "federated"])


@pytest.mark.parametrize("signer", ["valley", "coordinator"])
def test_4_a_sites_other_records_need_its_own_key(history: HandmadeHistory, signer: str) -> None:
    ledger = history.ledger()
    with pytest.raises(TrustError, match="signed by the key"):
        ledger.dataset("north", 1, changed(history.datasets["north"], signer))
    with pytest.raises(TrustError, match="signed by the key"):
        ledger.evaluation("north", 1, changed(history.evaluations["north"], signer))
    with pytest.raises(TrustError, match="signed by the key"):
        ledger.model("north", 1, "federated", changed(history.models["north", "federated"], signer))


# ------------------------------------------------------------------------------------- 4: the federation's own records


def test_4_a_forged_first_record_fails_against_the_pinned_key(history: HandmadeHistory) -> None:
    pinned = signer_of("coordinator").verify_key.fingerprint
    forged = changed(history.federation, "stranger", coordinator=wire.plain(keys_of("stranger")))
    assert Ledger().add_federation(forged).record.number == 0
    with pytest.raises(TrustError, match=re.escape(f"expected the pinned {pinned}")):
        Ledger(pinned).add_federation(forged)


def test_3_a_record_that_lists_two_keys_for_one_purpose_is_refused(history: HandmadeHistory) -> None:
    both = wire.plain(keys_of("stranger", "coordinator"))
    with pytest.raises(TrustError, match="coordinator: should list one key for each purpose, found signing, signing"):
        Ledger().add_federation(changed(history.federation, "stranger", coordinator=both))
    with pytest.raises(TrustError, match="keys: should list one key for each purpose, found signing, signing"):
        Ledger().enrolment("north", changed(history.enrolments["north"], "stranger", keys=both))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"federation": OTHER_DIGEST}, f"federation: expected None, found {OTHER_DIGEST}"),
        ({"party": "north"}, "party: expected coordinator, found north"),
        ({"number": 1}, "number: expected 0, found 1"),
        ({"previous": OTHER_DIGEST}, "previous federation record: expected None"),
        ({"from_round": 1}, "in force from round 1, expected 0"),
        ({"schema": "fedcli/round@1"}, "schema: should be"),
        ({"coordinator": []}, "coordinator: "),
    ],
)
def test_4_a_first_record_in_the_wrong_place_is_refused(history: HandmadeHistory, values: dict[str, Any], match: str) -> None:
    with pytest.raises(TrustError, match=match):
        Ledger().add_federation(changed(history.federation, "coordinator", **values))


@pytest.mark.parametrize("names", [("valley", "north"), ("north", "north"), ("coordinator", "north"), ("NORTH", "north")])
def test_4_members_are_sites_sorted_each_once(history: HandmadeHistory, names: tuple[str, ...]) -> None:
    members = [{"site": name, "keys": wire.plain(keys_of(name))} for name in names]
    with pytest.raises(TrustError, match="members"):
        Ledger().add_federation(changed(history.federation, "coordinator", members=members))


def test_4_nothing_stands_before_the_first_record(history: HandmadeHistory) -> None:
    for attempt in (
        lambda: Ledger().add_round(history.rounds[0]),
        lambda: Ledger().update("north", 1, history.updates["north", 1]),
        lambda: Ledger().in_force(0),
        lambda: Ledger().identity,
    ):
        with pytest.raises(TrustError, match="there is no federation record"):
            attempt()


def test_4_an_amendment_is_in_force_from_its_round_on(history: HandmadeHistory) -> None:
    ledger = history.ledger()
    added = ledger.add_federation(amendment(history.federation, 3))
    assert [ledger.in_force(number).record.number for number in range(5)] == [0, 0, 0, 1, 1]
    assert ledger.newest_federation is added.record
    assert ledger.identity == wire.sha256(history.federation.data)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"previous": OTHER_DIGEST}, "previous federation record: expected"),
        ({"previous": None}, "previous federation record: expected"),
        ({"number": 2}, "number: expected 1, found 2"),
        ({"number": 0}, "number: expected 1, found 0"),
        ({"federation": None}, "federation: expected [0-9a-f]{64}, found None"),
        ({"from_round": 1}, "in force from round 1, expected 2 or later"),
        ({"from_round": 0}, "in force from round 0, expected 2 or later"),
    ],
)
def test_4_an_amendment_in_the_wrong_place_is_refused(history: HandmadeHistory, values: dict[str, Any], match: str) -> None:
    ledger = history.ledger()
    with pytest.raises(TrustError, match=match):
        ledger.add_federation(amendment(history.federation, **({"from_round": 2} | values)))
    assert len(ledger.federations) == 1


def test_4_an_amendment_does_not_reach_behind_the_one_before(history: HandmadeHistory) -> None:
    ledger = history.ledger(1)
    second = ledger.add_federation(amendment(history.federation, 3))
    third = amendment(history.federation, 2, number=2, previous=second.digest)
    with pytest.raises(TrustError, match="in force from round 2, expected 3 or later"):
        ledger.add_federation(third)


@pytest.mark.parametrize("signer", ["north", "stranger"])
def test_4_an_amendment_needs_the_coordinators_key(history: HandmadeHistory, signer: str) -> None:
    own_key = amendment(history.federation, 2, signer, coordinator=wire.plain(keys_of(signer)))
    with pytest.raises(TrustError, match="signed by the key"):
        history.ledger().add_federation(own_key)


def test_4_a_new_coordinators_key_is_signed_for_by_the_old_one_and_then_alone_holds(history: HandmadeHistory) -> None:
    ledger = history.ledger(1)
    ledger.add_federation(amendment(history.federation, 1, coordinator=wire.plain(keys_of("successor"))))
    place = {"federation_record": ledger.federations[1].digest}
    with pytest.raises(TrustError, match="signed by the key"):
        ledger.add_round(changed(history.rounds[1], "coordinator", **place))
    ledger.add_round(changed(history.rounds[1], "successor", **place))
    third = {"number": 2, "previous": ledger.federations[1].digest}
    with pytest.raises(TrustError, match="signed by the key"):
        ledger.add_federation(amendment(history.federation, 2, "coordinator", **third))
    assert ledger.add_federation(amendment(history.federation, 2, "successor", **third)).record.number == 2
    assert ledger.first_key == signer_of("coordinator").verify_key


def test_4_a_removed_member_signs_nothing_newer(history: HandmadeHistory) -> None:
    ledger = history.ledger()
    remaining = [{"site": "valley", "keys": wire.plain(keys_of("valley"))}]
    ledger.add_federation(amendment(history.federation, 2, members=remaining))
    assert ledger.update("north", 1, history.updates["north", 1]).record.round == 1  # what it did as a member stays valid
    assert ledger.dataset("north", 1, history.datasets["north"]).record.as_of == 0
    assert ledger.model("north", 1, "federated", history.models["north", "federated"]).record.as_of == 1
    assert ledger.evaluation("north", 1, history.evaluations["north"]).record.as_of == 1
    with pytest.raises(TrustError, match="north is not a member from round 2 on"):
        ledger.update("north", 2, history.updates["north", 2])
    with pytest.raises(TrustError, match="as of round 2, expected at most 1, the newest one"):
        ledger.evaluation("north", 1, changed(history.evaluations["north"], "north", as_of=2))


def test_4_an_update_under_a_changed_plan_names_the_changed_plan(history: HandmadeHistory) -> None:
    ledger = history.ledger()
    plan = replace(PLAN, rounds=7)
    ledger.add_federation(amendment(history.federation, 2, plan=wire.plain(plan)))
    with pytest.raises(TrustError, match=f"plan: expected {plan.digest}, found {PLAN.digest}"):
        ledger.update("north", 2, history.updates["north", 2])
    assert ledger.update("north", 2, changed(history.updates["north", 2], "north", plan=plan.digest)).record.round == 2


# ------------------------------------------------------------------------------------ 4: no silent subset in any round


def contributions(history: HandmadeHistory, *sites: str) -> list[dict[str, Any]]:
    """Return what a round says of the sites that it used, in the order given; an outsider gets north's numbers."""
    contributions = {item["site"]: item for item in json.loads(history.rounds[1].data)["contributions"]}
    return [contributions.get(site, contributions["north"]) | {"site": site} for site in sites]


def rejections(*sites: str) -> list[dict[str, Any]]:
    return [{"site": site, "update": None, "reason": "a reason"} for site in sites]


NAMES = st.lists(st.sampled_from(["north", "outsider", "valley"]), max_size=3)


@given(used=NAMES, absent=NAMES, rejected=NAMES)
@settings(max_examples=300)
def test_4_a_round_names_every_member_once_and_nobody_else(
    history: HandmadeHistory, used: list[str], absent: list[str], rejected: list[str]
) -> None:
    signed = changed(
        history.rounds[1],
        "coordinator",
        contributions=contributions(history, *used),
        absent=absent,
        rejected=rejections(*rejected),
    )
    ledger = history.ledger(1)
    in_order = all(sites == sorted(sites) for sites in (used, absent, rejected))
    if used and in_order and sorted(used + absent + rejected) == list(SITES):
        assert ledger.add_round(signed).record.round == 1
    else:
        with pytest.raises(TrustError, match=r"sites named|order of|at least one contribution"):
            ledger.add_round(signed)


@pytest.mark.parametrize(
    ("used", "absent", "rejected", "match"),
    [
        (("north",), (), (), r"sites named: expected \['north', 'valley'\], found \['north'\]"),
        (("north", "outsider", "valley"), (), (), "sites named"),
        (("north", "valley"), ("outsider",), (), "sites named"),
        (("north", "valley"), (), ("outsider",), "sites named"),
        (("north", "valley"), ("valley",), (), "sites named"),
        (("north", "north", "valley"), (), (), "sites named"),
        (("valley", "north"), (), (), "order of contributions"),
        ((), ("north", "valley"), (), "at least one contribution"),
    ],
)
def test_4_a_silent_subset_or_an_outsider_is_refused(
    history: HandmadeHistory, used: tuple[str, ...], absent: tuple[str, ...], rejected: tuple[str, ...], match: str
) -> None:
    values = {"contributions": contributions(history, *used), "absent": list(absent), "rejected": rejections(*rejected)}
    with pytest.raises(TrustError, match=match):
        history.ledger(1).add_round(changed(history.rounds[1], "coordinator", **values))


@pytest.mark.parametrize(
    "values",
    [
        {"absent": ["north"]},
        {"rejected": rejections("north")},
        {"late": [{"site": "north", "round": 0, "update": OTHER_DIGEST}]},
    ],
)
def test_4_round_0_names_no_site(history: HandmadeHistory, values: dict[str, Any]) -> None:
    with pytest.raises(TrustError, match="sites named in round 0"):
        history.ledger(0).add_round(changed(history.rounds[0], "coordinator", **values))
    used = contributions(history, "north")
    with pytest.raises(TrustError, match="sites named in round 0"):
        history.ledger(0).add_round(changed(history.rounds[0], "coordinator", contributions=used))


def test_4_late_updates_are_those_of_rounds_that_were_closed_without_them(history: HandmadeHistory) -> None:
    ledger = history.ledger(1)
    ledger.add_round(
        changed(history.rounds[1], "coordinator", contributions=contributions(history, "north"), absent=["valley"])
    )  # fmt: skip
    place = {
        "round": 2,
        "parent": ledger.rounds[1].digest,
        "contributions": contributions(history, "north"),
        "absent": ["valley"],
    }

    def second(*late: tuple[str, int]) -> Signed:
        named = [{"site": site, "round": number, "update": OTHER_DIGEST} for site, number in late]
        moved = replace(history.rounds[1], key=layout.round_record(2))
        artifacts = changed_artifact(moved, key=json.loads(moved.data)["artifacts"][0]["key"].replace("0001", "0002"))
        return changed(moved, "coordinator", **place, late=named, artifacts=artifacts)

    for site, number in [("north", 1), ("outsider", 1), ("valley", 0), ("valley", 2), ("valley", 7)]:
        with pytest.raises(TrustError, match=f"late: round {number} was not closed without {site}"):
            ledger.add_round(second((site, number)))
    with pytest.raises(TrustError, match="late updates must be sorted by site and round, each once"):
        ledger.add_round(second(("valley", 1), ("valley", 1)))
    assert ledger.add_round(second(("valley", 1))).record.late[0].site == "valley"


# ----------------------------------------------------------------------------- 5: steps and counts within their bounds


def test_5_steps_over_the_plans_limit_are_refused(history: HandmadeHistory) -> None:
    ledger = history.ledger()
    at_limit = changed(history.updates["north", 1], "north", steps=MAX_STEPS)
    assert ledger.update("north", 1, at_limit).record.steps == MAX_STEPS
    over = changed(history.updates["north", 1], "north", steps=MAX_STEPS + 1)
    refused(history, over, f"{MAX_STEPS + 1} steps, expected at most {MAX_STEPS}")


def test_5_a_weight_that_is_not_the_steps_is_refused(history: HandmadeHistory) -> None:
    used = contributions(history, *SITES)
    used[1]["weight"] += 1
    with pytest.raises(TrustError, match="weight of valley: expected 16, found 17"):
        history.ledger(1).add_round(changed(history.rounds[1], "coordinator", contributions=used))


@pytest.mark.parametrize("level", ["by_case", "by_image"])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 3), "a confusion matrix is not 4 × 4"),
        ((5, 5), "a confusion matrix is not 4 × 4"),
        ((0, 0), "a confusion matrix is not 4 × 4"),
        ((4, 3), "as many columns as rows"),
        ((3, 4), "as many columns as rows"),
    ],
)
def test_5_a_confusion_matrix_of_another_size_is_refused(
    history: HandmadeHistory, level: str, shape: tuple[int, int], message: str
) -> None:
    (score,) = json.loads(history.evaluations["north"].data)["scores"]
    rows, columns = shape
    scores = [score, score | {level: score[level] | {"confusion": [[0] * columns] * rows}}]
    with pytest.raises(TrustError, match=message):
        history.ledger().evaluation("north", 1, changed(history.evaluations["north"], "north", scores=scores))


def test_5_a_comparison_of_a_model_that_was_not_scored_is_refused(history: HandmadeHistory) -> None:
    (score,) = json.loads(history.evaluations["north"].data)["scores"]
    result = {"cases": 3, "difference": 0.1, "interval": None, "p_value": 0.5, "permutations": 100}
    pair = {"model": score["model"], "other": score["model"] | {"record": "0" * 64}, "result": result}
    with pytest.raises(TrustError, match="a comparison names a model that was not scored"):
        history.ledger().evaluation("north", 1, changed(history.evaluations["north"], "north", comparisons=[pair]))
    pair["other"] = score["model"]
    verified = history.ledger().evaluation("north", 1, changed(history.evaluations["north"], "north", comparisons=[pair]))
    assert verified.record.comparisons[0].result.p_value == 0.5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"number": 2}, "number: expected 1, found 2"),
        ({"previous": "0" * 64}, "previous enrolment: expected"),
        ({"party": "valley"}, "party: expected north, found valley"),
    ],
)
def test_4_a_rotation_follows_the_enrolment_before_it(history: HandmadeHistory, values: dict[str, object], message: str) -> None:
    ledger = history.ledger()
    first = ledger.enrolment("north", history.enrolments["north"])
    sound: dict[str, object] = {"number": 1, "previous": first.digest, "keys": wire.plain(keys_of("north-new"))}
    good = changed(history.enrolments["north"], "north", **sound)
    assert ledger.later_enrolment("north", 1, first, good, signer_of("north-new").sign(good.data)).record.number == 1
    for countersigner in ("north", "valley"):
        with pytest.raises(TrustError, match="signed by the key"):
            ledger.later_enrolment("north", 1, first, good, signer_of(countersigner).sign(good.data))
    for signer in ("valley", "coordinator"):
        stolen = changed(history.enrolments["north"], signer, **sound)
        with pytest.raises(TrustError, match="signed by the key"):
            ledger.later_enrolment("north", 1, first, stolen, signer_of("north-new").sign(stolen.data))
    bad = changed(history.enrolments["north"], "north", **(sound | values))
    with pytest.raises(TrustError, match=message):
        ledger.later_enrolment("north", 1, first, bad, signer_of("north-new").sign(bad.data))


def test_4_classes_and_network_stay_what_they_are(history: HandmadeHistory) -> None:
    plan = json.loads(history.federation.data)["plan"]
    for change, message in (
        ({"classes": ["a", "b", "c", "d", "e"]}, "classes of the plan"),
        ({"network": plan["network"] | {"name": "densenet121"}}, "network of the plan"),
        ({"seed": 4}, "seed of the plan"),
        ({"split": {"train": 0.2, "validation": 0.1, "test": 0.7}}, "split of the plan"),
    ):
        with pytest.raises(TrustError, match=message):
            history.ledger().add_federation(amendment(history.federation, 2, plan=plan | change))


def test_4_seed_and_split_may_change_only_where_the_first_record_does_not_fix_them() -> None:
    """Federations that were begun before `split_fixed` stay valid; no later record can change which they are."""
    before = complete_history()
    first = changed(before.federation, "coordinator", without=("split_fixed",))
    plan = json.loads(first.data)["plan"] | {"seed": 4}
    ledger = Ledger()
    ledger.add_federation(first)
    assert not ledger.newest_federation.split_fixed
    with pytest.raises(TrustError, match="split_fixed: expected False, found True"):
        ledger.add_federation(amendment(first, 0, split_fixed=True))
    assert ledger.add_federation(amendment(first, 0, plan=plan)).record.plan.seed == 4
    ledger = before.ledger(0)
    with pytest.raises(TrustError, match="split_fixed: expected True, found False"):
        ledger.add_federation(amendment(before.federation, 0, split_fixed=False, plan=plan))


# ------------------------------------------------------------------------------ 6: sizes, digests and keys of artifacts


ARTIFACT_LIES = [
    ({"role": "model"}, "artifacts' roles: expected update, found model"),
    ({"key": "sites/valley/round-0001/update-000000000000.safetensors"}, "artifact's key: expected sites/north"),
    ({"key": "../../etc/passwd"}, "key: should be a key of the drop folder"),
    ({"stored_sha256": OTHER_DIGEST}, "artifact's key: expected sites/north/round-0001/update-000000000000"),
    ({"content_sha256": OTHER_DIGEST}, "artifact's stored size and digest"),
    ({"content_size": 1}, "artifact's stored size and digest"),
    ({"stored_size": 1}, "artifact's stored size and digest"),
    ({"encoding": "float16"}, "encoding: should be 'float32', 'bfloat16' or 'int8'"),
    ({"encoding": "int8"}, "artifact's encoding: expected float32, found int8"),
    ({"packing": "gzip"}, "packing: should be 'none' or 'zstd'"),
    ({"packing": "zstd"}, "artifact's packing: expected none, found zstd"),
    ({"encryption": "age"}, "encryption: "),
    ({"stored_size": -1, "content_size": -1}, "stored_size: "),
]


@pytest.mark.parametrize(("values", "match"), ARTIFACT_LIES)
def test_6_a_record_that_lies_about_its_artifact_is_refused(history: HandmadeHistory, values: dict[str, Any], match: str) -> None:
    signed = history.updates["north", 1]
    refused(history, changed(signed, "north", artifacts=changed_artifact(signed, **values)), match)


@pytest.mark.parametrize(
    ("of", "signer", "role"), [("updates", "north", "update"), ("rounds", "coordinator", "model"), ("shared", "north", "model")]
)
def test_6_an_artifact_over_the_plans_cap_is_refused(history: HandmadeHistory, of: str, signer: str, role: str) -> None:
    shared = history.models["north", "federated"]
    held = {"updates": history.updates["north", 1], "rounds": history.rounds[1], "shared": shared}[of]
    take: dict[str, Callable[[Signed], object]] = {
        "updates": lambda signed: history.ledger().update("north", 1, signed),
        "rounds": lambda signed: history.ledger(1).add_round(signed),
        "shared": lambda signed: history.ledger().model("north", 1, "federated", signed),
    }

    def sized(size: int) -> Signed:
        return changed(held, signer, artifacts=changed_artifact(held, role=role, stored_size=size, content_size=size))

    take[of](sized(MAX_MODEL_BYTES))
    with pytest.raises(TrustError, match=rf"{MAX_MODEL_BYTES + 1} bytes, expected at most {MAX_MODEL_BYTES} \(limits"):
        take[of](sized(MAX_MODEL_BYTES + 1))


def test_6_every_artifact_of_a_round_is_checked(history: HandmadeHistory) -> None:
    (held,) = changed_artifact(history.rounds[1])
    second = held | {"role": "update"}
    with pytest.raises(TrustError, match="artifacts' roles: expected model, found model, update"):
        history.ledger(1).add_round(changed(history.rounds[1], "coordinator", artifacts=[held, second]))


COMPACT = replace(PLAN, updates=Updates(encoding=Encoding.INT8, packing=Packing.ZSTD))


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("packing", Packing)
def test_6_an_update_travels_as_the_plan_in_force_says(encoding: Encoding, packing: Packing) -> None:
    compact = complete_history(COMPACT)
    signed = changed(
        compact.updates["north", 1],
        "north",
        artifacts=changed_artifact(compact.updates["north", 1], encoding=encoding, packing=packing),
    )
    take = compact.ledger().update
    if (encoding, packing) == (Encoding.INT8, Packing.ZSTD):
        assert take("north", 1, signed).artifact.packing is Packing.ZSTD
    else:
        with pytest.raises(TrustError, match=r"artifact's (encoding: expected int8|packing: expected zstd)"):
            take("north", 1, signed)


def test_6_models_always_travel_as_they_are() -> None:
    compact = complete_history(COMPACT)
    shared = compact.models["north", "federated"]
    for values, match in ({"encoding": "int8"}, "encoding: expected float32"), ({"packing": "zstd"}, "packing: expected none"):
        artifacts = changed_artifact(compact.rounds[1], **values)
        with pytest.raises(TrustError, match=match):
            compact.ledger(1).add_round(changed(compact.rounds[1], "coordinator", artifacts=artifacts))
        artifacts = changed_artifact(shared, **values)
        with pytest.raises(TrustError, match=match):
            compact.ledger().model("north", 1, "federated", changed(shared, "north", artifacts=artifacts))


@pytest.mark.parametrize("size", ["stored_size", "content_size"])
def test_6_what_is_packed_is_capped_as_stored_and_as_it_unpacks(size: str) -> None:
    compact = complete_history(COMPACT)
    held = compact.updates["north", 1]

    def sized(number: int) -> Signed:
        return changed(held, "north", artifacts=changed_artifact(held, encoding="int8", packing="zstd", **{size: number}))

    compact.ledger().update("north", 1, sized(MAX_MODEL_BYTES))
    with pytest.raises(TrustError, match=rf"{MAX_MODEL_BYTES + 1} bytes, expected at most {MAX_MODEL_BYTES} \(limits"):
        compact.ledger().update("north", 1, sized(MAX_MODEL_BYTES + 1))


KEY = layout.update("north", 1)
CONTENT = file_of(model(1.0))
ARTIFACT = artifact(KEY, Role.UPDATE, CONTENT)
EXPECTED = tensors.layout_of(model(0.0))
MEASURED = Measured(size=len(CONTENT), sha256=wire.sha256(CONTENT))


def test_6_the_artifact_that_the_record_names_is_accepted() -> None:
    check_artifact(KEY, ARTIFACT, MEASURED, EXPECTED, EXPECTED)
    check_artifact(KEY, ARTIFACT, MEASURED, EXPECTED, None)


@pytest.mark.parametrize(
    "content", [CONTENT[:-1], CONTENT + b"\0", file_of(model(2.0)), b""], ids=["cut", "long", "other", "empty"]
)
def test_6_other_bytes_than_the_record_names_are_refused(content: bytes) -> None:
    measured = Measured(size=len(content), sha256=wire.sha256(content))
    with pytest.raises(TrustError, match=f"expected by {KEY}: {len(CONTENT)} bytes with {MEASURED.sha256[:12]}"):
        check_artifact(KEY, ARTIFACT, measured, EXPECTED, EXPECTED)


def test_6_size_and_digest_are_both_checked() -> None:
    for measured in (replace(MEASURED, size=MEASURED.size + 1), replace(MEASURED, sha256=OTHER_DIGEST)):
        with pytest.raises(TrustError, match=f"expected by {KEY}"):
            check_artifact(KEY, ARTIFACT, measured, EXPECTED, EXPECTED)


# ----------------------------------------------------------------------------------- 7: names, shapes and dtypes of tensors


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in model(1.0).items() if key != name}


OTHER_MODELS = {
    "missing": (without("layer.bias"), "1 missing tensors, first layer.bias"),
    "extra": (model(1.0) | {"layer.extra": np.zeros(1, np.float32)}, "1 extra tensors, first layer.extra"),
    "renamed": (without("layer.bias") | {"layer.beta": np.zeros(3, np.float32)}, "1 missing tensors, first layer.bias"),
    "misshapen": (
        model(1.0) | {"layer.weight": np.zeros((3, 2), np.float32)},
        r"tensor layer.weight: expected F32 \[2, 3\], found F32 \[3, 2\]",
    ),
    "flattened": (
        model(1.0) | {"layer.weight": np.zeros(6, np.float32)},
        r"tensor layer.weight: expected F32 \[2, 3\], found F32 \[6\]",
    ),
    "retyped": (
        model(1.0) | {"layer.bias": np.zeros(3, np.float64)},
        r"tensor layer.bias: expected F32 \[3\], found F64 \[3\]",
    ),
    "retyped in the same bytes": (
        model(1.0) | {"layer.bias": np.zeros(3, np.int32)},
        r"tensor layer.bias: expected F32 \[3\], found I32 \[3\]",
    ),
}


@pytest.mark.parametrize(("arrays", "match"), OTHER_MODELS.values(), ids=OTHER_MODELS.keys())
def test_7_other_tensors_than_the_federations_model_has_are_refused(arrays: dict[str, Any], match: str) -> None:
    content = file_of(arrays)
    named = artifact(KEY, Role.UPDATE, content)
    measured = Measured(size=len(content), sha256=wire.sha256(content))
    with pytest.raises(TrustError, match=f"not the federation's model: {match}"):
        check_artifact(KEY, named, measured, tensors.layout_of(arrays), EXPECTED)


def test_7_a_header_that_describes_another_size_than_the_file_has_is_refused() -> None:
    content = CONTENT + b"\0"
    named = artifact(KEY, Role.UPDATE, content)
    measured = Measured(size=len(content), sha256=wire.sha256(content))
    for expected in (EXPECTED, None):
        with pytest.raises(TrustError, match=f"the header describes {len(CONTENT)} bytes, the file has {len(content)}"):
            check_artifact(KEY, named, measured, EXPECTED, expected)


def test_records_decode_to_what_was_signed(history: HandmadeHistory) -> None:
    """The ledger answers with the record that the bytes say, not with another."""
    signed = history.updates["valley", 1]
    record = history.ledger().update("valley", 1, signed).record
    assert record == wire.decode(UpdateRecord, signed.data)
    assert wire.encode(record) == signed.data
    assert signatures.verify(signed.signature, signed.data, [signer_of("valley").verify_key]) == signer_of("valley").verify_key
