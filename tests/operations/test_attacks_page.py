"""docs/attacks.md names a test for every attack: each of them exists, and every attack test is named there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/attacks.md").read_text(encoding="utf-8")
FILES = {name: ROOT / path for name, path in re.findall(r"`(\w+)` is\s+`(tests/[\w/]+\.py)`", PAGE)}
NAMED = set(re.findall(r"`(\w+)::(\w+)`", PAGE))


SECURITY = set(re.findall(r"`(\w+)::(\w+)`", (ROOT / "docs/security.md").read_text(encoding="utf-8")))


@cache
def functions_of(path: Path) -> frozenset[str]:
    functions = (node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef))
    return frozenset(name for name in functions if name.startswith("test_"))


def test_every_row_names_a_test() -> None:
    rows = [row for row in PAGE.splitlines() if row.startswith("| ") and not row.startswith(("| attack |", "| fault |"))]
    assert len(rows) > 30
    assert [row for row in rows if not re.search(r"`\w+::test_\w+` ?(,|\|)", row)] == []


def test_every_named_test_exists() -> None:
    assert {name for name, _ in NAMED} == FILES.keys()
    assert [(file, name) for file, name in sorted(NAMED) if name not in functions_of(FILES[file])] == []


def test_every_attack_test_is_named() -> None:
    expected = {(name, test) for name in ("records", "artifacts", "attacks", "absence") for test in functions_of(FILES[name])}
    assert expected - NAMED == {("records", "test_untouched_both_updates_are_used")}  # what the attacks depart from


def test_every_test_that_the_security_model_names_exists() -> None:
    assert len(SECURITY) > 10
    assert [(file, name) for file, name in sorted(SECURITY) if name not in functions_of(FILES[file])] == []
