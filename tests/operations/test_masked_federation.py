"""A federation whose updates are masked: the sum comes out, and no site's update does; drop-outs and lies at each step."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedcli import wire
from fedcli.environment import Environment
from fedcli.errors import ApprovalError, ConfigurationError, SealedError, TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.records import ClosingRecord, MasksRecord, Role, Survivor, UnmaskRecord
from fedcli.operations import amend
from fedcli.operations.access.auditor_key import AuditorKeyRequest, auditor_key
from fedcli.operations.aggregate.aggregate_result import AggregateRequest
from fedcli.operations.aggregate.coordinator_round import aggregate
from fedcli.operations.export import ExportRequest, export
from fedcli.operations.import_ import ImportRequest, import_
from fedcli.operations.simulate import SimulateRequest, simulate
from fedcli.operations.status.check import check
from fedcli.operations.status.overview import StatusRequest
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.party.masking import own_masks
from fedcli.party.party import Party, publication
from fedcli.party.source import Source
from fedcli.party.transfer.outgoing import ArtifactFile
from fedcli.plan import (
    Aggregation,
    Auditor,
    Confidentiality,
    Encoding,
    Limits,
    Network,
    Normalisation,
    PatientPrivacy,
    Protection,
    Rule,
    Sampling,
    Training,
    Updates,
    load,
)
from fedcli.privacy.masking.mask_file import PublishedMasks, write_masks
from fedcli.privacy.masking.share_boxes import deal, new_secrets
from fedcli.results import Status
from fedcli.workspace import SETTINGS
from tests.fixtures.federation import PLAN, Federation, Listener, no_passphrase, prepared_data
from tests.fixtures.masked import (
    FOUR,
    MASKED,
    approve_members,
    begun_masked,
    opened_model,
    replayed,
    run_rounds,
    stages_of,
)
from tests.fixtures.tampering import rewrite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedcli.operations.aggregate.aggregate_result import AggregateResult

Stages = dict[str, Federation]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The data of four sites."""
    folders = prepared_data(tmp_path_factory.mktemp("data"), MASKED)
    return dict(zip(FOUR, [*folders.values()] * 2, strict=True))


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory, prepared: dict[str, Path]) -> Federation:
    """A federation of three sites after two rounds, whose plan names an auditor."""
    root = tmp_path_factory.mktemp("audited")
    auditor = auditor_key(AuditorKeyRequest(path=root / "auditor.key", name="city-audit"), Environment())
    named = Confidentiality(auditors=(Auditor(name="city-audit", public_key=auditor.public_key),))
    three = {site: prepared[site] for site in FOUR if site != "harbour"}
    federation = begun_masked(root, three, replace(MASKED, confidentiality=named))
    run_rounds(federation, 2)
    return federation


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory, prepared: dict[str, Path]) -> Stages:
    """A federation of four sites, before each step of its first round."""
    folder = tmp_path_factory.mktemp("stages")
    return stages_of(folder, begun_masked(folder / "masks", prepared))


def at(stages: Stages, step: str, tmp_path: Path) -> Federation:
    """Return a copy of the federation before a step."""
    return stages[step].copy(tmp_path / "f")


def others(*lost: str) -> list[str]:
    return [site for site in FOUR if site not in lost]


def void(federation: Federation, reason: str = "TEXT") -> AggregateResult:
    return aggregate(AggregateRequest(root=federation.coordinator, void=reason), federation.environment)


def test_the_sum_comes_out_and_everyone_who_opens_it_replays_it(audited: Federation) -> None:
    for reader in ("coordinator", "north"):
        assert replayed(audited, reader) == 2
    assert replayed(audited, identity=audited.root / "auditor.key") == 2
    with pytest.raises(SealedError, match="2 rounds cannot be recomputed"):
        replayed(audited)
    record = audited.record(2)
    assert record.masked is not None
    assert [item.site for item in record.masked.answers] == ["coast", "north", "valley"]
    assert {item.norm for item in record.contributions} == {None}
    update = audited.update("north", 2)
    assert (update.norm, update.training_loss, update.opening) == (None, None, record.masked.opening)


def test_a_masked_model_is_the_plain_one_but_for_rounding(audited: Federation, prepared: dict[str, Path], tmp_path: Path) -> None:
    three = {site: prepared[site] for site in audited.prepared}
    plain = Federation(root=tmp_path / "f", prepared=three, plan=replace(PLAN, limits=MASKED.limits, rounds=1)).begin()
    plain.run(1)
    before, masked, expected = plain.model(0), opened_model(audited, 1), plain.model(1)
    floats = [name for name in before if before[name].dtype.kind == "f"]
    step, error = (
        np.concatenate([(after[name] - start[name]).ravel().astype(np.float64) for name in floats])
        for after, start in ((expected, before), (masked, expected))
    )
    assert np.linalg.norm(error) <= 1e-6 * np.linalg.norm(step)
    for name in set(before) - set(floats):
        np.testing.assert_array_equal(masked[name], expected[name])


def test_nobody_keeps_a_secret_of_a_round_that_is_done(audited: Federation) -> None:
    assert [path for site in audited.prepared for path in audited.site(site).glob("state/masks-*/round-*.json")] == []


def test_a_masked_update_looks_random_to_who_opens_it(audited: Federation) -> None:
    with Party.at_work(audited.coordinator, None, audited.environment) as party:
        update = party.folder.update("north", 1)
        assert update is not None
        data = party.folder.artifacts.fetch(update, update.artifact).read_bytes()
    words = np.frombuffer(data[-8 * ((len(data) - 128) // 8) :], "<u8")
    bits = np.unpackbits(words.view(np.uint8)).mean()
    assert abs(bits - 0.5) < 4 / np.sqrt(64 * words.size) / 2
    assert len(np.unique(words)) == words.size


def test_an_exported_federation_is_imported_and_replayed(audited: Federation, tmp_path: Path) -> None:
    tar = tmp_path / "all.tar"
    written = export(ExportRequest(source=audited.source("coordinator"), file=tar), audited.environment)
    assert written.left_out == ()
    (tmp_path / "copy").mkdir()
    target = Source(address=str(tmp_path / "copy"), coordinator=audited.fingerprint)
    import_(ImportRequest(source=target, file=tar), audited.environment)
    shutil.copytree(audited.root, tmp_path / "f")
    moved = replace(audited, root=tmp_path / "f")
    shutil.rmtree(moved.drop)
    (tmp_path / "copy").rename(moved.drop)
    for settings in moved.root.glob("*/workspace.toml"):
        settings.write_text(settings.read_text().replace(str(audited.root), str(moved.root)))
    assert replayed(moved, "coordinator") == 2


@pytest.mark.parametrize(
    ("step", "lose"),
    [
        ("masks", lambda f: f.train(*others("coast"))),
        ("update", lambda f: f.train(*others("coast"))),
        ("unmask", lambda f: f.train(*others("coast"))),
    ],
)
def test_one_of_four_sites_is_lost_at_any_step(
    stages: Stages, tmp_path: Path, step: str, lose: Callable[[Federation], object]
) -> None:
    federation = at(stages, step, tmp_path)
    lose(federation)
    without = {} if step == "unmask" else {"coast": "its line is down"}
    federation.aggregate(**without)
    for _ in range(3):
        if not (federation.drop / layout.round_record(1)).exists():
            federation.train(*others("coast"))
            federation.aggregate()
    record = federation.record(1)
    used = FOUR if step == "unmask" else tuple(others("coast"))
    assert tuple(item.site for item in record.contributions) == used
    assert [(item.site, item.reason) for item in record.excused] == list(without.items())
    assert record.masked is not None
    assert "coast" not in {item.site for item in record.masked.answers}
    assert replayed(federation, "coordinator") == 1
    run_rounds(federation, 2)  # it is back
    assert len(federation.record(2).contributions) == 4
    assert replayed(federation, "valley") == 2


def test_an_update_that_does_not_hold_is_left_out_by_name(stages: Stages, tmp_path: Path) -> None:
    federation = at(stages, "closing", tmp_path)
    artifact = federation.drop / federation.update("coast", 1).artifacts[0].key
    artifact.write_bytes(artifact.read_bytes()[:-1] + b"?")
    assert federation.aggregate().rejected[0].site == "coast"
    federation.aggregate(coast="its file is damaged")
    federation.train(*others("coast"))
    assert federation.aggregate().status is Status.PUBLISHED
    assert [item.site for item in federation.record(1).rejected] == ["coast"]
    request = VerifyRequest(source=federation.source("coordinator"), replay=True)
    result = verify(request, Environment(passphrase=no_passphrase))[0]
    assert (result.replayed, [item.key.split("/")[1] for item in result.problems]) == (1, ["coast"])


@pytest.mark.parametrize("step", ["update", "unmask"])
def test_one_site_too_many_is_lost_and_the_round_is_void(stages: Stages, tmp_path: Path, step: str) -> None:
    federation = at(stages, step, tmp_path)
    federation.train("north", "valley")
    waiting = federation.aggregate()
    assert waiting.status is Status.WAITING
    if step == "update":
        waiting = federation.aggregate(coast="gone", harbour="gone")
        assert "a masked sum needs 3 updates, and 2 can still come" in waiting.message
    assert "aggregate --void --reason TEXT" in waiting.message.replace(f"-C {federation.coordinator} ", "")
    result = void(federation, "two sites are gone")
    assert "round 1 of 2 is void" in result.message
    record = federation.record(1)
    assert record.restart is not None
    assert (record.restart.reason, record.contributions) == ("two sites are gone", ())
    before, after = opened_model(federation, 0), opened_model(federation, 1)
    assert all((before[name] == after[name]).all() for name in before)
    run_rounds(federation, 2)
    assert len(federation.record(2).contributions) == 4
    assert replayed(federation, "coordinator") == 2


def test_only_an_open_masked_round_is_void(stages: Stages, tmp_path: Path) -> None:
    federation = at(stages, "masks", tmp_path)
    with pytest.raises(UsageError, match="round 1 is no masked round that is open"):
        void(federation)


def test_a_round_whose_opening_does_not_verify_any_more_is_void(stages: Stages, tmp_path: Path) -> None:
    """As when the recovery key has replaced the coordinator's key in the midst of a round."""
    federation = at(stages, "closing", tmp_path)
    rewrite(federation, layout.opening(1), signer="north")
    with pytest.raises(TrustError, match=r"opening\.json: signed by") as caught:
        federation.aggregate()
    assert "--void" in caught.value.hint
    void(federation)
    run_rounds(federation, 2)
    assert len(federation.record(2).contributions) == 4
    assert replayed(federation, "coordinator", unaccounted=True) == 2


def test_damaged_masks_are_prepared_again(stages: Stages, tmp_path: Path) -> None:
    federation = at(stages, "opening", tmp_path)
    artifact = next((federation.drop / "sites/coast/masks").glob("*.safetensors"))
    artifact.write_bytes(artifact.read_bytes()[:-1] + b"?")
    assert "waiting for the masks of coast" in federation.aggregate().message
    federation.train("coast")
    assert "round 1 is open: 4 of 4 sites take part" in federation.aggregate().message


def test_a_site_that_comes_after_the_closing_discards_its_update(stages: Stages, tmp_path: Path) -> None:
    federation = at(stages, "update", tmp_path)
    federation.train(*others("coast"))
    federation.aggregate(coast="late")
    result = federation.train("coast")[0]
    assert (result.status, "closed before its update was there" in result.message) == (Status.WAITING, True)
    assert not (federation.drop / layout.update("coast", 1)).exists()


def test_a_wrong_share_names_holder_and_dealer_and_is_left_out(stages: Stages, tmp_path: Path) -> None:
    federation = at(stages, "round", tmp_path)
    record = json.loads((federation.drop / layout.unmask("coast", 1)).read_bytes())
    shares = [base64.b64encode(secrets.token_bytes(33)).decode(), *record["shares"][1:]]
    rewrite(federation, layout.unmask("coast", 1), shares=shares)
    federation.progress = listener = Listener()
    assert federation.aggregate().status is Status.PUBLISHED
    masked = federation.record(1).masked
    assert masked is not None
    assert [(item.holder, item.dealer) for item in masked.refused_shares] == [("coast", "coast")]
    assert any("the share of coast in the answer of coast is not the published one" in event for event in listener.events)
    assert replayed(federation, "north") == 1


def deal_wrongly(federation: Federation, site: str, change: Callable[[PublishedMasks], PublishedMasks]) -> None:
    """Let a site publish masks of rounds 1 and 2 in which something is not what it says."""
    with Party.at_work(federation.site(site), None, federation.environment) as party:
        force, number = party.ledger.in_force(1), 2
        key, draft = layout.masks(site, number), party.outbox.draft(f"masks-{number:04d}")
        draft.state.mkdir()
        secret = [new_secrets(secrets.token_bytes) for _ in range(2)]
        for offset, item in enumerate(secret, 1):
            kept = own_masks.KeptSecrets(
                seed=base64.b64encode(item.seed).decode(), private_key=base64.b64encode(item.private_key).decode()
            )
            (draft.state / f"round-{offset:04d}.json").write_bytes(wire.encode(kept))
        dealing = deal(secret, len(force.record.trainers), secrets.token_bytes)
        boxes = own_masks._boxes(party, force.record, key, dealing)  # noqa: SLF001 - the honest part of a dishonest site
        path = draft.folder / "masks"
        content = write_masks(path, change(PublishedMasks(commitments=dealing.commitments, boxes=boxes)))
        sealed = party.artifact(ArtifactFile(role=Role.MASKS, path=path, content=content), key, force.record)
        record = MasksRecord(
            federation=party.ledger.identity,
            party=site,
            created=federation.clock(),
            versions=party.versions(),
            number=number,
            federation_record=force.digest,
            first_round=1,
            num_rounds=2,
            artifacts=(sealed[0],),
        )
        party.commit(draft, publication(key, record, sealed))


def other_commitments(**values: Any) -> Callable[[PublishedMasks], PublishedMasks]:
    return lambda masks: replace(masks, commitments=tuple(replace(item, **values) for item in masks.commitments))


def test_a_wrong_dealer_is_convicted_and_left_out_of_the_next_opening(stages: Stages, tmp_path: Path) -> None:
    federation = at(stages, "opening", tmp_path)
    deal_wrongly(federation, "coast", other_commitments(seed_digest=bytes(32)))
    federation.aggregate()
    federation.train()
    federation.aggregate()
    federation.train()
    waiting = federation.aggregate()
    assert "no sum comes out: coast: its seed is not the one of the published digest" in waiting.message
    assert "left out of the next round: coast (its seed is not" in void(federation).message
    masked = federation.record(1).masked
    assert masked is not None
    assert [item.site for item in masked.culprits] == ["coast"]
    federation.aggregate()
    opening = json.loads((federation.drop / layout.opening(2)).read_bytes())
    assert [item["site"] for item in opening["participants"]] == others("coast")
    assert replayed(federation, "coordinator") == 1


def test_a_low_order_key_takes_part_in_no_round(stages: Stages, tmp_path: Path) -> None:
    federation = at(stages, "opening", tmp_path)
    deal_wrongly(federation, "coast", other_commitments(public_key=bytes(32)))
    federation.progress = listener = Listener()
    assert "masks of 3 of 4 sites; waiting for the masks of coast" in federation.aggregate().message
    assert any(
        "the masks of coast cannot be used: the masking key of coast is of low order" in event for event in listener.events
    )


def test_swapped_boxes_do_not_open_and_their_dealer_is_complained_of(stages: Stages, tmp_path: Path) -> None:
    federation = at(stages, "opening", tmp_path)
    deal_wrongly(federation, "coast", lambda masks: replace(masks, boxes=masks.boxes[::-1]))
    federation.aggregate()
    federation.train()
    federation.aggregate()
    federation.train()
    answer = wire.decode(UnmaskRecord, (federation.drop / layout.unmask("north", 1)).read_bytes())
    assert [(item.dealer, "does not open" in item.fault) for item in answer.complaints] == [("coast", True)]
    assert "too few shares of coast hold, 3 are needed" in federation.aggregate().message


def test_a_site_answers_no_second_closing(stages: Stages, tmp_path: Path) -> None:
    """A store that removes the first answer, and a coordinator that signs another closing, get nothing more."""
    federation = at(stages, "round", tmp_path)
    closing = wire.decode(ClosingRecord, (federation.drop / layout.closing(1)).read_bytes())
    survivors = [json.loads(wire.encode(item)) for item in closing.survivors if item.site != "coast"]
    for site in FOUR:
        (federation.drop / layout.unmask(site, 1)).unlink()
    rewrite(federation, layout.closing(1), survivors=survivors, absent=["coast"])
    with pytest.raises(TrustError, match=r"equivocation: north has answered the closing [0-9a-f]{12} of this round"):
        federation.train("north")
    assert federation.train("coast")[0].status is Status.WAITING  # it is dropped, and answers nothing


def test_nobody_answers_for_a_survivor_that_is_made_up(stages: Stages, tmp_path: Path) -> None:
    federation = at(stages, "unmask", tmp_path)
    closing = wire.decode(ClosingRecord, (federation.drop / layout.closing(1)).read_bytes())
    made_up = [Survivor(site=item.site, update="0" * 64 if item.site == "coast" else item.update) for item in closing.survivors]
    rewrite(federation, layout.closing(1), survivors=[json.loads(wire.encode(item)) for item in made_up])
    with pytest.raises(TrustError, match="names the update 000000000000 of coast, and its folder has"):
        federation.train("north")


def test_nobody_answers_under_another_opening(stages: Stages, tmp_path: Path) -> None:
    """North and valley saw one opening, coast and harbour another."""
    federation = at(stages, "update", tmp_path)
    federation.train("north", "valley")
    rewrite(federation, layout.opening(1), created="2026-11-24T09:00:00Z")
    federation.train("coast", "harbour")
    assert {item.site for item in federation.aggregate().rejected} == {"north", "valley"}
    opening = wire.sha256((federation.drop / layout.opening(1)).read_bytes())
    forged = ClosingRecord(
        federation=federation.record(0).federation,
        party="coordinator",
        created=federation.clock(),
        versions=federation.record(0).versions,
        round=1,
        opening=opening,
        survivors=tuple(
            Survivor(site=site, update=wire.sha256((federation.drop / layout.update(site, 1)).read_bytes())) for site in FOUR
        ),
    )
    path = federation.drop / layout.closing(1)
    path.write_bytes(wire.encode(forged))
    rewrite(federation, layout.closing(1))
    for site in FOUR:
        with pytest.raises(TrustError, match=r"masked under the opening|expected .* which north has made|which valley has made"):
            federation.train(site)


def test_too_few_survivors_are_no_closing(stages: Stages, tmp_path: Path) -> None:
    federation = at(stages, "unmask", tmp_path)
    survivors = json.loads((federation.drop / layout.closing(1)).read_bytes())["survivors"]
    rewrite(federation, layout.closing(1), survivors=survivors[:2], absent=["north", "valley"])
    with pytest.raises(TrustError, match=r"closing\.json: survivors: "):
        federation.train("coast")


def test_a_workspace_that_did_not_make_its_update_does_not_answer(stages: Stages, tmp_path: Path) -> None:
    federation = at(stages, "unmask", tmp_path)
    shutil.rmtree(federation.site("coast") / "state")
    with pytest.raises(TrustError, match="this workspace did not make the update of round 1, and does not answer for it"):
        federation.train("coast")


def test_a_workspace_without_the_secrets_sits_a_round_out(stages: Stages, tmp_path: Path) -> None:
    federation = at(stages, "update", tmp_path)
    shutil.rmtree(federation.site("coast") / "state")
    assert "the secrets of the masks that its opening names are not in this workspace" in federation.train("coast")[0].message
    federation.train(*others("coast"))
    federation.aggregate(coast="its disk failed")
    federation.train(*others("coast"))
    assert federation.aggregate().status is Status.PUBLISHED
    run_rounds(federation, 2)
    assert len(federation.record(2).contributions) == 4


def test_no_site_masks_before_its_operator_has_approved_the_members(prepared: dict[str, Path], tmp_path: Path) -> None:
    federation = Federation(root=tmp_path / "f", prepared=prepared, plan=MASKED).begin()
    with pytest.raises(ApprovalError, match="the members that train in round 1 are not approved: coast, harbour, north, valley"):
        federation.train("north")
    answer = check(StatusRequest(source=federation.source("north")), federation.environment)
    assert any("coast, harbour, north, valley have the fingerprint SHA256:" in reason for reason in answer.reasons)
    approve_members(federation)
    assert "has prepared its masks" in federation.train("north")[0].message


def test_an_amendment_after_an_opening_is_for_the_next_round(stages: Stages, tmp_path: Path) -> None:
    federation = at(stages, "update", tmp_path)
    plan = replace(federation.plan, rounds=3)
    assert amend.inspect(federation.coordinator, plan, federation.environment).from_round == 2


def test_a_plain_delta_in_a_masked_plan_is_refused(stages: Stages, tmp_path: Path) -> None:
    federation = at(stages, "closing", tmp_path)
    record = json.loads((federation.drop / layout.update("north", 1)).read_bytes())
    del record["opening"]
    path = federation.drop / layout.update("north", 1)
    path.write_bytes((json.dumps(record | {"payload": "delta", "norm": 1.0}, indent=1) + "\n").encode())
    rewrite(federation, layout.update("north", 1))
    result = federation.aggregate()
    assert "payload (aggregation.masking of the plan): expected masked_sum, found delta" in result.rejected[0].reason


def test_status_says_whose_step_is_next(stages: Stages) -> None:
    turns = {
        "masks": ("coast, harbour, north, valley", "train-round"),
        "opening": ("coordinator", "aggregate"),
        "update": ("coast, harbour, north, valley", "train-round"),
        "closing": ("coordinator", "aggregate"),
        "unmask": ("coast, harbour, north, valley", "train-round"),
        "round": ("coordinator", "aggregate"),
    }
    for step, (party, command) in turns.items():
        message = stages[step].status().message
        assert party in message, (step, message)
        assert f"fedcli {command}" in message, (step, message)
    assert "your turn, the round is closed, and waits for your answer" in stages["unmask"].status("north").message.lower()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aggregation": {"rule": Rule.MEDIAN}}, "masking needs rule"),
        ({"aggregation": {"clip_norm": 1.0}}, "masking needs clip_norm = 0, found 1"),
        ({"limits": Limits()}, "limits.norm = 0 and limits.norm_median = 0, found 100 and 100"),
        ({"updates": Updates(encoding=Encoding.INT8)}, 'updates.encoding = "float32"'),
        ({"confidentiality": Confidentiality(sealing=False)}, "needs confidentiality.sealing = true"),
    ],
)
def test_what_needs_single_updates_is_refused_with_the_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(MASKED, **(changes | {"aggregation": Aggregation(masking=True, **changes.get("aggregation", {}))}))


def test_the_plan_file_says_so_too(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('name = "x"\n[aggregation]\nmasking = true\n')
    with pytest.raises(ConfigurationError, match="nobody knows the norm of a masked update"):
        load(path)


def test_a_plan_without_masking_keeps_its_digest() -> None:
    assert b"masking" not in wire.encode(PLAN)


def test_updates_with_noise_are_masked_too(prepared: dict[str, Path], tmp_path: Path) -> None:
    """The promise of privacy to patients holds towards who opens the models; masking hides each site's noisy update, too."""
    promise = PatientPrivacy(
        mechanism=Protection.PATIENT_DP_SGD, epsilon=20.0, delta=1e-5, noise=8.0, batch=4, images_per_patient=2
    )
    plan = replace(
        MASKED,
        rounds=1,
        network=Network(name="small", normalisation=Normalisation.GROUP),
        training=Training(rate=1e-3, batch_size=8, sampling=Sampling.SHUFFLED),
        privacy=promise,
    )
    three = {site: prepared[site] for site in others("harbour")}
    federation = Federation(root=tmp_path / "f", prepared=three, plan=plan).begin()
    for site in three:
        path = federation.site(site) / SETTINGS
        path.write_text(path.read_text().replace("declared_patients = 0", "declared_patients = 8"))
    approve_members(federation)
    run_rounds(federation, 1)
    update = federation.update("north", 1)
    assert (update.images, update.norm, update.training_loss) == (None, None, None)
    assert update.privacy is not None
    assert replayed(federation, "coordinator") == 1


def test_two_sites_are_too_few_to_simulate(prepared: dict[str, Path], tmp_path: Path) -> None:
    two = {site: prepared[site] for site in ("north", "valley")}
    with pytest.raises(UsageError, match="masking needs at least 3 sites, found 2"):
        simulate(SimulateRequest(plan=MASKED, sites=two, drop=tmp_path / "drop"), Environment(passphrase=no_passphrase))


def test_a_masked_federation_is_simulated(prepared: dict[str, Path], tmp_path: Path) -> None:
    three = {site: prepared[site] for site in others("harbour")}
    request = SimulateRequest(plan=replace(MASKED, rounds=1), sites=three, drop=tmp_path / "drop")
    result = simulate(request, Environment(passphrase=no_passphrase))
    assert (result.status, result.rounds) == (Status.FINISHED, 1)
