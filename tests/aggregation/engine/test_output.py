"""The new model's file: its place on the disk is reserved before anything is computed."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from fedcli import disk
from fedcli.aggregation.mean import WeightedMean
from fedcli.aggregation.rules import AggregationRule
from tests.aggregation.models import bench

if TYPE_CHECKING:
    from pathlib import Path


class Unused(WeightedMean):
    """A rule that must not come into action."""

    def floats(self, *_: object) -> None:
        """Fail."""
        raise AssertionError


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_a_file_system_that_cannot_reserve_room_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    made = bench(tmp_path, {"a": 1, "b": 2})
    expected = made.fold(out="other").model
    monkeypatch.setattr(os, "posix_fallocate", Mock(side_effect=OSError(number, os.strerror(number))))
    assert made.fold().model == expected == disk.measure(tmp_path / "out")


def test_a_disk_without_room_is_noticed_before_anything_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bench(tmp_path, {"a": 1, "b": 2})
    monkeypatch.setattr(os, "posix_fallocate", Mock(side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    before = set(tmp_path.iterdir())
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        made.fold(AggregationRule(average=Unused()))
    assert set(tmp_path.iterdir()) == before
