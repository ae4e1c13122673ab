"""Rounds under a plan that promises privacy, through the real operations: three small sites, a network with GroupNorm."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedcli import tensors, wire
from fedcli.environment import Environment
from fedcli.errors import ApprovalError, ConfigurationError, TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.records import ModelKind, PrivacyClaim
from fedcli.learning.networks.registry import build
from fedcli.learning.seeds import derive_seed
from fedcli.learning.training.private import PrivateTraining
from fedcli.operations.approve import ApproveRequest, approve
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.finetune import FinetuneRequest, Start, finetune
from fedcli.operations.privacy_spent import PrivacySpentRequest, privacy_spent
from fedcli.operations.report import ReportRequest, report
from fedcli.operations.restart import RestartRequest, restart
from fedcli.operations.retrain import RetrainRequest, retrain
from fedcli.operations.train_round import TrainRoundRequest, train_round
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.plan import Network, Normalisation, PatientPrivacy, Protection, Sampling, Training
from fedcli.privacy.accountant import PrivateSteps, epsilon
from fedcli.privacy.noise import KEY_BYTES, SecretStream, training_of
from fedcli.results import Status
from fedcli.site.privacy_budget import CHARGES, Charges
from fedcli.workspace import SETTINGS, Workspace
from tests.fixtures.command import run
from tests.fixtures.federation import PLAN, Federation, Listener, prepared_data
from tests.fixtures.masked import MASKED, begun_masked, replayed, run_rounds
from tests.fixtures.tampering import artifact_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SITES = ("north", "valley", "harbour")
PATIENTS = 8
PRIVATE = replace(
    PLAN,
    rounds=3,
    network=Network(name="small", normalisation=Normalisation.GROUP),
    training=Training(rate=1e-3, batch_size=8, sampling=Sampling.SHUFFLED),
    privacy=PatientPrivacy(
        mechanism=Protection.PATIENT_DP_SGD, epsilon=20.0, delta=1e-5, noise=8.0, batch=4, images_per_patient=2
    ),
)
STEPS = PrivateSteps(sampling_rate=0.5, noise=8.0, steps=2)


def with_privacy(**settings: object) -> object:
    return replace(PRIVATE, privacy=replace(PRIVATE.privacy, **settings))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return prepared_data(tmp_path_factory.mktemp("data"), PRIVATE, sites=SITES)


def begin(root: Path, data: dict[str, Path], plan: object = PRIVATE, *, declared: int = PATIENTS) -> Federation:
    federation = Federation(root=root, prepared=data, plan=plan).begin()
    for site in data:
        declare(federation, site, declared)
    return federation


def declare(federation: Federation, site: str, patients: int) -> None:
    path = federation.site(site) / SETTINGS
    text = path.read_text()
    before = next(line for line in text.splitlines() if line.startswith("declared_patients"))
    path.write_text(text.replace(before, f"declared_patients = {patients}"))


def charges(federation: Federation, site: str) -> Charges:
    saved = Workspace.open(federation.site(site)).load(Charges, CHARGES)
    assert saved is not None
    return saved


def delta(federation: Federation, site: str, number: int) -> dict[str, NDArray[np.float32]]:
    return tensors.read(artifact_path(federation, layout.update(site, number)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Path]) -> Federation:
    """Return a federation of which two rounds are done; nobody may change it."""
    federation = begin(tmp_path_factory.mktemp("finished") / "f", data)
    federation.run(2)
    return federation


def test_a_round_states_what_it_costs_and_withholds_what_would_tell(finished: Federation) -> None:
    first, second = (finished.update("north", number) for number in (1, 2))
    assert isinstance(first.privacy, PrivacyClaim)
    assert (first.privacy.patients, first.privacy.steps, first.steps) == (PATIENTS, 2, 2)
    assert first.privacy.cost == STEPS
    for record, earlier in ((first, 0), (second, 1)):
        assert (record.images, record.patients, record.seconds, record.training_loss, record.norm) == (None,) * 5
        assert record.privacy is not None
        assert record.privacy.epsilon_before == epsilon([STEPS] * earlier, 1e-5)
        assert record.privacy.epsilon == epsilon([STEPS] * (earlier + 1), 1e-5)
    assert finished.verify(replay=True).verified


def test_two_federations_with_one_seed_have_different_noise(finished: Federation, tmp_path: Path, data: dict[str, Path]) -> None:
    """The plan, the site and the data are the same: whoever knows them cannot compute the noise again."""
    other = begin(tmp_path / "f", {"north": data["north"]})
    other.train("north")
    mine, theirs = delta(finished, "north", 1), delta(other, "north", 1)
    assert all(not np.array_equal(mine[name], theirs[name]) for name in mine)


def derived_keys(federation: Federation, site: str, number: int) -> Iterator[bytes]:
    """Yield what a key would be if it came from what the others know: plan, folder, names, a member's own keys."""
    seed, record = federation.plan.seed, federation.record(number - 1)
    words = (seed, site, "round", number)  # the seed of every other random choice of the round
    for derived in (derive_seed(*words), derive_seed(derive_seed(*words), 1), derive_seed(*words, "noise"), seed):
        for order in ("big", "little"):
            yield derived.to_bytes(KEY_BYTES, order)
    member = (federation.site("valley") / "key").read_bytes()
    known = (wire.encode(federation.plan), wire.encode(record), record.artifacts[0].content_sha256.encode(), member)
    for text in ("/".join(map(str, words)).encode(), *known):
        yield hashlib.sha256(text).digest()
        for secret in (text, hashlib.sha256(text).digest()):
            yield HKDF(SHA256(), KEY_BYTES, salt=None, info=f"{site} round {number}".encode()).derive(secret)


def resemblance(update: dict[str, NDArray[np.float32]], key: bytes, federation: Federation) -> float:
    """Return the cosine of an update and the noise that a key would have added to it, in the order of the network's weights."""
    module = build(federation.plan.network, len(federation.plan.classes))
    whole = np.concatenate([update[name].ravel() for name, _ in module.named_parameters()]).astype(np.float64)
    noise, velocity = np.zeros(whole.size), np.zeros(whole.size)
    for step in range(STEPS.steps):
        velocity *= federation.plan.privacy.momentum
        SecretStream(key, "noise").add_normal(velocity, step, 1.0)
        noise -= velocity
    return float(whole @ noise / np.linalg.norm(whole) / np.linalg.norm(noise))


def test_no_derivation_from_what_others_know_gives_the_noise(
    tmp_path: Path, data: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the secret key the update is nearly all noise that could be subtracted; with each other key it is like nothing."""
    federation = begin(tmp_path / "f", {site: data[site] for site in ("north", "valley")})
    interrupt_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        federation.train("north")
    (checkpoint,) = (federation.site("north") / "training").rglob("checkpoint-*.safetensors")
    secret = tensors.read(checkpoint)["key"].tobytes()
    federation.train("north")
    update = delta(federation, "north", 1)
    assert resemblance(update, secret, federation) > 0.9
    keys = set(derived_keys(federation, "north", 1))
    assert len(keys) > 15
    assert max(abs(resemblance(update, key, federation)) for key in keys) < 6 / 60_660**0.5
    everything = b"".join(path.read_bytes() for path in federation.drop.rglob("*") if path.is_file())
    everything += b"".join(path.read_bytes() for path in federation.site("north").rglob("*") if path.is_file())
    assert secret not in everything


def interrupted(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Interrupt north's training after its first step; return the secret of its noise."""
    interrupt_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        federation.train("north")
    (checkpoint,) = (federation.site("north") / "training").rglob("checkpoint-*.safetensors")
    return tensors.read(checkpoint)["key"].tobytes()


def test_changed_clipping_after_an_interruption_meets_other_noise(
    tmp_path: Path, data: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same noise on sums that are clipped otherwise would cancel in their difference."""
    federation = begin(tmp_path / "f", {"north": data["north"]})
    secret = interrupted(federation, monkeypatch)
    plan = with_privacy(clipping=2.0)
    federation.amend(plan)
    approve(ApproveRequest(root=federation.site("north"), digest=plan.digest), federation.environment)
    federation.train("north")
    claim = federation.update("north", 1).privacy
    assert claim is not None
    assert claim.clipping == 2.0
    (charge,) = charges(federation, "north").charges
    assert charge.training != training_of(secret)
    assert abs(resemblance(delta(federation, "north", 1), secret, federation)) < 6 / 60_660**0.5


def test_the_noise_of_a_round_is_erased_and_it_cannot_be_trained_again(finished: Federation) -> None:
    root = finished.site("north")
    assert list((root / "training").rglob("checkpoint*")) == []
    result = retrain(RetrainRequest(root=root, round=1), finished.environment)
    assert not result.reproduced
    assert "secret key, which was erased" in result.message


def interrupt_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Let the next private training be interrupted after so many steps."""
    run = PrivateTraining.run

    def interrupted(self: PrivateTraining, progress: object, **options: object) -> object:
        answers: Iterator[bool] = iter([False] * (steps - 1) + [True])
        monkeypatch.setattr(PrivateTraining, "run", run)
        return run(self, progress, **{**options, "interrupted": lambda: next(answers)})  # type: ignore[arg-type]

    monkeypatch.setattr(PrivateTraining, "run", interrupted)


def test_interrupted_and_resumed_is_the_same_update_and_charged_once(
    tmp_path: Path, data: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = begin(tmp_path / "f", {"north": data["north"]})
    interrupt_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        federation.train("north")
    (checkpoint,) = (federation.site("north") / "training").rglob("checkpoint-*.safetensors")
    assert checkpoint.stat().st_mode & 0o777 == 0o600  # it holds the key
    assert not (federation.site("north") / CHARGES).exists()
    copy = federation.copy(tmp_path / "copy")
    for resumed in (federation, copy):
        resumed.train("north")
        assert len(charges(resumed, "north").charges) == 1
    for name, values in delta(federation, "north", 1).items():
        assert np.array_equal(values, delta(copy, "north", 1)[name])


def test_killed_between_charge_and_outbox_is_charged_once(
    tmp_path: Path, data: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = begin(tmp_path / "f", {"north": data["north"]})
    with monkeypatch.context() as patch:
        patch.setattr("fedcli.exchange.outbox.Outbox.commit", _killed)
        with pytest.raises(SystemExit):
            federation.train("north")
    assert len(charges(federation, "north").charges) == 1
    federation.train("north")
    (charge,) = charges(federation, "north").charges
    assert charge.record == wire.sha256((federation.drop / layout.update("north", 1)).read_bytes())
    claim = federation.update("north", 1).privacy
    assert claim is not None
    assert claim.epsilon_before == 0


def test_killed_once_the_update_is_sealed_the_next_run_publishes_it_and_erases_the_noise(
    tmp_path: Path, data: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = begin(tmp_path / "f", {"north": data["north"]})
    with monkeypatch.context() as patch:
        patch.setattr("fedcli.learning.training.checkpoint.Checkpoint.remove", _killed)
        with pytest.raises(SystemExit):
            federation.train("north")
    assert not (federation.drop / layout.update("north", 1)).exists()
    (result,) = federation.train("north")
    assert result.status is Status.PUBLISHED
    assert list((federation.site("north") / "training").rglob("checkpoint*")) == []
    assert len(charges(federation, "north").charges) == 1


def _killed(*_: object, **__: object) -> None:
    raise SystemExit


def test_the_site_stops_before_its_budget_is_crossed(tmp_path: Path, data: dict[str, Path]) -> None:
    one, two = epsilon([STEPS], 1e-5), epsilon([STEPS] * 2, 1e-5)
    federation = begin(tmp_path / "f", {"north": data["north"]}, with_privacy(epsilon=round((one + two) / 2, 3)))
    (result,) = federation.train()
    assert result.epsilon == one
    assert f"epsilon {one:.3g} of " in result.message
    federation.aggregate()
    with pytest.raises(
        ApprovalError, match=r"0 rounds remain at noise 8; the plan's 2 rounds would fit with noise [0-9.]+"
    ) as stop:
        federation.train()
    assert f"it would bring epsilon from {one:.3g} to {two:.3g}" in str(stop.value)
    assert not (federation.drop / layout.update("north", 2)).exists()


def test_what_a_restart_gave_up_is_spent(finished: Federation, tmp_path: Path) -> None:
    federation = finished.copy(tmp_path / "f")
    restart(RestartRequest(root=federation.coordinator, number=0, reason="again"), federation.environment)
    plan = replace(federation.plan, rounds=4)
    federation.amend(plan)
    approve(ApproveRequest(root=federation.site("north"), digest=plan.digest), federation.environment)
    (result,) = federation.train("north")
    assert result.epsilon == epsilon([STEPS] * 3, 1e-5)


def test_a_lost_workspace_counts_what_the_drop_folder_has(finished: Federation, tmp_path: Path) -> None:
    federation = finished.copy(tmp_path / "f")
    (federation.site("north") / CHARGES).unlink()
    declare(federation, "north", 0)  # what it has declared is in its updates
    (result,) = federation.train("north")
    assert result.epsilon == epsilon([STEPS] * 3, 1e-5)


def test_a_store_that_hides_an_update_does_not_lower_what_is_spent(finished: Federation, tmp_path: Path) -> None:
    federation = finished.copy(tmp_path / "f")
    (federation.site("north") / CHARGES).unlink()
    (federation.drop / layout.update("north", 1)).unlink()
    with pytest.raises(TrustError, match=r"round-0001/update\.json is missing: round records name it"):
        federation.train("north")


def test_private_memory_counts_what_the_drop_folder_lacks(finished: Federation, tmp_path: Path) -> None:
    federation = finished.copy(tmp_path / "f")
    saved = charges(federation, "north")
    unknown = replace(saved.charges[0], training="0" * 64, record="0" * 64)
    Workspace.open(federation.site("north")).save(CHARGES, replace(saved, charges=(*saved.charges, unknown)))
    (result,) = federation.train("north")
    assert result.epsilon == epsilon([STEPS] * 4, 1e-5)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (0, "has not declared its number of training patients"),
        (2, "declared_patients in workspace.toml is 2, expected at least 4, the plan's privacy.batch"),
        (200_000, "privacy.delta is 1e-05, expected below 1 / 200000"),
    ],
)
def test_a_number_of_patients_is_declared_first(tmp_path: Path, data: dict[str, Path], declared: int, message: str) -> None:
    federation = begin(tmp_path / "f", {"north": data["north"]}, declared=declared)
    with pytest.raises(ConfigurationError, match=message):
        federation.train()


def test_a_number_of_patients_once_declared_stays(finished: Federation, tmp_path: Path) -> None:
    federation = finished.copy(tmp_path / "f")
    declare(federation, "north", 16)
    with pytest.raises(ConfigurationError, match="is 16, expected 8, which this site's updates state"):
        federation.train("north")


@pytest.mark.slow
def test_two_processes_share_a_round_which_costs_the_same(tmp_path: Path, data: dict[str, Path]) -> None:
    federation = begin(tmp_path / "f", {"north": data["north"]})
    result = train_round(TrainRoundRequest(root=federation.site("north"), devices=2), federation.environment)
    assert (result.status, result.steps, result.epsilon) == (Status.PUBLISHED, 2, epsilon([STEPS], 1e-5))
    record = federation.update("north", 1)
    assert record.device == "cpu × 2"
    assert record.privacy is not None
    assert record.privacy.cost == STEPS
    assert len(charges(federation, "north").charges) == 1
    assert list((federation.site("north") / "training").iterdir()) == []


def test_another_number_of_patients_after_an_interruption_begins_again(
    tmp_path: Path, data: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps that are done were sampled with the first number, the update would state the second."""
    federation = begin(tmp_path / "f", {"north": data["north"]})
    secret = interrupted(federation, monkeypatch)
    declare(federation, "north", 2 * PATIENTS)
    federation.train("north")
    (charge,) = charges(federation, "north").charges
    assert charge.cost == PrivateSteps(sampling_rate=0.25, noise=8.0, steps=4)
    assert charge.training != training_of(secret)


CLAIM = PrivacyClaim(
    patients=8,
    batch=4,
    sampling_rate=0.5,
    noise=8.0,
    clipping=1.0,
    steps=2,
    delta=1e-5,
    epsilon_before=0.0,
    epsilon=1.0,
    accountant="by hand",
)
WITHHELD = dict.fromkeys(("images", "patients", "seconds", "training_loss", "norm"))


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"privacy": replace(CLAIM, noise=1.0)}, "south claims privacy.noise 1 in round 1, expected 8 by the plan"),
        ({"privacy": replace(CLAIM, clipping=2.0)}, "south claims privacy.clipping 2 in round 1, expected 1 by the plan"),
        ({"privacy": replace(CLAIM, batch=2)}, "south claims privacy.batch 2 in round 1, expected 4 by the plan"),
        ({"privacy": replace(CLAIM, delta=1e-3)}, "south claims privacy.delta 0.001 in round 1, expected 1e-05 by the plan"),
        ({"privacy": replace(CLAIM, sampling_rate=0.1)}, "south claims privacy.sampling_rate 0.1 in round 1, expected 0.5"),
        ({"privacy": replace(CLAIM, steps=1)}, "south claims privacy.steps 1 in round 1, expected 2 by the plan"),
        ({"steps": 3}, "south claims privacy.steps 2 in round 1, expected 3 by the plan"),
        ({"privacy": replace(CLAIM, epsilon=20.5)}, "south has spent epsilon 20.5, expected at most the plan's 20"),
        ({"privacy": None, "norm": 1.0}, "does not state what it costs its patients, expected epsilon 20 at delta 1e-05"),
        ({"training_loss": 1.0, "patients": 8}, "states patients, training_loss, which an update under a promise"),
    ],
)
def test_an_update_that_is_not_as_the_plan_promises_is_refused_by_name(
    tmp_path: Path, lie: dict[str, object], reason: str
) -> None:
    federation = Federation(root=tmp_path / "f", by_hand=("north", "south"), plan=PRIVATE).begin()
    honest = {"privacy": CLAIM, "steps": 2, **WITHHELD}
    federation.send("north", 1, **honest)
    federation.send("south", 1, **(honest | lie))
    result = federation.aggregate()
    assert result.used == ("north",)
    (rejected,) = result.rejected
    assert rejected.site == "south"
    assert reason in rejected.reason


@pytest.mark.parametrize(
    ("claimed", "reason"),
    [
        ({"privacy": CLAIM, "norm": None}, "under a plan that promises them nothing"),
        ({"images": None}, "withholds images, which only an update under a promise of privacy does"),
    ],
)
def test_without_a_promise_nothing_is_withheld(tmp_path: Path, claimed: dict[str, object], reason: str) -> None:
    federation = Federation(root=tmp_path / "f", by_hand=("north", "south"), plan=PLAN).begin()
    federation.send("north", 1)
    federation.send("south", 1, **claimed)
    (rejected,) = federation.aggregate().rejected
    assert reason in rejected.reason


def test_only_models_trained_with_noise_leave(finished: Federation, tmp_path: Path) -> None:
    federation = finished.copy(tmp_path / "f")
    root = federation.site("north")
    for start in Start:
        finetune(FinetuneRequest(root=root, start=start), federation.environment)
    result = evaluate(EvaluateRequest(root=root), federation.environment)
    assert set(result.shared) <= {ModelKind.FEDERATED}
    assert {score.model.kind for score in result.scores} <= {ModelKind.FEDERATED, ModelKind.GLOBAL}


def test_the_promise_is_for_all_rounds_or_none(finished: Federation) -> None:
    with pytest.raises(UsageError, match="mechanism cannot change"):
        finished.amend(replace(PRIVATE, privacy=PatientPrivacy()))


def test_what_is_charged_is_told_to_nobody_else(finished: Federation) -> None:
    text = "".join(path.read_text() for path in finished.drop.rglob("*.json"))
    for charge in charges(finished, "north").charges:
        assert charge.training not in text
    assert json.loads((finished.site("north") / CHARGES).read_text())["patients"] == PATIENTS


# ------------------------------------------------------------------------------------------------ recomputed by anybody


def test_anybody_computes_the_same_epsilon_from_the_records(finished: Federation) -> None:
    expected = epsilon([STEPS] * 2, 1e-5)
    verified = finished.verify()
    spent = privacy_spent(PrivacySpentRequest(source=finished.source()), finished.environment)
    for costs in (verified.privacy, spent.sites):
        assert [cost.site for cost in costs] == sorted(SITES)
        assert {(cost.updates, cost.patients, cost.noise, cost.steps) for cost in costs} == {(2, PATIENTS, 8.0, 4)}
        assert {cost.claimed for cost in costs} == {cost.recomputed for cost in costs} == {expected}
    assert spent.status is Status.DONE
    (left,) = {cost.rounds_left for cost in spent.sites}
    assert left is not None
    assert epsilon([STEPS] * (2 + left), 1e-5) <= 20.0 < epsilon([STEPS] * (3 + left), 1e-5)


def test_status_shows_what_each_site_claims(finished: Federation) -> None:
    assert {site.epsilon for site in finished.status().sites} == {epsilon([STEPS] * 2, 1e-5)}
    assert "epsilon" in run("status", finished.drop).stdout


def by_hand(root: Path, *rounds: dict[str, object]) -> Federation:
    """Run rounds of one site that claims something in each, and of one that is honest."""
    federation = Federation(root=root, by_hand=("north", "south"), plan=PRIVATE).begin()
    for number, claimed in enumerate(rounds, 1):
        honest = replace(CLAIM, epsilon_before=epsilon([STEPS] * (number - 1), 1e-5), epsilon=epsilon([STEPS] * number, 1e-5))
        for site, lie in (("north", {}), ("south", claimed)):
            claim = replace(honest, **lie)
            federation.send(site, number, **WITHHELD, steps=claim.steps, privacy=claim)
        federation.aggregate()
    return federation


def test_a_site_that_claims_to_have_spent_less_is_named(tmp_path: Path) -> None:
    federation = by_hand(tmp_path / "f", {}, {"epsilon": 0.001})
    verified = federation.verify(replay=False)
    assert verified.status is Status.FAILED
    (problem,) = verified.problems
    assert problem.key == layout.update("south", 2)
    assert "south claims to have spent epsilon 0.001 at delta 1e-05, recomputed from its 2 updates: " in problem.message
    result = run("privacy", "spent", federation.drop, "--coordinator-key", federation.fingerprint)
    assert result.returncode == 6
    assert "south claims to have spent epsilon 0.001" in result.stdout


def test_a_site_that_changes_its_number_of_patients_is_named(tmp_path: Path) -> None:
    federation = by_hand(tmp_path / "f", {}, {"patients": 80, "sampling_rate": 0.05, "steps": 20})
    verified = federation.verify(replay=False)
    (problem,) = verified.problems
    assert "south declares 80 training patients in round 2, expected 8, as in round 1" in problem.message
    assert [cost.recomputed is None for cost in verified.privacy] == [False, True]


def test_an_update_without_the_noise_that_it_states_is_named_in_a_replay(tmp_path: Path) -> None:
    """The deltas of the tests have a norm of 0.25; noise alone has one of 1."""
    verified = by_hand(tmp_path / "f", {}).verify(replay=True)
    assert [problem.key for problem in verified.problems] == [layout.update(site, 1) for site in ("north", "south")]
    assert re.search(
        r"the norm of north's update of round 1 is 0\.2\d+, expected at least 1\.0\d+ with the noise that it states",
        verified.problems[0].message,
    )


def test_without_the_accountant_claims_are_shown_as_claims(finished: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    verified = finished.verify()
    assert verified.verified
    assert {cost.recomputed for cost in verified.privacy} == {None}
    with pytest.raises(UsageError, match="differential privacy needs dp_accounting, which is not installed"):
        privacy_spent(PrivacySpentRequest(source=finished.source()), finished.environment)


def test_the_report_and_the_card_say_what_was_spent_and_who_is_not_protected(finished: Federation, tmp_path: Path) -> None:
    result = report(ReportRequest(source=finished.source(), out=tmp_path / "report"), finished.environment)
    assert result.failures == ()
    page, card = ((tmp_path / "report" / name).read_text() for name in ("report.html", "model-card.md"))
    spent = f"{epsilon([STEPS] * 2, 1e-5):.3f}"
    assert f">{spent}<" in page
    assert "validation and test patients, on whom kappas and losses are computed without noise" in page
    assert f"north ({spent[:-1]}" in card.replace("\\", "")
    assert "Validation and test patients are not protected by it" in card
    assert (tmp_path / "report" / "tables" / "privacy.csv").read_text().count("north") == 1


def test_masked_and_sealed_a_round_costs_the_same(tmp_path: Path, data: dict[str, Path]) -> None:
    settings = {name: getattr(PRIVATE, name) for name in ("network", "training", "privacy")}
    federation = begun_masked(tmp_path / "f", data, replace(MASKED, **settings))
    for site in data:
        declare(federation, site, PATIENTS)
    run_rounds(federation, 1)
    assert replayed(federation, "coordinator") == 1
    listener = Listener()
    source = federation.source("coordinator")
    verify(VerifyRequest(source=source, replay=True), Environment(progress=listener, passphrase=str))
    assert listener.events[-1] == (
        "the lengths of the updates of round 1 do not show whether they have the noise that they state: masking hides each "
        "site's update"
    )
    record = federation.update("north", 1)
    assert record.opening is not None
    assert record.privacy is not None
    assert (record.privacy.cost, record.privacy.epsilon) == (STEPS, epsilon([STEPS], 1e-5))
    assert len(charges(federation, "north").charges) == 1
    assert all(item.encryption is not None for item in record.artifacts)


def test_a_plan_without_a_promise_has_spent_nothing(tmp_path: Path) -> None:
    federation = Federation(root=tmp_path / "f", by_hand=("north", "south"), plan=PLAN).begin()
    spent = privacy_spent(PrivacySpentRequest(source=federation.source()), federation.environment)
    assert (spent.epsilon, spent.sites) == (None, ())
    assert "promises no privacy" in spent.message
