"""The coordinator's key is lost or stolen: the recovery key, kept offline, replaces it."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fedcli import wire
from fedcli.errors import ApprovalError, ConfigurationError, StoreError, TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.checks import Signed
from fedcli.exchange.keys import create_key, load_signer
from fedcli.exchange.records import FederationRecord
from fedcli.operations.admit import AdmitRequest, admit
from fedcli.operations.approve import confirm_coordinator
from fedcli.operations.doctor import DoctorRequest, doctor
from fedcli.operations.export import ExportRequest, export
from fedcli.operations.import_ import ImportRequest, import_
from fedcli.operations.init import InitRequest, init
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.operations.remove import RemoveRequest, remove
from fedcli.operations.rotate_key import RotateKeyRequest, rotate_key
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.party.memory.trusted_records import TrustedRecords
from fedcli.party.source import Source
from fedcli.results import Status
from tests.fixtures.federation import SITES, Federation, files_below, no_passphrase
from tests.fixtures.places import on_s3, on_sftp
from tests.fixtures.tampering import place

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.operations.rotate_key import RotateKeyResult
    from tests.fixtures.places import Place

KEY = layout.recovery(3)


@pytest.fixture(scope="module")
def recoverable_once(tmp_path_factory: pytest.TempPathFactory, prepared: dict[str, Path]) -> Federation:
    """Both sites have sent their update of round 1; the recovery key lies where no party works."""
    root = tmp_path_factory.mktemp("recoverable") / "f"
    root.mkdir()
    create_key(root / "offline", "recovery")
    federation = Federation(root=root, prepared=prepared)
    federation.fingerprint = init(
        InitRequest(
            root=federation.coordinator,
            plan=federation.plan,
            source=Source(address=str(federation.drop)),
            recovery=root / "offline.pub",
        ),
        federation.environment,
    ).coordinator
    for site in SITES:
        federation.join(site)
    federation.train()
    return federation


@pytest.fixture
def recoverable(tmp_path: Path, recoverable_once: Federation) -> Federation:
    return recoverable_once.copy(tmp_path / "f")


def recover(federation: Federation, **options: int) -> RotateKeyResult:
    request = RotateKeyRequest(root=federation.coordinator, recovery=federation.root / "offline", **options)
    return rotate_key(request, federation.environment)


def stolen(federation: Federation, root: Path) -> Federation:
    """Return what a thief of the coordinator's workspace works with: the same drop folder, and keys of its own."""
    shutil.copytree(federation.coordinator, root / "coordinator")
    thief = replace(federation, root=root)
    settings = root / "coordinator" / "workspace.toml"
    settings.write_text(settings.read_text().replace(str(root / "drop"), str(federation.drop)))
    rotate_key(RotateKeyRequest(root=thief.coordinator), thief.environment)
    return thief


def confirm(federation: Federation, fingerprint: str, *sites: str) -> None:
    for site in sites or SITES:
        confirm_coordinator(federation.site(site), fingerprint, federation.environment)


def test_a_lost_key_is_replaced_and_every_site_stops_until_its_operator_has_called(recoverable: Federation) -> None:
    (recoverable.coordinator / "key").unlink()
    result = recover(recoverable)
    assert (result.status, result.listed, result.before) == (Status.PUBLISHED, True, recoverable.fingerprint)
    assert recoverable.aggregate().used == SITES
    for site in SITES:
        with pytest.raises(ApprovalError, match=re.escape(f"which is now {result.fingerprint}")):
            recoverable.train(site)
    assert recoverable.status("north").message.startswith("The recovery key has replaced the coordinator's key, which is now")
    assert ("recovery key", "fail") in outcomes(recoverable, "north")
    with pytest.raises(ApprovalError, match="the coordinator's key is"):
        confirm(recoverable, recoverable.fingerprint)
    confirm(recoverable, result.fingerprint)
    recoverable.train()
    assert recoverable.aggregate().used == SITES
    verified = recoverable.verify()
    assert (verified.problems, verified.unaccounted, verified.verified) == ((), (), True)
    assert f"which the recovery key has replaced by {result.fingerprint}" in verified.message


def outcomes(federation: Federation, party: str) -> list[tuple[str, str]]:
    """Return the lines of the doctor."""
    result = doctor(DoctorRequest(root=federation.site(party)), federation.environment)
    return [(item.name, item.outcome.value) for item in result.findings]


def test_it_travels_in_a_tar(recoverable: Federation, tmp_path: Path) -> None:
    recover(recoverable)
    export(ExportRequest(source=recoverable.source(), file=tmp_path / "whole.tar"), recoverable.environment)
    (tmp_path / "copy").mkdir()
    copy = replace(recoverable.source(), address=str(tmp_path / "copy"))
    import_(ImportRequest(source=copy, file=tmp_path / "whole.tar"), recoverable.environment)
    assert files_below(tmp_path / "copy") == recoverable.files()


def test_it_goes_on_where_it_was_cut_off(recoverable: Federation) -> None:
    (recoverable.drop / KEY).mkdir()
    with pytest.raises(StoreError):
        recover(recoverable)
    (recoverable.drop / KEY).rmdir()
    result = recover(recoverable)
    assert result.listed
    assert sorted(path.name for path in recoverable.coordinator.glob("key-*.pub")) == ["key-0001.pub"]
    assert [item.key for item in recoverable.history().federations][3:] == [KEY]


def test_after_a_theft_the_thief_signs_nothing_more(recoverable: Federation, tmp_path: Path) -> None:
    thief = stolen(recoverable, tmp_path / "thief")
    remove(RemoveRequest(root=thief.coordinator, site="valley"), thief.environment)
    recoverable.train("north")  # it has trusted both records of the thief
    result = recover(recoverable)
    assert recoverable.history().federations[-1].key == layout.recovery(5)
    confirm(recoverable, result.fingerprint)
    for coordinator in (thief, recoverable):  # the thief has published a round; it counts for nobody
        with pytest.raises(TrustError, match=r"round-0001/round\.json: signed by the key"):
            coordinator.aggregate()
    shutil.rmtree((recoverable.drop / layout.round_record(1)).parent)
    assert recoverable.aggregate().used == SITES  # what the thief had announced for the next round is undone
    assert recoverable.verify().problems == ()


def test_a_round_that_the_thief_has_published_meanwhile_is_not_trusted_any_more(recoverable: Federation, tmp_path: Path) -> None:
    before = recoverable.copy(tmp_path / "before")
    result = recover(recoverable)
    before.aggregate()
    shutil.copytree(before.drop / "coordinator/round-0001", recoverable.drop / "coordinator/round-0001")
    recovered = {path: path.read_bytes() for path in recoverable.drop.glob("coordinator/*recovery*")}
    for path in recovered:
        path.unlink()
    recoverable.train("north")  # it has trusted that round
    for path, data in recovered.items():
        path.write_bytes(data)
    with pytest.raises(TrustError, match=r"round-0001/round\.json"):
        recoverable.train("north")
    shutil.rmtree(recoverable.drop / "coordinator/round-0001")
    shutil.rmtree(recoverable.drop / "sites/north/round-0002")
    confirm(recoverable, result.fingerprint)
    assert recoverable.aggregate().used == SITES
    assert {item.status for item in recoverable.train()} == {Status.PUBLISHED}


def test_it_takes_the_place_of_a_record_that_sites_have_trusted(recoverable: Federation, tmp_path: Path) -> None:
    thief = stolen(recoverable, tmp_path / "thief")
    remove(RemoveRequest(root=thief.coordinator, site="valley"), thief.environment)
    thief.aggregate()
    recoverable.train("north")  # it has trusted the records and the round of the thief
    result = recover(recoverable, instead_of=3)
    named = result.message.partition("under the replaced record: ")[2].split(", ")
    assert named == [layout.federation(4), layout.round_record(1), layout.update("north", 2)]
    for key in named[1:]:
        shutil.rmtree((recoverable.drop / key).parent)
    (recoverable.drop / layout.federation(4)).unlink()
    confirm(recoverable, result.fingerprint)
    assert recoverable.aggregate().used == SITES
    recoverable.train()
    history = recoverable.history()
    assert [item.key for item in history.federations][3:] == [KEY]
    assert recoverable.verify().problems == ()
    kept = files_below(recoverable.site("north") / "trusted")
    assert f"{layout.federation(3)}.replaced" in kept
    assert f"{layout.round_record(1)}.replaced" in kept


def test_a_site_that_is_killed_while_it_takes_the_record_takes_it_again(
    recoverable: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thief = stolen(recoverable, tmp_path / "thief")
    remove(RemoveRequest(root=thief.coordinator, site="valley"), thief.environment)
    thief.aggregate()
    recoverable.train("north")  # it has trusted two records and the round of the thief
    recover(recoverable, instead_of=3)
    for key in (layout.federation(4), layout.round_record(1), layout.update("north", 2)):
        (recoverable.drop / key).unlink()
    changes = 4  # the round, both records, and the recovery key's own
    for last in range(changes + 1):
        killed = recoverable.copy(tmp_path / str(last))
        with monkeypatch.context() as patch:
            dying = Dying(last, patch)
            if last == changes:
                killed.status("north")
                assert dying.made == changes
            else:
                with pytest.raises(KeyboardInterrupt):
                    killed.status("north")
        killed.status("north")
        trusted = files_below(killed.site("north") / "trusted")
        assert KEY in trusted
        assert trusted.keys() & {layout.federation(3), layout.federation(4), layout.round_record(1)} == set()


class Dying:
    """Kills a party before a change of what it remembers, counted from 0."""

    def __init__(self, last: int, patch: pytest.MonkeyPatch) -> None:
        self.made = 0
        for name in ("put_aside", "remember"):
            change = getattr(TrustedRecords, name)

            def counted(memory: TrustedRecords, what: Any, change: Any = change) -> None:
                if self.made == last:
                    raise KeyboardInterrupt
                self.made += 1
                change(memory, what)

            patch.setattr(TrustedRecords, name, counted)


def test_a_sibling_that_the_thief_signs_later_counts_for_nobody(recoverable: Federation, tmp_path: Path) -> None:
    before = recoverable.copy(tmp_path / "before")
    result = recover(recoverable)
    rotate_key(RotateKeyRequest(root=before.coordinator), before.environment)
    for path in before.drop.glob("coordinator/federation-0003.json*"):
        shutil.copy(path, recoverable.drop / "coordinator")
    confirm(recoverable, result.fingerprint)
    assert recoverable.aggregate().status is Status.PUBLISHED
    recoverable.train()
    result = recoverable.verify()
    assert result.problems == ()
    assert result.unaccounted[0] == layout.federation(3)


def forged(federation: Federation, name: str, **values: object) -> None:
    """Put a record of the recovery key's in place, with other values, signed by any key."""
    newest = wire.decode(FederationRecord, (federation.drop / layout.federation(2)).read_bytes())
    previous = wire.sha256((federation.drop / layout.federation(2)).read_bytes())
    key = create_key(federation.root / "new-key", "new")
    usual = {"number": 3, "previous": previous, "coordinator": newest.coordinator, "from_round": 1}
    data = wire.encode(replace(newest, **(usual | values)))
    signer = load_signer(federation.root / name, no_passphrase) if name else key
    place(federation.drop, Signed(key=KEY, data=data, signature=signer.sign(data)))


@pytest.mark.parametrize("signer", ["coordinator/key", "north/key", ""])
def test_nobody_else_signs_in_its_place(recoverable: Federation, signer: str) -> None:
    forged(recoverable, signer)
    with pytest.raises(TrustError, match=r"federation-0003-recovery\.json: signed by the key"):
        recoverable.train("north")


def test_it_changes_the_coordinators_keys_and_nothing_else(recoverable: Federation) -> None:
    forged(recoverable, "offline", members=())
    with pytest.raises(TrustError, match="signed by the recovery key, which cannot change members"):
        recoverable.train("north")
    forged(recoverable, "offline", plan=replace(recoverable.plan, rounds=9))
    with pytest.raises(TrustError, match="signed by the recovery key, which cannot change plan"):
        recoverable.train("north")


def test_only_it_replaces_itself(recoverable: Federation) -> None:
    forged(recoverable, "coordinator/key", recovery=None)
    for path in recoverable.drop.glob("coordinator/federation-0003-recovery.json*"):
        path.rename(path.with_name(path.name.replace("-recovery", "")))
    with pytest.raises(TrustError, match="signed by a key of the coordinator, which cannot change recovery"):
        recoverable.train("north")


def replace_recovery_key(federation: Federation, signer: str, successor: str) -> RotateKeyResult:
    root = federation.root
    request = RotateKeyRequest(root=federation.coordinator, recovery=root / signer, successor=root / f"{successor}.pub")
    return rotate_key(request, federation.environment)


def test_it_names_another_one_and_then_signs_for_nothing(recoverable: Federation) -> None:
    create_key(recoverable.root / "second", "recovery")
    result = replace_recovery_key(recoverable, "offline", "second")
    assert (result.status, result.fingerprint) == (Status.PUBLISHED, fingerprint(recoverable, "second"))
    assert replace_recovery_key(recoverable, "offline", "second").status is Status.DONE
    assert recoverable.aggregate().used == SITES
    recoverable.train()  # the coordinator's key is the same: no site has to confirm anything
    verified = recoverable.verify()
    assert (verified.problems, verified.verified, "replaced" in verified.message) == ((), True, False)
    with pytest.raises(UsageError, match="expected the federation's recovery key, " + re.escape(result.fingerprint)):
        recover(recoverable)
    request = RotateKeyRequest(root=recoverable.coordinator, recovery=recoverable.root / "second")
    confirm(recoverable, rotate_key(request, recoverable.environment).fingerprint)
    assert recoverable.aggregate().used == SITES


def test_the_coordinators_own_key_does_not_become_one(recoverable: Federation) -> None:
    with pytest.raises(ConfigurationError, match="the recovery key is the coordinator's signing key"):
        replace_recovery_key(recoverable, "offline", "coordinator/key")


def fingerprint(federation: Federation, name: str) -> str:
    return load_signer(federation.root / name, no_passphrase).verify_key.fingerprint


def test_without_a_recovery_key_there_is_none(begun: Federation, tmp_path: Path) -> None:
    create_key(tmp_path / "offline", "recovery")
    with pytest.raises(UsageError, match="expected the federation's recovery key, none"):
        rotate_key(RotateKeyRequest(root=begun.coordinator, recovery=tmp_path / "offline"), begun.environment)
    create_key(begun.root / "offline", "recovery")
    forged(begun, "offline")
    with pytest.raises(TrustError, match="the federation names no recovery key"):
        begun.train("north")
    with pytest.raises(UsageError, match="there is none to confirm"):
        confirm_coordinator(recover_site(begun), begun.fingerprint, begun.environment)


def recover_site(federation: Federation) -> Path:
    """Take the forged record away again, and return a site."""
    for path in federation.drop.glob("coordinator/federation-0003-recovery.json*"):
        path.unlink()
    return federation.site("north")


def test_the_coordinators_own_key_is_no_recovery_key(tmp_path: Path) -> None:
    federation = Federation(root=tmp_path / "f")
    create_key(tmp_path / "key", "both")
    request = InitRequest(
        root=federation.coordinator,
        plan=federation.plan,
        source=Source(address=str(federation.drop)),
        key=tmp_path / "key",
        recovery=tmp_path / "key.pub",
    )
    with pytest.raises(ConfigurationError, match="expected another one"):
        init(request, federation.environment)


@pytest.fixture(params=["sftp", "s3"])
def elsewhere(request: pytest.FixtureRequest) -> Place:
    if request.param == "sftp":
        return on_sftp(request.getfixturevalue("sshd"))
    return on_s3(request.getfixturevalue("s3"))


def test_keys_are_replaced_on_servers_too(recoverable: Federation, elsewhere: Place, tmp_path: Path) -> None:
    (recoverable.coordinator / "key").unlink()
    elsewhere.take_over(recoverable.drop, [recoverable.coordinator, *map(recoverable.site, SITES)])
    with elsewhere.acting():
        result = recover(recoverable)
        with pytest.raises(ApprovalError, match="replaced the coordinator's key"):
            recoverable.train("north")
        confirm(recoverable, result.fingerprint)
        assert recoverable.aggregate().used == SITES
        source = recoverable.source("north")
        request = JoinRequest(root=tmp_path / "new", site="north", invitation=inspect(source), re_enrol=True)
        joined = join(request, recoverable.environment)
        admitted = admit(
            AdmitRequest(root=recoverable.coordinator, site="north", fingerprint=joined.fingerprint), recoverable.environment
        )
        assert admitted.retired == recoverable.signer("north").verify_key.fingerprint
        verified = verify(VerifyRequest(source=source, replay=True), recoverable.environment)[0]
        assert (verified.problems, verified.unaccounted, verified.verified) == ((), (), True)
