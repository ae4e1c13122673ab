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
from torchvision.models import densenet121

from fedcli import tensors, wire
from fedcli.environment import Environment
from fedcli.errors import ConfigurationError
from fedcli.exchange.records import RoundRecord
from fedcli.learning.networks import pretrained, registry
from fedcli.operations.init import InitRequest, init
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.party.source import Source
from fedcli.plan import Beginning, Images, Network, Normalisation
from fedcli.progress import Silent
from tests.fixtures.federation import PLAN, no_passphrase

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
