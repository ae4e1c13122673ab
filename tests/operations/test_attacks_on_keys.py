"""What a store's host, who has no key of any party, does to enrolments and to the member list in order to sign as a site."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli import wire
from fedcli.errors import ApprovalError, ConfigurationError, TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.checks import Signed
from fedcli.operations.admit import AdmitRequest, admit
from fedcli.operations.admit import inspect as inspect_applicant
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.operations.rotate_key import RotateKeyRequest, rotate_key
from fedcli.operations.train_round import TrainRoundRequest, train_round
from fedcli.party.amendment import amend_federation
from fedcli.party.party import Party
from fedcli.results import Status
from fedcli.workspace import WorkspaceRole
from tests.fixtures.signing import keys_of, signer_of
from tests.fixtures.tampering import place, rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.operations.admit import AdmitResult
    from fedcli.operations.join import JoinResult
    from fedcli.operations.train_round import TrainRoundResult
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
    with pytest.raises(TrustError, match="keys: should list one key for each purpose, found signing, encryption, signing"):
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
    with pytest.raises(TrustError, match=r"federation-0003\.json: lists for south the key .*: anyone who holds the"):
        begun.train("south")
    assert begun.train("north")[0].status is Status.PUBLISHED


def test_a_site_stops_with_an_alarm_where_another_key_was_listed_for_some_rounds_only(begun: Federation) -> None:
    """The coordinator itself lists its own key for north, signs an update with it, and lists north's key again."""
    members = begun.history().federations[-1].record.members
    own, other = (member for member in members)
    foreign = replace(own, keys=keys_of(HOST))
    with Party.at_work(begun.coordinator, WorkspaceRole.COORDINATOR, begun.environment) as party:
        assert own.site == "north"
        amend_federation(party, 1, members=(foreign, other))
        amend_federation(party, 1, members=members)
    assert begun.history().federations[-1].record.members == members
    with pytest.raises(TrustError, match=r"lists for north the key .*: anyone who holds the"):
        begun.train("north")
    assert begun.train(other.site)[0].status is Status.PUBLISHED


# ------------------------------------------------------------------------------------- a site that has lost its key


def re_enrol(federation: Federation, root: Path) -> JoinResult:
    """Let north, whose key is lost, join again under its name in a new workspace."""
    request = JoinRequest(
        root=root,
        site="north",
        invitation=inspect(federation.source()),
        prepared=str(federation.prepared["north"]),
        re_enrol=True,
    )
    return join(request, federation.environment)


def admit_key(federation: Federation, fingerprint: str, site: str = "north") -> AdmitResult:
    return admit(AdmitRequest(root=federation.coordinator, site=site, fingerprint=fingerprint), federation.environment)


def train(federation: Federation, root: Path) -> TrainRoundResult:
    return train_round(TrainRoundRequest(root=root), federation.environment)


def replace_key(federation: Federation, number: int, name: str = HOST) -> str:
    """Put an enrolment of a new key of the host's into north's folder, as a site does that has lost its key."""
    key = layout.enrolment("north", number)
    record = json.loads((federation.drop / layout.enrolment("north", 0)).read_bytes())
    record |= {"number": number, "previous": digest_of(federation, 0), "keys": wire.plain(keys_of(name))}
    data = (json.dumps(record, indent=1) + "\n").encode()
    place(federation.drop, Signed(key=key, data=data, signature=signer_of(name).sign(data)))
    (federation.drop / layout.countersignature(key, wire.sha256(data))).write_bytes(signer_of(name).sign(data))
    return signer_of(name).verify_key.fingerprint


def digest_of(federation: Federation, number: int) -> str:
    return wire.sha256((federation.drop / layout.enrolment("north", number)).read_bytes())


def test_a_site_that_has_lost_its_key_takes_part_again_under_its_name(trained: Federation, tmp_path: Path) -> None:
    root = tmp_path / "new"
    joined = re_enrol(trained, root)
    assert (joined.status, joined.admitted) == (Status.PUBLISHED, False)
    assert re_enrol(trained, root).status is Status.DONE
    assert "north is not admitted yet" in train(trained, root).message
    assert trained.status("coordinator").renewed == ("north",)
    applicant = inspect_applicant(trained.coordinator, "north", trained.environment)
    assert (applicant.fingerprint, applicant.vouched, applicant.admitted) == (joined.fingerprint, False, False)
    admitted = admit_key(trained, joined.fingerprint)
    assert (admitted.retired, admitted.from_round) == (applicant.present, 2)
    assert f"north takes part with the key {joined.fingerprint} from round 2 on" in train(trained, root).message
    assert trained.aggregate().used == ("north", "valley")
    assert train(trained, root).status is Status.PUBLISHED
    trained.train("valley")
    assert trained.aggregate().used == ("north", "valley")
    result = trained.verify()
    assert (result.problems, result.unaccounted, result.verified) == ((), (), True)


def test_a_lost_key_that_somebody_has_found_signs_nothing_after_the_admission(begun: Federation, tmp_path: Path) -> None:
    joined = re_enrol(begun, tmp_path / "new")
    admit_key(begun, joined.fingerprint)
    with pytest.raises(TrustError, match="anyone who holds the listed key can sign as north"):
        begun.train("north")
    old = begun.signer("north").verify_key.fingerprint
    with pytest.raises(ApprovalError, match="is a retired key"):
        admit_key(begun, old)
    assert begun.status("coordinator").renewed == ()


def test_a_host_that_enrols_its_key_as_a_lost_one_is_told_by_the_fingerprint(begun: Federation, tmp_path: Path) -> None:
    own = replace_key(begun, 1)
    assert begun.status("coordinator").renewed == ("north",)
    applicant = inspect_applicant(begun.coordinator, "north", begun.environment)
    assert (applicant.fingerprint, applicant.vouched) == (own, False)
    assert begun.train("north")[0].status is Status.PUBLISHED  # nothing has changed for the site
    admit_key(begun, own)  # without a telephone call
    with pytest.raises(TrustError, match="anyone who holds the listed key can sign as north"):
        begun.train("north")


def test_junk_enrolments_block_neither_a_lost_key_nor_a_rotation(begun: Federation, tmp_path: Path) -> None:
    replace_key(begun, 1)
    (begun.drop / layout.enrolment("north", 2)).write_bytes(b"{}")
    (begun.drop / layout.enrolment("north", 7)).write_bytes(b"{")
    joined = re_enrol(begun, tmp_path / "new")
    assert (begun.drop / layout.enrolment("north", 3)).exists()
    with pytest.raises(UsageError, match="several enrolled keys wait"):
        inspect_applicant(begun.coordinator, "north", begun.environment)
    assert admit_key(begun, joined.fingerprint).status is Status.PUBLISHED
    assert train(begun, tmp_path / "new").status is Status.PUBLISHED
    rotated = rotate_key(RotateKeyRequest(root=begun.site("valley")), begun.environment)
    assert admit_key(begun, rotated.fingerprint, "valley").status is Status.PUBLISHED
    valley = layout.enrolment("valley", 0)
    assert json.loads((begun.drop / layout.enrolment("valley", 1)).read_bytes())["previous"] == wire.sha256(
        (begun.drop / valley).read_bytes()
    )


def test_a_thousand_junk_enrolments_are_not_all_read(begun: Federation, tmp_path: Path) -> None:
    joined = re_enrol(begun, tmp_path / "new")
    for number in range(2, 1000):
        (begun.drop / layout.enrolment("north", number)).write_bytes(b"{}")
    assert admit_key(begun, joined.fingerprint).status is Status.PUBLISHED
    assert len(begun.verify(replay=False).problems) < 100


def test_a_name_is_not_taken_over_without_saying_so(begun: Federation, tmp_path: Path) -> None:
    request = JoinRequest(root=tmp_path / "new", site="north", invitation=inspect(begun.source()))
    with pytest.raises(ConfigurationError, match="the federation has a site of this name with another key"):
        join(request, begun.environment)
