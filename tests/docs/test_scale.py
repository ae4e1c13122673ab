"""docs/scale.md: its tables are what `benchmarks/scale.py` computes from the unit costs that it begins with."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/scale.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def scale() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scale", ROOT / "benchmarks/scale.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scale"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_tables_follow_from_the_unit_costs(scale: ModuleType) -> None:
    costs, given = scale.read_costs(PAGE), scale.Conditions()
    for table in (scale.cost_table(costs), scale.prices_table(given), scale.table(costs, given)):
        assert f"\n\n{table}\n\n" in PAGE


def test_a_flat_round_adds_up(scale: ModuleType) -> None:
    """Three sites, each with a model down and an update up of 10 MB; the coordinator fetches all, and sends a model."""
    train = scale.Cost(up=scale.Count(10.0), down=scale.Count(10.0), get=scale.Count(5.0), put=scale.Count(3.0))
    close = scale.Cost(
        up=scale.Count(10.0), down=scale.Count(0.0, 10.0), list=scale.Count(0.0, 1.0), processor=scale.Count(0.0, 2.0)
    )
    idle = scale.Cost(get=scale.Count(1.0))
    names = {"train-round": train, "aggregate": close, "relay, up": close, "relay, down": scale.Cost()}
    costs = {(name, store): names.get(name, idle) for name in scale.COMMANDS for store in scale.STORES}
    given = replace(scale.Conditions(), polls=2, site_line=80.0, coordinator_line=800.0, server_line=160.0, server=60.0)
    found = scale.one_round((3,), "S3", costs, given)
    usage = found.usage
    assert (usage.up, usage.down) == (3 * 10 + 10, 3 * 10 + 30)
    assert (usage.get, usage.put, usage.list) == (3 * 5 + 2 * (3 + 1), 3 * 3, 3)
    assert (found.coordinator, found.server) == (30, 3 * 20 + 40)
    assert found.seconds == pytest.approx(8 * 20 / 80 + 8 * 40 / 800 + 6)
    assert found.dollars == pytest.approx((12 * 0.005 + 23 * 0.0004) / 1000 + 0.060 * 0.09 + 0.040 * 0.023)
    over = scale.one_round((3,), "SFTP", costs, given)
    assert over.seconds == pytest.approx(8 * 3 * 20 / 160 + 8 * 40 / 160 + 6)  # all three through the server's line
    assert over.dollars == 60 / 30
    tree = scale.one_round((2, 3), "S3", costs, given)
    assert tree.usage.up == 6 * 10 + 2 * 10 + 10  # sites, regions, the top
    assert tree.dollars > found.dollars
    assert scale.one_round((2, 3), "SFTP", costs, given).dollars == 3 * 60 / 30


def test_what_is_no_unit_cost_is_refused(scale: ModuleType) -> None:
    with pytest.raises(ValueError, match="no unit costs of train-round on SFTP, "):
        scale.read_costs("")
    with pytest.raises(ValueError, match=r"expected `NUMBER` or `NUMBER \+ NUMBER n`, found many"):
        scale.read_costs(PAGE.replace("| 352 |", "| many |"))
