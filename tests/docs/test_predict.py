"""docs/predict.md: a package's weights in torchvision's own network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedcli import tensors
from fedcli.learning.evaluation.inference import probabilities
from fedcli.learning.networks import registry, weights
from fedcli.plan import Network
from fedcli.progress import Silent

PAGE = Path(__file__).parents[2] / "docs" / "predict.md"


def test_the_weights_load_into_torchvisions_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = registry.build(Network(), 4)
    (tmp_path / "package").mkdir()
    tensors.write(tmp_path / "package" / "model.safetensors", weights.to_arrays(ours))
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - the page's own code
    images = np.random.default_rng(1).integers(0, 65536, (2, 64, 64)).astype(np.uint16)
    expected = probabilities(ours, images, device=torch.device("cpu"), progress=Silent())
    with torch.inference_mode():
        logits = names["network"](torch.from_numpy(images.astype(np.float32) / 65535)[:, None])
    assert torch.softmax(logits, dim=1).numpy() == pytest.approx(expected, abs=1e-5)
