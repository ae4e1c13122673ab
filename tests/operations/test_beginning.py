"""A federation that begins from trained weights."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.numpy import save_file
from torchvision.models import densenet121

from fedcli import tensors, wire
from fedcli.environment import Environment
from fedcli.errors import ConfigurationError
from fedcli.exchange import layout
from fedcli.exchange.history.best_round import best_round
from fedcli.exchange.records import RoundRecord
from fedcli.learning.networks import pretrained, registry
from fedcli.operations.init import InitRequest, init
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.party.source import Source
from fedcli.plan import Beginning, Images, Network, Normalisation, Plan
from fedcli.progress import Silent
from tests.fixtures.federation import PLAN, Federation, no_passphrase

if TYPE_CHECKING:
    from pathlib import Path

TRAINED = replace(PLAN, network=Network(name="densenet121", weights=Beginning.IMAGENET), images=Images(size=32))
ENVIRONMENT = Environment(progress=Silent(), passphrase=no_passphrase)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file like torchvision's: its name ends in its digest, its layers are named as of old, its counters are missing."""
    torch.manual_seed(11)
    state = densenet121().state_dict()
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): tensor
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    }
    path = tmp_path_factory.mktemp("weights") / "file.pth"
    torch.save(old, path)
    return path.rename(path.with_name(f"densenet121-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"))


def test_the_first_model_is_made_of_the_file_and_says_so(tmp_path: Path, weights: Path) -> None:
    begun = init(
        InitRequest(root=tmp_path / "c", plan=TRAINED, source=Source(address=str(tmp_path / "drop")), weights=weights),
        ENVIRONMENT,
    )
    folder = tmp_path / "drop" / "coordinator" / "round-0000"
    record = wire.decode(RoundRecord, (folder / "round.json").read_bytes())
    assert record.pretrained == hashlib.sha256(weights.read_bytes()).hexdigest()
    found = tensors.read(next(folder.glob("global-*.safetensors")))
    source = pretrained.read(weights).tensors
    layer = "features.denseblock4.denselayer16.conv2.weight"
    assert np.array_equal(found[layer], source[layer].numpy())
    assert found["features.conv0.weight"].shape == (64, 2, 7, 7)
    expected = registry.initial_state(TRAINED.network, 4, TRAINED.seed, pretrained.read(weights))
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    result, _ = verify(
        VerifyRequest(source=Source(address=str(tmp_path / "drop"), coordinator=begun.coordinator), replay=True), Environment()
    )
    assert result.verified
    again = init(
        InitRequest(root=tmp_path / "c", plan=TRAINED, source=Source(address=str(tmp_path / "drop")), weights=weights),
        ENVIRONMENT,
    )
    assert again.federation == begun.federation


def begin(root: Path, plan: Plan, weights: Path | None = None) -> RoundRecord:
    """Begin a federation, and return its first round's record."""
    init(InitRequest(root=root / "c", plan=plan, source=Source(address=str(root / "drop")), weights=weights), ENVIRONMENT)
    return wire.decode(RoundRecord, (root / "drop" / layout.round_record(0)).read_bytes())


FROM_FILE = replace(PLAN, network=Network(name="small", weights=Beginning.FILE))


def test_a_federation_begins_from_a_model_of_an_earlier_one_and_trains(tmp_path: Path, finished: Federation) -> None:
    earlier = finished.record(2).artifacts[0]
    federation = Federation(root=tmp_path / "f", prepared=finished.prepared, plan=FROM_FILE)
    federation.begin(weights=finished.drop / earlier.key)
    record = federation.record(0)
    assert record.pretrained == record.artifacts[0].content_sha256 == earlier.content_sha256
    federation.run(1)
    assert federation.verify().verified
    history = federation.history()
    assert best_round(history).round == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"14.bias": None, "0.weight": None}, r"0.weight is missing; 14.bias is missing$"),
        ({"15.weight": np.zeros(3, np.float32)}, r"15.weight is unexpected$"),
        ({"14.weight": np.zeros((3, 64), np.float32)}, r"14.weight must be \(4, 64\) float32, found \(3, 64\) float32$"),
        ({"14.bias": np.zeros(4, np.float16)}, r"14.bias must be \(4,\) float32, found \(4,\) float16$"),
        ({"14.bias": np.array([0, np.nan, 0, 0], np.float32)}, r"14.bias has a value that is not finite$"),
        ({f"{number}.new": np.zeros(1, np.float32) for number in range(20, 25)}, r"22.new is unexpected; and 2 more$"),
    ],
)
def test_a_file_that_is_no_model_of_the_network_is_refused(
    tmp_path: Path, finished: Federation, change: dict[str, np.ndarray | None], message: str
) -> None:
    arrays = finished.model(2) | change
    save_file({name: value for name, value in arrays.items() if value is not None}, tmp_path / "w.safetensors")
    with pytest.raises(ConfigurationError, match="w.safetensors: no model of small with 4 classes: .*" + message):
        begin(tmp_path, FROM_FILE, tmp_path / "w.safetensors")
    assert not list((tmp_path / "drop").rglob("*.json"))


def test_a_model_that_began_from_imagenet_is_taken_whole(tmp_path: Path, weights: Path) -> None:
    first = begin(tmp_path / "a", TRAINED, weights)
    model = tmp_path / "a" / "drop" / first.artifacts[0].key
    second = begin(tmp_path / "b", replace(TRAINED, seed=9), model)
    assert second.artifacts[0].content_sha256 == first.artifacts[0].content_sha256 == second.pretrained
    with pytest.raises(ConfigurationError, match=r"features.conv0.weight must be .*, found") as error:
        begin(tmp_path / "d", replace(TRAINED, network=Network(name="densenet121", weights=Beginning.FILE)), model)
    assert 'network.weights = "imagenet"' in error.value.hint


def test_a_plan_that_begins_from_a_file_needs_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="begins from a file of weights, and none is given"):
        begin(tmp_path, FROM_FILE)


def test_nothing_begins_without_the_file_or_with_one_that_the_plan_does_not_ask_for(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(ConfigurationError, match="does not exist"):
        init(InitRequest(root=tmp_path / "c", plan=TRAINED, source=Source(address=str(tmp_path / "drop"))), ENVIRONMENT)
    with pytest.raises(ConfigurationError, match="the plan begins without trained weights"):
        init(
            InitRequest(root=tmp_path / "d", plan=PLAN, source=Source(address=str(tmp_path / "drop")), weights=weights),
            ENVIRONMENT,
        )
    too_small = replace(PLAN, network=Network(name="alexnet"))
    with pytest.raises(ConfigurationError, match="alexnet: does not take images of 16 × 16 pixels"):
        init(InitRequest(root=tmp_path / "e", plan=too_small, source=Source(address=str(tmp_path / "drop"))), ENVIRONMENT)
    assert not list((tmp_path / "drop").rglob("*.json"))


def test_trained_weights_belong_to_the_first_round(tmp_path: Path, weights: Path) -> None:
    init(
        InitRequest(root=tmp_path / "c", plan=TRAINED, source=Source(address=str(tmp_path / "drop")), weights=weights),
        ENVIRONMENT,
    )
    data = (tmp_path / "drop" / "coordinator" / "round-0000" / "round.json").read_bytes()
    with pytest.raises(ValidationError, match="pretrained belongs to round 0, but this is round 1"):
        replace(wire.decode(RoundRecord, data), round=1)


def test_group_normalisation_does_not_go_with_trained_weights() -> None:
    with pytest.raises(ValidationError, match="ImageNet weights were trained with normalisation"):
        Network(weights=Beginning.IMAGENET, normalisation=Normalisation.GROUP)
