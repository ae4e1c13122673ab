"""Records that were forged, replayed or bent: each is refused for its own reason, and the artifact that it names stays unread."""

from __future__ import annotations

import base64
import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from fedcli import wire
from fedcli.exchange import layout
from fedcli.exchange.bounds import Bounds
from fedcli.exchange.checks import Signed
from fedcli.exchange.signatures import MAX_SIGNATURE_BYTES
from fedcli.results import Status
from tests.fixtures.federation import SITES, Federation
from tests.fixtures.tampering import artifact_path, place, rewrite
from tests.operations.attacked import refused_unread, sent, taken_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = layout.update("valley", 1)
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the group in which Ed25519 computes: S and S + ORDER are the same there."""


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    """Two sites, of which valley is the attacker or the victim; its artifact is garbage: whoever read it would say so."""
    found = sent(tmp_path)
    path = artifact_path(found, KEY)
    path.write_bytes(b"\xff" * path.stat().st_size)
    return found


def signature_of(federation: Federation, key: str = KEY) -> tuple[bytes, Path]:
    """Return a record's bytes and where its signature lies."""
    data = (federation.drop / key).read_bytes()
    return data, federation.drop / layout.signature(key, wire.sha256(data))


def test_untouched_both_updates_are_used(tmp_path: Path) -> None:
    """What all the others depart from."""
    federation = sent(tmp_path)
    received, asked = taken_in(federation)
    assert (sorted(received.records), received.rejected) == (list(SITES), {})
    assert len(asked) == 2
    assert federation.aggregate().status is Status.PUBLISHED
    assert federation.verify().verified


# ----------------------------------------------------------------------------------------------------------- signatures


def test_unsigned(federation: Federation) -> None:
    _, signature = signature_of(federation)
    signature.unlink()
    name = signature.relative_to(federation.drop)
    assert refused_unread(federation) == f"{KEY}: unsigned: there is no {name} for its present bytes"


@pytest.mark.parametrize("signer", ["north", "stranger"])
def test_signed_by_another_site_or_by_a_key_that_nobody_knows(federation: Federation, signer: str) -> None:
    rewrite(federation, KEY, signer=signer)
    fingerprints = [federation.signer(name).verify_key.fingerprint for name in (signer, "valley")]
    reason = refused_unread(federation)
    assert reason.startswith(f"{KEY}: signed by the key {fingerprints[0]}, expected {fingerprints[1]}")


def test_signed_by_the_coordinator_in_a_sites_place(federation: Federation) -> None:
    rewrite(federation, KEY, signer="coordinator")
    assert refused_unread(federation).startswith(f"{KEY}: signed by the key {federation.fingerprint}, expected ")


def test_signed_in_another_namespace(federation: Federation) -> None:
    """What `ssh-keygen -Y sign -n git` makes with the same key."""
    data, path = signature_of(federation)
    path.write_bytes(federation.signer("valley").sign(data, "git"))
    assert refused_unread(federation) == f"{KEY}: the signature is for namespace 'git', expected 'fedcli-record@v1'"


def blob_of(signature: bytes) -> bytes:
    return base64.b64decode(b"".join(signature.split(b"\n")[1:-2]))


def armoured(blob: bytes, width: int = 70) -> bytes:
    text = base64.b64encode(blob)
    lines = [text[start : start + width] for start in range(0, len(text), width)]
    return b"\n".join([b"-----BEGIN SSH SIGNATURE-----", *lines, b"-----END SSH SIGNATURE-----", b""])


def with_order_added(signature: bytes) -> bytes:
    blob = blob_of(signature)
    return armoured(blob[:-32] + (int.from_bytes(blob[-32:], "little") + ORDER).to_bytes(32, "little"))


NO_SIGNATURE = "not an OpenSSH signature by an Ed25519 key"
OTHER_FORM = "the signature is not in canonical form"
MALLEATIONS: dict[str, tuple[Callable[[bytes], bytes], str]] = {  # OpenSSH takes each of them: tests/exchange/test_signatures.py
    "CRLF": (lambda found: found.replace(b"\n", b"\r\n").replace(b"-----\r\n", b"-----\n", 1), NO_SIGNATURE),
    "text behind": (lambda found: found + b"and more\n", NO_SIGNATURE),
    "no newline at the end": (lambda found: found[:-1], NO_SIGNATURE),
    "one long line": (lambda found: armoured(blob_of(found), 10_000), OTHER_FORM),
    "an empty line": (lambda found: found.replace(b"-----\n", b"-----\n\n", 1), OTHER_FORM),
    "S + L": (with_order_added, "the signature does not match the bytes"),
}


@pytest.mark.parametrize(("malleate", "said"), MALLEATIONS.values(), ids=MALLEATIONS)
def test_a_malleated_signature(federation: Federation, malleate: Callable[[bytes], bytes], said: str) -> None:
    _, path = signature_of(federation)
    assert armoured(blob_of(path.read_bytes())) == path.read_bytes()
    path.write_bytes(malleate(path.read_bytes()))
    assert refused_unread(federation) == f"{KEY}: {said}"


# ---------------------------------------------------------------------------------------------------------------- places


def test_replayed_for_another_site(federation: Federation) -> None:
    data, path = signature_of(federation, layout.update("north", 1))
    place(federation.drop, Signed(key=KEY, data=data, signature=path.read_bytes()))
    assert refused_unread(federation).startswith(f"{KEY}: signed by the key ")


def test_replayed_in_another_round(tmp_path: Path) -> None:
    federation = sent(tmp_path)
    federation.aggregate()
    federation.send("north", 2)
    shutil.copytree(federation.drop / "sites/valley/round-0001", federation.drop / "sites/valley/round-0002")
    result = federation.aggregate()
    assert result.status is Status.WAITING
    assert result.rejected[0].reason == f"{layout.update('valley', 2)}: round: expected 2, found 1"


def test_replayed_in_another_federation(federation: Federation, tmp_path: Path) -> None:
    """The same hospital, key, plan and round; valley's update of the one lies where that of the other belongs."""
    other = Federation(root=tmp_path / "other", by_hand=SITES, plan=federation.plan)
    for site in SITES:
        shutil.copytree(federation.site(site), other.site(site))
    other.begin().send("valley", 1)
    shutil.rmtree(federation.drop / "sites/valley")
    shutil.copytree(other.drop / "sites/valley", federation.drop / "sites/valley")
    expected, found = (wire.sha256((each.drop / layout.federation(0)).read_bytes()) for each in (federation, other))
    assert refused_unread(federation) == f"{KEY}: federation: expected {expected}, found {found}"


# ----------------------------------------------------------------------------------------------- what the record says


BENT: dict[str, tuple[dict[str, Any], str]] = {
    "another party": ({"party": "north"}, "party: expected valley, found north"),
    "a round to come": ({"round": 7}, "round: expected 1, found 7"),
    "on another round": (
        {"parent": "0" * 64},
        f"valley has signed that it verified round 0, {'0' * 12}; here round 0 is .*: evidence of a fork",
    ),
    "under another plan": ({"plan": "0" * 64}, f"plan: expected .*, found {'0' * 64}"),
    "no steps": ({"steps": 0}, "steps: .*greater than or equal to 1"),
    "negative steps": ({"steps": -5}, "steps: .*greater than or equal to 1"),
    "steps over the plan's limit": ({"steps": 1_000_001}, "1000001 steps, expected at most 1000000"),
    "steps beyond exact products": ({"steps": 2**29}, "steps: .*less than"),
    "steps that are no number": ({"steps": "many"}, "steps: "),
    "a norm that is not finite": ({"norm": float("nan")}, "UTF-8 JSON|NaN"),
    "an unknown schema": ({"schema": "fedcli/update@2"}, "schema: "),
    "one key more": ({"backdoor": 1}, "backdoor: "),
}


@pytest.mark.parametrize(("values", "match"), BENT.values(), ids=BENT)
def test_a_record_that_its_own_site_has_bent(federation: Federation, values: dict[str, Any], match: str) -> None:
    rewrite(federation, KEY, **values)
    assert re.search(f"^{KEY}: .*{match}", refused_unread(federation))


def test_an_artifact_that_its_record_says_is_too_large(federation: Federation) -> None:
    (named,) = json.loads((federation.drop / KEY).read_bytes())["artifacts"]
    rewrite(federation, KEY, artifacts=[named | {"stored_size": 1 << 40, "content_size": 1 << 40}])
    reason = refused_unread(federation)
    assert f"{1 << 40} bytes, expected at most 4000000000 (limits.model_mb of the plan)" in reason


def test_an_artifact_of_another_site(federation: Federation) -> None:
    (named,) = json.loads((federation.drop / layout.update("north", 1)).read_bytes())["artifacts"]
    rewrite(federation, KEY, artifacts=[named])
    assert "artifact's key: expected sites/valley/round-0001/" in refused_unread(federation)


# ----------------------------------------------------------------------------------------------------------------- sizes


def test_an_oversize_record(federation: Federation) -> None:
    most = Bounds(sites=frozenset({"north", "valley"})).record_bytes(KEY)
    (federation.drop / KEY).write_bytes(b" " * (most + 1))
    assert refused_unread(federation) == f"{KEY}: more than the {most} bytes expected at most"


def test_an_oversize_signature(federation: Federation) -> None:
    _, path = signature_of(federation)
    path.write_bytes(path.read_bytes() + b"\n" * MAX_SIGNATURE_BYTES)
    assert refused_unread(federation).endswith(f".sig: more than the {MAX_SIGNATURE_BYTES} bytes expected at most")
