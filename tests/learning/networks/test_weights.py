"""A network's weights as arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedcli.errors import ConfigurationError
from fedcli.learning.networks.registry import build
from fedcli.learning.networks.weights import load_arrays, to_arrays
from fedcli.plan import Network


def test_arrays_are_copies_and_return_unchanged() -> None:
    source, target = build(Network(name="densenet121"), 4), build(Network(name="densenet121"), 4)
    arrays = to_arrays(source)
    assert all(array.flags.c_contiguous and array.flags.owndata for array in arrays.values())
    for array in arrays.values():
        array.flags.writeable = False
    load_arrays(target, arrays)
    back = to_arrays(target)
    assert list(back) == list(arrays)
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)
    with torch.no_grad():
        next(target.parameters()).zero_()
    assert np.array_equal(arrays["features.conv0.weight"], back["features.conv0.weight"])


def test_weights_that_do_not_fit_are_named() -> None:
    network = build(Network(name="small"), 4)
    before, arrays = to_arrays(network), to_arrays(build(Network(name="small"), 4))
    arrays["14.bias"] = np.zeros(5, dtype=np.float32)
    arrays["surplus"] = arrays.pop("0.weight")
    with pytest.raises(ConfigurationError) as refusal:
        load_arrays(network, arrays)
    for words in ("0.weight is missing", "surplus is unexpected", "14.bias must be (4,) float32, found (5,) float32"):
        assert words in str(refusal.value)
    assert all(np.array_equal(array, before[name]) for name, array in to_arrays(network).items())


def test_weights_of_another_type_are_refused() -> None:
    arrays = to_arrays(build(Network(name="small"), 4))
    arrays["14.bias"] = arrays["14.bias"].astype(np.float64)
    with pytest.raises(ConfigurationError, match=r"14\.bias must be \(4,\) float32, found \(4,\) float64"):
        load_arrays(build(Network(name="small"), 4), arrays)
