"""A federation whose files are sealed: who opens what, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli import tensors, wire
from fedcli.environment import Environment
from fedcli.errors import ApprovalError, ConfigurationError, SealedError, TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.keys import create_key, verify_keys
from fedcli.exchange.recipients import Reader, readers
from fedcli.exchange.records import Artifact, FederationRecord, Granted, GrantRecord, Purpose, Role, key_for
from fedcli.exchange.succession import newest_seen
from fedcli.operations import approve
from fedcli.operations.access.auditor_key import AuditorKeyRequest, auditor_key
from fedcli.operations.admit import AdmitRequest, admit
from fedcli.operations.init import InitRequest, init
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.operations.remove import RemoveRequest, remove
from fedcli.operations.restart import RestartRequest, restart
from fedcli.operations.rotate_key import RotateKeyRequest, rotate_key
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.party.amendment import amend_federation, first_round
from fedcli.party.own_keys import own_keys
from fedcli.party.party import Party, publication
from fedcli.party.transfer.outgoing import box
from fedcli.plan import Auditor, Confidentiality, Encoding, Packing, Updates
from fedcli.privacy import encryption_keys, sealing
from fedcli.privacy.sealing import Place
from fedcli.workspace import Workspace
from tests.fixtures.federation import PLAN, SITES, Federation, no_passphrase, prepared_data, sealed_federation

if TYPE_CHECKING:
    from pathlib import Path

SEALED = replace(PLAN, confidentiality=Confidentiality())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The data of two sites."""
    return prepared_data(tmp_path_factory.mktemp("data"), SEALED)


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory, prepared: dict[str, Path]) -> Federation:
    """A federation after two rounds, whose plan names an auditor from the start."""
    return sealed_federation(tmp_path_factory.mktemp("audited"), prepared, rounds=2)


@pytest.fixture
def federation(audited: Federation, tmp_path: Path) -> Federation:
    """A copy to change."""
    return audited.copy(tmp_path / "f")


def artifacts_of(federation: Federation) -> dict[str, Artifact]:
    """Return every artifact that a record in the drop folder names, by its key."""
    records = (json.loads(path.read_bytes()) for path in federation.drop.rglob("*.json"))
    return {
        item["key"]: wire.decode(Artifact, json.dumps(item).encode())
        for record in records
        for item in record.get("artifacts", ())
    }


def replayed(federation: Federation, party: str = "", identity: Path | None = None) -> int:
    """Return how many rounds somebody recomputes."""
    source = replace(federation.source(party), identity=identity)
    result = verify(VerifyRequest(source=source, replay=True), Environment(passphrase=no_passphrase))[0]
    assert result.verified, result.message
    return result.replayed


def opened(federation: Federation, party: str, key: str) -> Path:
    """Return a party's private copy of an artifact."""
    with Party.at_work(federation.root / party, None, federation.environment) as at_work:
        ledger = at_work.ledger
        owner = next((item for item in ledger.rounds if any(artifact.key == key for artifact in item.artifacts)), None)
        if owner is None:
            site, number = layout.owner(key), int(key.split("round-")[1][:4])
            update = at_work.folder.update(site, number)
            assert update is not None
            return at_work.folder.artifacts.fetch(update, update.artifact)
        return at_work.folder.artifacts.fetch(owner, owner.artifact)


def rewrite(federation: Federation, key: str, change: dict[str, object], signer: str) -> None:
    """Replace a record by one with changed artifacts that a party signs."""
    path = federation.drop / key
    record = json.loads(path.read_bytes())
    record["artifacts"][0] |= change
    data = (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode()
    path.write_bytes(data)
    (federation.drop / layout.signature(key, wire.sha256(data))).write_bytes(federation.signer(signer).sign(data))


def test_nothing_in_the_drop_folder_is_a_part_of_a_weight_file(audited: Federation) -> None:
    """No 16 bytes of any content, at any position of a number, are in any file."""
    stored = b"".join(path.read_bytes() for path in sorted(audited.drop.rglob("*")) if path.is_file())
    runs = {stored[begin : begin + 16] for begin in range(len(stored) - 15)}
    checked = 0
    for key in artifacts_of(audited):
        content = opened(audited, "coordinator", key).read_bytes()
        assert not any(content[begin : begin + 16] in runs for begin in range(0, len(content) - 15, 16)), key
        checked += len(content) // 16
    assert checked > 10_000


def test_the_coordinator_and_an_auditor_replay_and_a_site_cannot(audited: Federation) -> None:
    assert replayed(audited, "coordinator") == 2
    assert replayed(audited, identity=audited.root / "auditor.key") == 2
    for party in ("north", ""):
        with pytest.raises(SealedError, match="2 rounds cannot be recomputed, the first one is round 1: files"):
            replayed(audited, party)


def test_anybody_checks_signatures_and_stored_bytes_and_is_told_what_was_not_opened(audited: Federation, tmp_path: Path) -> None:
    result = verify(VerifyRequest(source=audited.source()), Environment())[0]
    assert (result.verified, result.unopened) == (True, len(artifacts_of(audited)))
    assert f"{result.unopened} artifacts sealed to others, of which only what is stored was checked" in result.message
    own = verify(VerifyRequest(source=audited.source("north")), Environment(passphrase=no_passphrase))[0]
    assert (own.verified, own.unopened) == (True, 2)  # valley's two updates
    copy = audited.copy(tmp_path / "f")
    update = copy.update("valley", 1).artifacts[0]
    damaged = bytearray((copy.drop / update.key).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (copy.drop / update.key).write_bytes(damaged)
    for party in ("", "north", "coordinator"):
        found = verify(VerifyRequest(source=copy.source(party)), Environment(passphrase=no_passphrase))[0]
        assert [item.key for item in found.problems] == [update.key]
        assert f"expected by {layout.update('valley', 1)}" in found.problems[0].message


def test_what_a_party_opens_stays_in_its_workspace(audited: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay writes for a while what it has opened; nothing of that goes to the system's place for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert replayed(audited, "coordinator") == 2
    assert list((audited.coordinator / "scratch").iterdir()) == []


def test_each_record_names_those_whom_the_file_concerns(audited: Federation) -> None:
    members = ["city-audit", "coordinator", *SITES]
    for key, artifact in artifacts_of(audited).items():
        assert artifact.encryption is not None
        expected = members if key.startswith("coordinator") else sorted(["city-audit", "coordinator", layout.owner(key)])
        if "round-0000" in key:
            expected = ["city-audit", "coordinator"]  # nobody had joined yet; a grant opens it for those who did later
        assert [item.party for item in artifact.encryption.recipients] == expected, key
    assert [item.party for item in readers(federation_record(audited), Role.MODEL, "valley")] == members  # a shared model


def test_a_removed_member_opens_nothing_new_and_a_new_one_nothing_older(
    federation: Federation, prepared: dict[str, Path], tmp_path: Path
) -> None:
    federation.amend(replace(federation.plan, rounds=4))
    for site in SITES:
        approve_plan(federation, site)
    remove(RemoveRequest(root=federation.coordinator, site="valley"), federation.environment)
    federation.prepared = {"north": prepared["north"]}
    federation.run(1)
    third = federation.record(3).artifacts[0]
    assert third.encryption is not None
    assert "valley" not in [item.party for item in third.encryption.recipients]
    with pytest.raises(SealedError, match=rf"{third.key}: sealed, and no key here opens it"):
        opened(federation, "valley", third.key)
    assert opened(federation, "valley", federation.record(2).artifacts[0].key).is_file()
    newcomer(federation, prepared["valley"])
    assert opened(federation, "east", third.key).is_file()
    assert opened(federation, "east", federation.record(0).artifacts[0].key).is_file()
    for older in (federation.update("north", 3).artifacts[0].key, federation.update("valley", 1).artifacts[0].key):
        with pytest.raises(SealedError):
            opened(federation, "east", older)
    assert replayed(federation, "coordinator") == 3


def newcomer(federation: Federation, data: Path) -> None:
    """Let a site called east join and be admitted."""
    request = JoinRequest(root=federation.site("east"), site="east", invitation=inspect(federation.source()), prepared=str(data))
    fingerprint = join(request, federation.environment).fingerprint
    admitted = admit(AdmitRequest(root=federation.coordinator, site="east", fingerprint=fingerprint), federation.environment)
    assert "sealed before" in admitted.message
    again = admit(AdmitRequest(root=federation.coordinator, site="east", fingerprint=fingerprint), federation.environment)
    assert again.status == "done"
    assert "sealed before" not in again.message


def approve_plan(federation: Federation, site: str) -> None:
    """Let a site's operator approve the plan in force."""
    proposal = approve.inspect(federation.site(site), federation.environment)
    approve.approve(approve.ApproveRequest(root=federation.site(site), digest=proposal.digest), federation.environment)


def test_an_auditor_who_is_named_later_opens_what_was_sealed_before(federation: Federation, tmp_path: Path) -> None:
    key = auditor_key(AuditorKeyRequest(path=tmp_path / "late.key", name="late-audit"), Environment())
    with pytest.raises(SealedError):
        replayed(federation, identity=tmp_path / "late.key")
    auditors = (*federation.plan.confidentiality.auditors, Auditor(name="late-audit", public_key=key.public_key))
    federation.amend(replace(federation.plan, confidentiality=Confidentiality(auditors=auditors)))
    assert replayed(federation, identity=tmp_path / "late.key") == 2
    granted = federation.drop / layout.grant("coordinator", len(list((federation.drop / "coordinator/grants").glob("*.json"))))
    assert json.loads(granted.read_bytes())["recipient"] == "late-audit"


def test_a_rotated_key_opens_what_was_sealed_to_the_one_before(federation: Federation) -> None:
    federation.amend(replace(federation.plan, rounds=3))
    for site in SITES:
        approve_plan(federation, site)
    before = federation_record(federation).coordinator
    rotate_key(RotateKeyRequest(root=federation.coordinator), federation.environment)
    rotated = rotate_key(RotateKeyRequest(root=federation.site("north")), federation.environment)
    admit(AdmitRequest(root=federation.coordinator, site="north", fingerprint=rotated.fingerprint), federation.environment)
    newest = federation_record(federation)
    assert key_for(Purpose.ENCRYPTION, newest.coordinator) != key_for(Purpose.ENCRYPTION, before)
    federation.run(1)
    assert replayed(federation, "coordinator") == 3
    assert opened(federation, "north", federation.record(1).artifacts[0].key).is_file()
    recipients = federation.record(3).artifacts[0].encryption
    assert recipients is not None
    assert recipients.recipients[1].key == newest_key(federation, "coordinator")


def newest_key(federation: Federation, party: str) -> str:
    """Return the digest of a workspace's newest encryption key."""
    with Party.at_work(federation.root / party, None, federation.environment) as at_work:
        present = at_work.keyring.present
        assert present is not None
        return present.digest


def federation_record(federation: Federation) -> FederationRecord:
    """Return the newest federation record."""
    newest = max(federation.drop.glob("coordinator/federation-*.json"))
    return wire.decode(FederationRecord, newest.read_bytes())


def test_a_site_that_has_lost_its_keys_works_again_once_it_is_admitted(federation: Federation, prepared: dict[str, Path]) -> None:
    federation.amend(replace(federation.plan, rounds=3))
    approve_plan(federation, "valley")
    shutil.rmtree(federation.site("north"))
    invitation = inspect(federation.source())
    request = JoinRequest(
        root=federation.site("north"), site="north", invitation=invitation, prepared=str(prepared["north"]), re_enrol=True
    )
    fingerprint = join(request, federation.environment).fingerprint
    admit(AdmitRequest(root=federation.coordinator, site="north", fingerprint=fingerprint), federation.environment)
    federation.run(1)
    assert [item.site for item in federation.record(3).contributions] == list(SITES)
    assert replayed(federation, "coordinator") == 3


def test_a_restart_seals_the_earlier_model_for_the_present_members(federation: Federation) -> None:
    federation.amend(replace(federation.plan, rounds=4))
    for site in SITES:
        approve_plan(federation, site)
    restart(RestartRequest(root=federation.coordinator, number=1, reason="a scanner was mislabelled"), federation.environment)
    third, first = federation.record(3).artifacts[0], federation.record(1).artifacts[0]
    assert (third.content_sha256, third.stored_sha256 != first.stored_sha256) == (first.content_sha256, True)
    assert opened(federation, "north", third.key).read_bytes() == opened(federation, "north", first.key).read_bytes()
    federation.run(1)
    assert replayed(federation, "coordinator") == 4


@pytest.mark.parametrize(("encoding", "packing"), [(Encoding.INT8, Packing.ZSTD), (Encoding.FLOAT32, Packing.ZSTD)])
def test_compact_updates_are_sealed_and_replayed(
    tmp_path: Path, prepared: dict[str, Path], encoding: Encoding, packing: Packing
) -> None:
    plan = replace(SEALED, rounds=1, updates=Updates(encoding=encoding, packing=packing))
    federation = Federation(root=tmp_path / "f", prepared=prepared, plan=plan).begin()
    federation.run(1)
    assert replayed(federation, "coordinator") == 1


def test_a_plain_update_in_a_sealed_federation_is_refused(federation: Federation) -> None:
    key = layout.update("north", 1)
    content = opened(federation, "coordinator", federation.update("north", 1).artifacts[0].key)
    measured = {"stored_size": content.stat().st_size, "stored_sha256": wire.sha256(content.read_bytes())}
    named = layout.artifact(key, measured["stored_sha256"])
    shutil.copyfile(content, federation.drop / named)
    rewrite(federation, key, {"encryption": None, "key": named} | measured, "north")
    with pytest.raises(TrustError, match=rf"{named} is in plain, expected sealed \(confidentiality.sealing of the plan\)"):
        read_update(federation)


def read_update(federation: Federation) -> None:
    """Read north's first update as the coordinator does, which remembers none."""
    shutil.rmtree(federation.coordinator / "trusted")
    with Party.at_work(federation.coordinator, None, federation.environment) as party:
        signed = party.folder.read(layout.update("north", 1))
        party.ledger.update("north", 1, signed)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (("city-audit", "north"), "does not open for coordinator"),
        (("coordinator", "north"), "does not open for city-audit"),
        (("city-audit", "coordinator", "north", "valley"), r"opens for valley \("),
    ],
)
def test_recipients_are_those_whom_the_file_concerns(federation: Federation, kept: tuple[str, ...], message: str) -> None:
    update = json.loads((federation.drop / layout.update("north", 1)).read_bytes())["artifacts"][0]["encryption"]
    of_valley = json.loads((federation.drop / layout.update("valley", 1)).read_bytes())["artifacts"][0]["encryption"]
    recipients = {item["party"]: item for item in of_valley["recipients"] + update["recipients"]}
    encryption = update | {"recipients": [recipients[name] for name in kept]}
    rewrite(federation, layout.update("north", 1), {"encryption": encryption}, "north")
    with pytest.raises(TrustError, match=message):
        read_update(federation)


def test_a_box_that_does_not_open_names_its_author(federation: Federation) -> None:
    """North swaps what it has wrapped for the coordinator with what it has wrapped for itself."""
    key = layout.update("north", 1)
    encryption = json.loads((federation.drop / key).read_bytes())["artifacts"][0]["encryption"]
    boxes = {item["party"]: item["wrapped"] for item in encryption["recipients"]}
    for item in encryption["recipients"]:
        item["wrapped"] = boxes[{"coordinator": "north", "north": "coordinator"}.get(item["party"], item["party"])]
    rewrite(federation, key, {"encryption": encryption}, "north")
    shutil.rmtree(federation.coordinator / "trusted")
    with Party.at_work(federation.coordinator, None, federation.environment) as party:
        update = party.ledger.update("north", 1, party.folder.read(key))
        with pytest.raises(TrustError, match=r"does not open, though north has wrapped it") as caught:
            party.folder.artifacts.fetch(update, update.artifact)
        assert not isinstance(caught.value, SealedError)


def test_a_file_of_one_record_opens_under_no_other(federation: Federation) -> None:
    """North names its first update's file, with its boxes, in its second update: they are bound to the first record."""
    first = json.loads((federation.drop / layout.update("north", 1)).read_bytes())["artifacts"][0]
    key = layout.update("north", 2)
    named = layout.artifact(key, first["stored_sha256"])
    shutil.copyfile(federation.drop / first["key"], federation.drop / named)
    rewrite(federation, key, first | {"key": named}, "north")
    shutil.rmtree(federation.coordinator / "trusted")
    with Party.at_work(federation.coordinator, None, federation.environment) as party:
        update = party.ledger.update("north", 2, party.folder.read(key))
        with pytest.raises(TrustError, match="does not open, though north has wrapped it"):
            party.folder.artifacts.fetch(update, update.artifact)


def test_a_grant_for_another_file_opens_nothing(federation: Federation, tmp_path: Path) -> None:
    """The box of φ(0)'s grant does not open another file, whatever a grant says."""
    grants = sorted((federation.drop / "coordinator/grants").glob("*.json"))
    record = json.loads(grants[0].read_bytes())
    target = federation.update("valley" if record["recipient"] == "north" else "north", 1).artifacts[0]
    record["granted"][0] |= {"artifact": target.key, "stored_sha256": target.stored_sha256}
    data = (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode()
    grants[0].write_bytes(data)
    key = f"coordinator/grants/{grants[0].name}"
    (federation.drop / layout.signature(key, wire.sha256(data))).write_bytes(federation.signer("coordinator").sign(data))
    with pytest.raises(SealedError):
        opened(federation, record["recipient"], target.key)


def test_an_enrolment_without_an_encryption_key_is_not_admitted(federation: Federation, prepared: dict[str, Path]) -> None:
    request = JoinRequest(
        root=federation.site("east"), site="east", invitation=inspect(federation.source()), prepared=str(prepared["north"])
    )
    fingerprint = join(request, federation.environment).fingerprint
    key = layout.enrolment("east", 0)
    record = json.loads((federation.drop / key).read_bytes())
    record["keys"] = record["keys"][:1]
    data = (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode()
    (federation.drop / key).write_bytes(data)
    (federation.drop / layout.signature(key, wire.sha256(data))).write_bytes(federation.signer("east").sign(data))
    with pytest.raises(ApprovalError, match="east: has enrolled no encryption key, and the plan seals files"):
        admit(AdmitRequest(root=federation.coordinator, site="east", fingerprint=fingerprint), federation.environment)


def test_a_site_stops_where_another_encryption_key_is_listed_for_it(federation: Federation) -> None:
    """A coordinator that lists a key of its own for a site would read what is sealed to it; the site sees it at once."""
    record = federation_record(federation)
    members = tuple(
        replace(member, keys=(member.keys[0], record.coordinator[1])) if member.site == "north" else member
        for member in record.members
    )
    with Party.at_work(federation.coordinator, None, federation.environment) as party:
        amend_federation(party, first_round(party, ["north"]), members=members)
    with pytest.raises(TrustError, match=r"lists for north the encryption key [0-9a-f]{12}, which this workspace does not have"):
        federation.train("north")


def test_sealing_cannot_be_switched_off_later(federation: Federation) -> None:
    with pytest.raises(UsageError, match="sealing cannot change"):
        federation.amend(replace(federation.plan, confidentiality=Confidentiality(sealing=False)))


def test_a_member_named_by_its_signing_key_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ash: named by a signing key, and the plan seals files"):
        Federation(root=tmp_path, by_hand=("ash",), plan=SEALED).begin()


def test_the_same_weights_come_out_sealed_and_plain(audited: Federation, prepared: dict[str, Path], tmp_path: Path) -> None:
    """Sealing changes no bit of any model."""
    plain = Federation(root=tmp_path / "f", prepared=prepared, plan=PLAN).begin()
    plain.run(2)
    for number in (0, 1, 2):
        sealed = opened(audited, "coordinator", audited.record(number).artifacts[0].key)
        assert sealed.read_bytes() == (plain.drop / plain.record(number).artifacts[0].key).read_bytes()
        assert tensors.read(sealed)


def test_keys_in_a_workspace_are_for_their_owner_only(audited: Federation) -> None:
    for party in ("coordinator", *SITES):
        folder = Workspace.open(audited.root / party).path("encryption")
        assert [path.stat().st_mode & 0o777 for path in sorted(folder.glob("*.key"))] == [0o600]


def test_a_coordinator_that_has_lost_its_encryption_key_opens_again_what_the_sites_grant(
    tmp_path: Path, prepared: dict[str, Path]
) -> None:
    """The recovery key brings in new keys; each site that confirms them grants what it can open."""
    recovery = create_key(tmp_path / "recovery", "recovery")
    federation = Federation(root=tmp_path / "f", prepared=prepared, plan=SEALED)
    request = InitRequest(
        root=federation.coordinator, plan=SEALED, source=federation.source(), recovery=tmp_path / "recovery.pub"
    )
    federation.fingerprint = init(request, federation.environment).coordinator
    for site in SITES:
        federation.join(site)
    federation.run(1)
    shutil.rmtree(federation.coordinator / "encryption")
    rotate_key(RotateKeyRequest(root=federation.coordinator, recovery=tmp_path / "recovery"), federation.environment)
    federation_key = verify_keys(federation_record(federation).coordinator)[0].fingerprint
    assert recovery.verify_key.fingerprint != federation_key
    with pytest.raises(SealedError):
        opened(federation, "coordinator", federation.record(1).artifacts[0].key)
    approve.confirm_coordinator(federation.site("north"), federation_key, federation.environment)
    assert opened(federation, "coordinator", federation.record(1).artifacts[0].key).is_file()
    with pytest.raises(SealedError):  # valley's update, which north cannot open either
        replayed(federation, "coordinator")
    approve.confirm_coordinator(federation.site("valley"), federation_key, federation.environment)
    assert replayed(federation, "coordinator") == 1
    federation.run(1)
    assert replayed(federation, "coordinator") == 2


def test_an_update_sealed_to_a_key_that_was_replaced_is_rejected_by_name_until_its_site_grants_it(
    tmp_path: Path, prepared: dict[str, Path]
) -> None:
    """North has sealed to the coordinator's lost key: it stops no round, and counts again once north has granted it."""
    create_key(tmp_path / "recovery", "recovery")
    federation = Federation(root=tmp_path / "f", prepared=prepared, plan=SEALED)
    request = InitRequest(
        root=federation.coordinator, plan=SEALED, source=federation.source(), recovery=tmp_path / "recovery.pub"
    )
    federation.fingerprint = init(request, federation.environment).coordinator
    for site in SITES:
        federation.join(site)
    federation.train("north")
    shutil.rmtree(federation.coordinator / "encryption")
    recovered = rotate_key(RotateKeyRequest(root=federation.coordinator, recovery=tmp_path / "recovery"), federation.environment)
    approve.confirm_coordinator(federation.site("valley"), recovered.fingerprint, federation.environment)
    federation.train("valley")
    waiting = federation.aggregate()
    assert waiting.used == ("valley",)
    assert [item.site for item in waiting.rejected] == ["north"]
    assert "it is sealed to the coordinator's key" in waiting.rejected[0].reason
    without = federation.copy(tmp_path / "without")
    assert without.aggregate(north="it seals to a lost key").used == ("valley",)
    approve.confirm_coordinator(federation.site("north"), recovered.fingerprint, federation.environment)
    assert federation.aggregate().used == SITES
    assert replayed(federation, "coordinator") == 1


def test_a_coordinator_without_its_newest_key_rejects_nobody(federation: Federation) -> None:
    """The workspace of an old backup lacks the key to which updates are sealed now: that is no site's fault."""
    federation.amend(replace(federation.plan, rounds=3))
    for site in SITES:
        approve_plan(federation, site)
    rotate_key(RotateKeyRequest(root=federation.coordinator), federation.environment)
    federation.train()
    newest = max((federation.coordinator / "encryption").glob("*.key"))
    kept = {path: path.read_bytes() for path in (newest, newest.with_name(f"{newest.name}.pub"))}
    for path in kept:
        path.unlink()
    with pytest.raises(SealedError, match=r"sites/north/round-0003/update-[0-9a-f]{12}\.safetensors: sealed, and no key here"):
        federation.aggregate()
    for path, data in kept.items():
        path.write_bytes(data)
    assert federation.aggregate().used == SITES


def test_the_passphrase_of_the_signing_key_encrypts_the_encryption_key_too(tmp_path: Path) -> None:
    ssh_keygen = shutil.which("ssh-keygen")
    if ssh_keygen is None:
        pytest.skip("ssh-keygen is not installed (openssh-client)")
    subprocess.run([ssh_keygen, "-q", "-t", "ed25519", "-N", "a long one", "-f", tmp_path / "signing"], check=True)
    keys = own_keys(tmp_path, tmp_path / "signing", "north", lambda: "a long one")
    path = tmp_path / "encryption" / "0001.key"
    assert "ENCRYPTED" in path.read_text()
    assert [key.purpose for key in keys.listed] == [Purpose.SIGNING, Purpose.ENCRYPTION]
    assert encryption_keys.load(path, lambda: "a long one").public.line == keys.listed[1].public_key


def lie(federation: Federation, liar: str, recipient: Reader, targets: list[Artifact], owners: dict[str, str]) -> None:
    """Let a member grant random keys: the boxes open, and the files do not."""
    with Party.at_work(federation.root / liar, None, federation.environment) as party:
        identity = party.ledger.identity
        places = [
            Place(federation=identity, record=owners[item.key], role=item.role.value, content=item.content_sha256)
            for item in targets
        ]
        boxes = [box(recipient.key, sealing.new_key(), place) for place in places]
        record = GrantRecord(
            federation=identity,
            party=liar,
            created=federation.clock(),
            versions=party.versions(),
            number=1,
            as_of=party.ledger.newest_round,
            seen=newest_seen(party.ledger.rounds),
            recipient=recipient.party,
            key=recipient.digest,
            granted=tuple(
                Granted(artifact=item.key, stored_sha256=item.stored_sha256, wrapped=wrapped)
                for item, wrapped in zip(targets, boxes, strict=True)
            ),
        )
        party.commit(party.outbox.draft("lie"), publication(layout.grant(liar, 1), record))


def test_no_grant_of_a_liar_is_in_the_way_of_an_honest_one(federation: Federation, prepared: dict[str, Path]) -> None:
    """North has granted random keys to an applicant, before the coordinator admits it."""
    request = JoinRequest(
        root=federation.site("east"), site="east", invitation=inspect(federation.source()), prepared=str(prepared["north"])
    )
    fingerprint = join(request, federation.environment).fingerprint
    enrolment = json.loads((federation.drop / layout.enrolment("east", 0)).read_bytes())
    east = Reader("east", enrolment["keys"][1]["public_key"])
    rounds = [federation.record(number).artifacts[0] for number in (0, 1, 2)]
    owners = {item.key: layout.round_record(number) for number, item in enumerate(rounds)}
    lie(federation, "north", east, rounds, owners)
    admitted = admit(AdmitRequest(root=federation.coordinator, site="east", fingerprint=fingerprint), federation.environment)
    assert "sealed before" in admitted.message
    assert opened(federation, "east", rounds[0].key).is_file()
    assert opened(federation, "east", rounds[2].key).is_file()
    own = verify(VerifyRequest(source=federation.source("east")), Environment(passphrase=no_passphrase))[0]
    assert own.verified, own.message  # and no honest file looks wrong
