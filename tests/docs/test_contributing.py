"""CONTRIBUTING.md lists the layers of the import contract, and the contract has all modules."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
(LAYERS,) = (item["layers"] for item in CONTRACTS if item.get("containers") == ["fedcli"])


def test_the_layers_are_those_of_the_contract() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Layers")[2].partition("\n## ")[0]
    lines = re.findall(r"^    (\S.*)$", section, re.MULTILINE)
    assert [line.partition("  ")[0] for line in lines] == LAYERS


def test_every_module_has_a_layer() -> None:
    modules = {path.stem for path in (ROOT / "fedcli").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert {name for layer in LAYERS for name in layer.split(" | ")} == modules - {"__init__", "__main__"}
