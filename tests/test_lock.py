"""requirements.lock: complete, with hashes, and in agreement with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
DIRECT = [Requirement(text) for text in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]]
ENTRY = re.compile(r"^([a-z0-9.-]+)==([^ ]+)(?: ; (.*?))? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
LOCKED = {match[1]: match[2] for match in ENTRY.finditer(LOCK)}


def test_every_line_is_a_package_with_hashes() -> None:
    rest = ENTRY.sub("", LOCK)
    assert [line for line in rest.splitlines() if not line.startswith("#")] == []
    assert "//" not in rest  # no index is named: whoever installs chooses one


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_what_pyproject_asks_for_is_locked_at_a_version_that_it_allows(requirement: Requirement) -> None:
    assert LOCKED[canonicalize_name(requirement.name)] in requirement.specifier


def test_what_these_need_in_turn_is_locked_too() -> None:
    waiting, missing = {canonicalize_name(item.name) for item in DIRECT}, set()
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        try:
            texts = requires(name) or []
        except PackageNotFoundError:  # locked for another system
            texts = []
        needed = [item for item in map(Requirement, texts) if item.marker is None or item.marker.evaluate({"extra": ""})]
        missing |= {item.name for item in needed if canonicalize_name(item.name) not in LOCKED}
        waiting |= {canonicalize_name(item.name) for item in needed} - seen
    assert missing == set()
