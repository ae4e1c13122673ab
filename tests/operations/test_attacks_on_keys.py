"""What a store's host, who has no key of any party, does to enrolments and to the member list in order to sign as a site."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from fedcli import wire
from fedcli.errors import ApprovalError, TrustError
from fedcli.exchange import layout
from fedcli.exchange.checks import Signed
from fedcli.operations.admit import AdmitRequest, admit
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.operations.rotate_key import RotateKeyRequest, rotate_key
from fedcli.results import Status
from tests.fixtures.signing import keys_of, signer_of
from tests.fixtures.tampering import place, rewrite

if TYPE_CHECKING:
    from tests.fixtures.federation import Federation

HOST = "stranger"


def enrol(federation: Federation, site: str) -> str:
    """Let a site join, and return the fingerprint that it reads to the coordinator."""
    request = JoinRequest(root=federation.site(site), site=site, invitation=inspect(federation.source()))
    return join(request, federation.environment).fingerprint


def rewrite_enrolment(federation: Federation, site: str, number: int, *names: str) -> None:
    """Put an enrolment in place that lists the site's key and the host's, or the host's only, signed by the host."""
    key = layout.enrolment(site, number)
    record = json.loads((federation.drop / key).read_bytes())
    record["keys"] = [*(record["keys"] if site in names else []), *wire.plain(keys_of(HOST))]
    data = (json.dumps(record, indent=1) + "\n").encode()
    place(federation.drop, Signed(key=key, data=data, signature=signer_of(HOST).sign(data)))


def test_a_host_that_adds_its_key_to_a_waiting_enrolment_is_not_admitted(begun: Federation) -> None:
    fingerprint = enrol(begun, "south")
    rewrite_enrolment(begun, "south", 0, "south")
    with pytest.raises(TrustError, match="keys: should list one key for each purpose, found signing, signing"):
        admit(AdmitRequest(root=begun.coordinator, site="south", fingerprint=fingerprint), begun.environment)
    assert "south" not in {member.site for member in begun.history().federations[-1].record.members}


def test_a_host_that_replaces_a_waiting_enrolment_is_told_by_the_fingerprint(begun: Federation) -> None:
    fingerprint = enrol(begun, "south")
    rewrite_enrolment(begun, "south", 0)
    with pytest.raises(ApprovalError, match=f"south: enrolled the key .*, expected {fingerprint}".replace("+", r"\+")):
        admit(AdmitRequest(root=begun.coordinator, site="south", fingerprint=fingerprint), begun.environment)


def test_a_host_that_adds_its_key_to_a_rotation_is_not_admitted(begun: Federation) -> None:
    rotation = rotate_key(RotateKeyRequest(root=begun.site("north"), key=None), begun.environment)
    key = layout.enrolment("north", 1)
    keys = [*json.loads((begun.drop / key).read_bytes())["keys"], *wire.plain(keys_of(HOST))]
    rewrite(begun, key, signer="north", keys=keys)
    data = (begun.drop / key).read_bytes()
    (begun.drop / layout.countersignature(key, wire.sha256(data))).write_bytes(signer_of(HOST).sign(data))
    with pytest.raises(TrustError, match="should list one key for each purpose"):
        admit(AdmitRequest(root=begun.coordinator, site="north", fingerprint=rotation.fingerprint), begun.environment)


def test_a_site_stops_with_an_alarm_where_the_federation_lists_another_key_for_it(begun: Federation) -> None:
    enrol(begun, "south")
    rewrite_enrolment(begun, "south", 0)
    fingerprint = signer_of(HOST).verify_key.fingerprint  # without a telephone call
    admit(AdmitRequest(root=begun.coordinator, site="south", fingerprint=fingerprint), begun.environment)
    with pytest.raises(TrustError, match=r"federation-0003\.json: lists for south the key .*: whoever holds the"):
        begun.train("south")
    assert begun.train("north")[0].status is Status.PUBLISHED
