"""Members leave, keys are rotated, the plan changes: each by a federation record in force from a later round."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fedcli import wire
from fedcli.errors import ApprovalError, ConfigurationError, StoreError, TrustError, UsageError
from fedcli.exchange import layout, signatures
from fedcli.exchange.records import EvaluationRecord, FederationRecord
from fedcli.operations import amend, join
from fedcli.operations.admit import AdmitRequest, admit
from fedcli.operations.approve import ApproveRequest, approve, inspect
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.join import JoinRequest
from fedcli.operations.remove import RemoveRequest, remove
from fedcli.operations.rotate_key import RotateKeyRequest, rotate_key
from fedcli.plan import Network, Split
from fedcli.results import Status
from fedcli.workspace import Workspace
from tests.fixtures.command import run
from tests.fixtures.tampering import forge

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.exchange.history import History
    from fedcli.operations.rotate_key import RotateKeyResult
    from tests.fixtures.federation import Federation


def verified(federation: Federation) -> History:
    """Return the history, of which everything must hold."""
    result = federation.verify()
    assert (result.problems, result.unaccounted, result.verified) == ((), (), True)
    return federation.history()


def amended(federation: Federation, **change: Any) -> None:
    """Publish a federation record with another plan, as the coordinator's key can, but `amend` does not."""
    newest = newest_federation(federation)
    path = max(federation.drop.glob("coordinator/federation-*.json"))
    plan = replace(newest.plan, **change)
    forged = replace(newest, number=newest.number + 1, previous=wire.sha256(path.read_bytes()), plan=plan)
    forge(federation, layout.federation(forged.number), wire.encode(forged))


def newest_federation(federation: Federation) -> FederationRecord:
    path = max(federation.drop.glob("coordinator/federation-*.json"))
    return wire.decode(FederationRecord, path.read_bytes())


def rotated(federation: Federation, name: str) -> RotateKeyResult:
    """Rotate a site's key, and admit the new one."""
    result = rotate_key(RotateKeyRequest(root=federation.site(name), key=None), federation.environment)
    admit(AdmitRequest(root=federation.coordinator, site=name, fingerprint=result.fingerprint), federation.environment)
    return result


# -------------------------------------------------------------------------------------------------------------- members


def test_a_removed_site_blocks_no_round(begun: Federation) -> None:
    begun.train("north")
    result = remove(RemoveRequest(root=begun.coordinator, site="valley"), begun.environment)
    assert (result.status, result.from_round, result.sites) == (Status.PUBLISHED, 1, ("north",))
    assert begun.aggregate().used == ("north",)
    assert begun.train("valley")[0].status is Status.WAITING
    assert "valley was removed from the federation, from round 1 on" in begun.train("valley")[0].message
    assert verified(begun).sites == ("north",)


def test_an_update_that_was_in_before_the_removal_still_counts(trained: Federation) -> None:
    assert remove(RemoveRequest(root=trained.coordinator, site="valley"), trained.environment).from_round == 2
    assert trained.aggregate().used == ("north", "valley")
    trained.train("north")
    assert trained.aggregate().used == ("north",)
    assert verified(trained).rounds[2].record.absent == ()


def test_a_newer_file_of_a_removed_site_is_rejected_and_an_older_one_holds(finished: Federation) -> None:
    evaluate(EvaluateRequest(root=finished.site("valley")), finished.environment)
    extended = replace(finished.plan, rounds=4)
    finished.amend(extended)
    assert remove(RemoveRequest(root=finished.coordinator, site="valley"), finished.environment).from_round == 3
    approve(ApproveRequest(root=finished.site("north"), digest=extended.digest), finished.environment)
    finished.train("north")
    finished.aggregate()
    history = verified(finished)
    assert history.sites == ("north",)
    assert history.evaluations["valley"].record.as_of == 2
    path = finished.drop / layout.evaluation("valley", 1)
    later = replace(wire.decode(EvaluationRecord, path.read_bytes()), number=2, as_of=3)
    forge(finished, layout.evaluation("valley", 2), wire.encode(later))
    (problem,) = finished.verify(replay=False).problems
    assert problem.key == layout.evaluation("valley", 2)
    assert "not a member from round" in problem.message


def test_a_site_that_comes_back_is_admitted_again(begun: Federation) -> None:
    remove(RemoveRequest(root=begun.coordinator, site="valley"), begun.environment)
    begun.train("north")
    begun.aggregate()
    begun.join("valley")
    begun.train("north", "valley")
    assert begun.aggregate().used == ("north", "valley")
    verified(begun)


def test_only_a_member_can_be_removed(begun: Federation) -> None:
    with pytest.raises(UsageError, match="south cannot be removed, expected one of the members: north, valley"):
        remove(RemoveRequest(root=begun.coordinator, site="south"), begun.environment)


# ----------------------------------------------------------------------------------------------------------------- keys


def test_a_sites_old_key_signs_until_the_new_one_is_listed(begun: Federation) -> None:
    result = rotate_key(RotateKeyRequest(root=begun.site("north"), key=None), begun.environment)
    assert (result.status, result.listed) == (Status.PUBLISHED, False)
    begun.train("north", "valley")
    admitted = admit(AdmitRequest(root=begun.coordinator, site="north", fingerprint=result.fingerprint), begun.environment)
    assert admitted.from_round == 2
    assert begun.aggregate().used == ("north", "valley")
    begun.train("north", "valley")
    assert begun.aggregate().used == ("north", "valley")
    history = verified(begun)
    assert history.enrolments["north"].record.number == 1
    keys = {number: signer_of(begun, layout.update("north", number)) for number in (1, 2)}
    assert keys == {1: result.before, 2: result.fingerprint}
    settings = (begun.site("north") / "workspace.toml").read_text()
    assert 'key = "key-0001"' in settings
    assert not (begun.site("north") / "rotation.json").exists()


def signer_of(federation: Federation, key: str) -> str:
    """Return the fingerprint of the key that signed a record, among all keys that any federation record lists."""
    data = (federation.drop / key).read_bytes()
    signature = (federation.drop / layout.signature(key, wire.sha256(data))).read_bytes()
    records = [wire.decode(FederationRecord, path.read_bytes()) for path in federation.drop.glob("coordinator/federation-*.json")]
    lines = {key.public_key for record in records for member in record.members for key in member.keys}
    lines |= {key.public_key for record in records for key in record.coordinator}
    keys = [signatures.VerifyKey.parse(line) for line in lines if line.startswith("ssh-ed25519 ")]
    return signatures.verify(signature, data, keys).fingerprint


def test_a_rotated_out_key_signs_nothing_any_more(begun: Federation) -> None:
    before = begun.copy(begun.root.parent / "thief")
    rotated(begun, "north")
    begun.train("valley")
    stolen = before.train("north")[0]
    assert stolen.status is Status.PUBLISHED
    for path in (before.drop / "sites/north").rglob("round-0001/*"):
        target = begun.drop / path.relative_to(before.drop)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    result = begun.aggregate()
    assert result.status is Status.WAITING
    assert result.rejected[0].site == "north"
    assert "signed by the key" in result.rejected[0].reason


def test_a_retired_key_cannot_take_the_place_of_a_newer_record(finished: Federation) -> None:
    evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    extended = replace(finished.plan, rounds=3)
    finished.amend(extended)
    rotated(finished, "north")
    for site in ("north", "valley"):
        approve(ApproveRequest(root=finished.site(site), digest=extended.digest), finished.environment)
    finished.train()
    finished.aggregate()
    evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    assert verified(finished).evaluations["north"].record.as_of == 3
    path = finished.drop / layout.evaluation("north", 1)
    forged = replace(wire.decode(EvaluationRecord, path.read_bytes()), number=3)
    forge(finished, layout.evaluation("north", 3), wire.encode(forged))
    (problem,) = finished.verify(replay=False).problems
    assert problem.message == f"{layout.evaluation('north', 3)}: as of round 2, expected 3 or later"
    assert finished.history().evaluations["north"].record.number == 2


def test_a_rotation_needs_both_keys(begun: Federation) -> None:
    result = rotate_key(RotateKeyRequest(root=begun.site("north"), key=None), begun.environment)
    (countersignature,) = begun.drop.glob("sites/north/enrolment-0001.json.*.new.sig")
    data = (begun.drop / layout.enrolment("north", 1)).read_bytes()
    countersignature.write_bytes(begun.signer("valley").sign(data))
    with pytest.raises(TrustError, match=r"enrolment-0001\.json: signed by the key"):
        admit(AdmitRequest(root=begun.coordinator, site="north", fingerprint=result.fingerprint), begun.environment)
    countersignature.unlink()
    with pytest.raises(TrustError, match=r"unsigned: there is no sites/north/enrolment-0001\.json"):
        admit(AdmitRequest(root=begun.coordinator, site="north", fingerprint=result.fingerprint), begun.environment)


def test_the_coordinators_new_key_is_signed_for_by_the_old_one(begun: Federation) -> None:
    result = rotate_key(RotateKeyRequest(root=begun.coordinator, key=None), begun.environment)
    assert result.listed
    begun.train()
    begun.aggregate()
    remove(RemoveRequest(root=begun.coordinator, site="valley"), begun.environment)
    history = verified(begun)
    assert len(history.rounds) == 2
    assert signer_of(begun, layout.round_record(1)) == result.fingerprint
    assert signer_of(begun, layout.federation(3)) == result.before
    assert signer_of(begun, layout.federation(4)) == result.fingerprint


def test_the_coordinators_new_key_waits_for_a_record_that_is_not_in_force_yet(trained: Federation) -> None:
    assert remove(RemoveRequest(root=trained.coordinator, site="valley"), trained.environment).from_round == 2
    result = rotate_key(RotateKeyRequest(root=trained.coordinator, key=None), trained.environment)
    assert not result.listed
    assert result.message.startswith("From round 2 on the new key signs")
    assert trained.aggregate().used == ("north", "valley")
    trained.train("north")
    assert trained.aggregate().used == ("north",)
    assert signer_of(trained, layout.round_record(2)) == result.fingerprint
    verified(trained)


def test_the_coordinators_old_key_publishes_no_round_any_more(begun: Federation) -> None:
    before = begun.copy(begun.root.parent / "thief")
    rotate_key(RotateKeyRequest(root=begun.coordinator, key=None), begun.environment)
    before.train()
    before.aggregate()
    for path in (before.drop / "coordinator/round-0001").iterdir():
        target = begun.drop / path.relative_to(before.drop)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    with pytest.raises(TrustError, match="signed by the key"):
        begun.train("north")


def test_a_rotation_goes_on_where_it_was_cut_off(begun: Federation) -> None:
    sites = begun.drop / "sites/north"
    sites.rename(sites.with_name("hidden"))
    sites.write_text("in the way")
    with pytest.raises((StoreError, UsageError)):
        rotate_key(RotateKeyRequest(root=begun.site("north"), key=None), begun.environment)
    sites.unlink()
    sites.with_name("hidden").rename(sites)
    first = rotate_key(RotateKeyRequest(root=begun.site("north"), key=None), begun.environment)
    again = rotate_key(RotateKeyRequest(root=begun.site("north"), key=None), begun.environment)
    assert again.fingerprint == first.fingerprint
    assert sorted(path.name for path in begun.site("north").glob("key-*.pub")) == ["key-0001.pub"]
    with pytest.raises(UsageError, match="a rotation to key-0001 has begun"):
        rotate_key(RotateKeyRequest(root=begun.site("north"), key=begun.coordinator / "key"), begun.environment)


def test_a_second_machine_joins_with_the_new_key(begun: Federation, tmp_path: Path) -> None:
    rotated(begun, "north")
    request = JoinRequest(
        root=tmp_path / "second",
        site="north",
        invitation=join.inspect(begun.source()),
        key=begun.site("north") / "key-0001",
        prepared=str(begun.prepared["north"]),
    )
    joined = join.join(request, begun.environment)
    assert joined.admitted
    with pytest.raises(ConfigurationError, match="another key"):
        join.join(replace(request, root=tmp_path / "third", key=begun.site("north") / "key"), begun.environment)


# ----------------------------------------------------------------------------------------------------------------- plan


def test_a_changed_plan_is_in_force_from_the_next_round_and_stops_sites_until_they_approve(trained: Federation) -> None:
    plan = replace(trained.plan, training=replace(trained.plan.training, rate=5e-4))
    found = amend.inspect(trained.coordinator, plan, trained.environment)
    assert [(item.setting, item.before, item.after) for item in found.changes] == [("training.rate", "0.001", "0.0005")]
    assert (found.from_round, found.prepare_again) == (2, False)
    result = trained.amend(plan)
    assert (result.status, result.plan) == (Status.PUBLISHED, plan.digest)
    assert trained.aggregate().used == ("north", "valley")
    with pytest.raises(ApprovalError, match="the plan is now"):
        trained.train("north")
    for site in ("north", "valley"):
        assert inspect(trained.site(site), trained.environment).changes == found.changes
        approve(ApproveRequest(root=trained.site(site), digest=plan.digest), trained.environment)
    trained.train()
    assert trained.aggregate().used == ("north", "valley")
    assert verified(trained).plan == plan


def test_a_plan_is_approved_ahead_before_it_is_in_force(trained: Federation) -> None:
    root, now = trained.site("north"), trained.plan
    plan = replace(now, training=replace(now.training, rate=5e-4))
    trained.amend(plan)  # in force from round 2 on, since the updates of round 1 are in
    proposal = inspect(root, trained.environment)
    assert (proposal.plan, proposal.coming, proposal.from_round, proposal.approved) == (plan, True, 2, False)
    refused = run("approve", "-C", root, "--approve-plan", now.digest)
    assert "the plan in force from round 2 on is" in refused.stderr
    done = run("approve", "-C", root, "--approve-plan", plan.digest)
    assert done.stdout.strip() == "The plan that is in force from round 2 on is approved ahead"
    assert inspect(root, trained.environment).approved
    assert trained.train("north")[0].status is Status.WAITING  # round 1 goes on under its own plan
    trained.aggregate()
    assert trained.train("north")[0].round == 2
    with pytest.raises(ApprovalError, match="the plan is now"):
        trained.train("valley")
    assert not inspect(root, trained.environment).coming


def test_who_has_not_trained_yet_trains_under_the_old_plan_with_the_new_one_approved(begun: Federation) -> None:
    begun.train("valley")
    plan = replace(begun.plan, training=replace(begun.plan.training, rate=5e-4))
    begun.amend(plan)
    approve(ApproveRequest(root=begun.site("north"), digest=plan.digest), begun.environment)
    assert begun.train("north")[0].round == 1
    assert begun.update("north", 1).plan == begun.plan.digest


def test_more_rounds_go_on_after_the_last_one(finished: Federation) -> None:
    plan = replace(finished.plan, rounds=3)
    assert finished.status().open_round is None
    finished.amend(plan)
    assert finished.status().open_round == 3
    for site in ("north", "valley"):
        approve(ApproveRequest(root=finished.site(site), digest=plan.digest), finished.environment)
    finished.train()
    assert finished.aggregate().round == 3
    verified(finished)


def test_what_cannot_change_is_refused(finished: Federation) -> None:
    for plan, message in (
        (replace(finished.plan, network=Network(name="densenet121")), "classes and network cannot change"),
        (replace(finished.plan, classes=("a", "b", "c", "d", "e")), "classes and network cannot change"),
        (replace(finished.plan, seed=8), "patients that have trained would come into the test part"),
        (replace(finished.plan, split=Split(train=0.25, validation=0.25, test=0.5)), "seed and split cannot change"),
        (replace(finished.plan, rounds=1), "round 2 is done, expected at least as many rounds, found 1"),
    ):
        with pytest.raises(UsageError, match=message):
            amend.inspect(finished.coordinator, plan, finished.environment)
    assert finished.amend(finished.plan).status is Status.DONE


@pytest.mark.parametrize("change", [{"seed": 8}, {"split": Split(train=0.25, validation=0.25, test=0.5)}])
def test_a_federation_record_that_moves_trained_patients_is_refused_by_everybody(
    begun: Federation, change: dict[str, object]
) -> None:
    amended(begun, **change)
    with pytest.raises(TrustError, match=f"{next(iter(change))} of the plan: expected"):
        begun.train("north")
    assert not begun.verify(replay=False).verified


def test_a_site_that_has_trained_approves_no_other_seed_or_split(trained: Federation) -> None:
    """Not in a federation either that was begun before the first record fixed them."""
    workspace = Workspace.open(trained.site("north"))
    workspace.approve(replace(trained.plan, seed=8))
    with pytest.raises(TrustError, match="moves patients that have trained here"):
        inspect(trained.site("north"), trained.environment)


def test_a_federation_record_that_changes_the_network_is_refused_by_everybody(begun: Federation) -> None:
    amended(begun, network=Network(name="densenet121"))
    with pytest.raises(TrustError, match="network of the plan"):
        begun.train("north")
