"""The plan's variants of local training, through the real operations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli import tensors
from fedcli.errors import ConfigurationError
from fedcli.exchange import layout
from fedcli.exchange.records import ModelKind
from fedcli.learning.networks import batch_norm, registry, weights
from fedcli.learning.seeds import derive_seed
from fedcli.learning.training.local_training import LocalTraining
from fedcli.operations.finetune import FinetuneRequest, Start, finetune
from fedcli.plan import Finetuning, Images, Network, Part, Plan, Precision, Statistics
from fedcli.progress import Silent
from fedcli.site import selection
from fedcli.site.learner import Learner
from fedcli.site.own_model import own_model_folder
from fedcli.workspace import Workspace
from tests.fixtures.federation import PLAN, SITES, Federation, prepared_data
from tests.fixtures.tampering import artifact_path

if TYPE_CHECKING:
    from pathlib import Path

BATCH_NORM = replace(PLAN, images=Images(size=32), network=Network(name="shufflenet_v2_x0_5"))


def with_training(plan: Plan, **settings: object) -> Plan:
    return replace(plan, training=replace(plan.training, **settings))


@pytest.fixture(scope="module")
def prepared_at_32(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return prepared_data(tmp_path_factory.mktemp("data"), BATCH_NORM, patients=12)


def begin(root: Path, prepared: dict[str, Path], plan: Plan) -> Federation:
    return Federation(root=root, prepared=prepared, plan=plan).begin()


def update(federation: Federation, site: str, number: int) -> dict[str, np.ndarray]:
    return tensors.read(artifact_path(federation, layout.update(site, number)))


def state(federation: Federation, site: str, name: str) -> dict[str, np.ndarray]:
    folder = selection.newest_state(Workspace.open(federation.site(site)))
    assert folder is not None
    return tensors.read(folder / name)


def of_batch_norm(plan: Plan) -> frozenset[str]:
    return batch_norm.names(registry.build(plan.network, len(plan.classes)))


def learner_of(federation: Federation, site: str) -> Learner:
    return Learner(Workspace.open(federation.site(site)), federation.plan, Silent())


def test_fedbn_keeps_a_sites_batch_norm_and_shares_the_rest(tmp_path: Path, prepared_at_32: dict[str, Path]) -> None:
    plan = with_training(BATCH_NORM, statistics=Statistics.LOCAL)
    federation = begin(tmp_path / "f", prepared_at_32, plan)
    names = of_batch_norm(plan)
    federation.train()
    kept = {site: state(federation, site, selection.STATISTICS) for site in SITES}
    start = federation.model(0)
    for site in SITES:
        delta = update(federation, site, 1)
        assert kept[site].keys() == names
        assert all(not delta[name].any() for name in names)
        assert any(delta[name].any() for name in delta.keys() - names)
        assert any(not np.array_equal(kept[site][name], start[name]) for name in names)
    means = [name for name in names if name.endswith("running_mean")]
    assert any(not np.array_equal(kept[SITES[0]][name], kept[SITES[1]][name]) for name in means)
    federation.aggregate()
    after = federation.model(1)
    assert all(np.array_equal(after[name], start[name]) for name in names)

    # The next round begins with the site's own layers over the rest of φ(1): scored so, and trained from there.
    (result,) = federation.train(SITES[0])
    learner = learner_of(federation, SITES[0])
    weights.load_arrays(learner.module, after | kept[SITES[0]])
    assert learner.validate("by hand") == result.received
    weights.load_arrays(learner.module, after)
    assert learner.validate("without its own") != result.received
    newer = state(federation, SITES[0], selection.STATISTICS)
    counters = {name: newer[name] - kept[SITES[0]][name] for name in names if name.endswith("num_batches_tracked")}
    assert set(map(int, counters.values())) == {result.steps}


def test_recalibrated_statistics_are_those_of_the_sites_training_images(tmp_path: Path, prepared_at_32: dict[str, Path]) -> None:
    plan = with_training(BATCH_NORM, statistics=Statistics.RECALIBRATE)
    federation = begin(tmp_path / "f", prepared_at_32, plan)
    (result,) = federation.train(SITES[0])
    start, delta = federation.model(0), update(federation, SITES[0], 1)
    trained = {name: start[name] + delta[name] for name in start}
    learner = learner_of(federation, SITES[0])
    weights.load_arrays(learner.module, trained)
    learner.recalibrate("again")  # changes nothing but what rounding leaves of a sum
    again = weights.to_arrays(learner.module)
    for name, array in trained.items():
        assert np.allclose(again[name], array, rtol=1e-4, atol=1e-5), name
    plain = begin(tmp_path / "plain", prepared_at_32, BATCH_NORM)
    plain.train(SITES[0])
    without = update(plain, SITES[0], 1)
    moved = [name for name in of_batch_norm(plan) if name.endswith("running_var")]
    assert max(np.abs(without[name] - delta[name]).max() for name in moved) > 0.01
    for name in delta.keys() - {n for n in delta if "running" in n}:
        assert np.array_equal(without[name], delta[name]), name  # training itself is the same
    weights.load_arrays(learner.module, start)
    learner.recalibrate("received")
    assert learner.validate("by hand") == result.received


@pytest.mark.parametrize("statistics", [Statistics.LOCAL, Statistics.RECALIBRATE])
def test_a_network_without_batch_norm_has_no_statistics(begun: Federation, tmp_path: Path, statistics: Statistics) -> None:
    federation = begin(tmp_path / "f", begun.prepared, with_training(PLAN, statistics=statistics))
    with pytest.raises(ConfigurationError, match="no BatchNorm layers"):
        federation.train(SITES[0])


def test_steps_and_epochs_make_n_k(begun: Federation, tmp_path: Path) -> None:
    federation = begin(tmp_path / "f", begun.prepared, with_training(PLAN, steps=3, epochs=2))
    (result,) = federation.train(SITES[0])
    assert result.steps == 6
    images = len(learner_of(federation, SITES[0]).samples(Part.TRAIN))
    (plain,) = begun.train(SITES[0])
    assert plain.steps == PLAN.training.steps_per_epoch(images)


def test_every_epochs_model_is_a_candidate(begun: Federation, tmp_path: Path) -> None:
    federation = begin(tmp_path / "f", begun.prepared, with_training(PLAN, rate=0.005, epochs=6, precision=Precision.FLOAT32))
    learner = learner_of(federation, SITES[1])
    (start,) = (federation.drop / "coordinator" / "round-0000").glob("global-*.safetensors")
    learner.load(start)
    kappas = [learner.validate("received").kappa]
    training = LocalTraining(
        learner.module,
        learner.samples(Part.TRAIN),
        federation.plan.training,
        federation.plan.augmentation,
        seed=derive_seed(federation.plan.seed, SITES[1], "round", 1),
        rates=(0.005,) * 6,
        device=learner.device,
    )
    training.run(Silent(), on_epoch=lambda _: kappas.append(learner.validate("by hand").kappa))
    (result,) = federation.train(SITES[1])
    assert result.trained is not None
    assert result.trained.kappa == kappas[-1]
    assert result.best_kappa == max(kappa for kappa in kappas if kappa is not None)


def test_the_proximal_term_is_for_rounds_alone(begun: Federation, tmp_path: Path) -> None:
    strong = replace(with_training(PLAN, proximal=10.0), finetuning=Finetuning(epochs=1))
    weak = replace(with_training(PLAN, proximal=0.0), finetuning=Finetuning(epochs=1))
    norms, models = [], []
    for name, plan in (("strong", strong), ("weak", weak)):
        federation = begin(tmp_path / name, begun.prepared, plan)
        federation.train(SITES[0])
        norms.append(sum(float(np.square(value).sum()) for value in update(federation, SITES[0], 1).values()))
        finetune(FinetuneRequest(root=federation.site(SITES[0]), start=Start.INITIAL), federation.environment)
        folder = own_model_folder(Workspace.open(federation.site(SITES[0])), ModelKind.LOCAL)
        models.append(tensors.read(folder / "best.safetensors"))
    assert norms[0] < norms[1]
    assert all(np.array_equal(models[0][name], models[1][name]) for name in models[0])
