"""How the package is stored: small folders, short functions, and one name for one thing."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "fedcli"
TREES = {path.relative_to(PACKAGE): ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}
ONE_MODULE_PER_COMMAND = {Path("cli"), Path("operations")}
MOST_MODULES, MOST_LINES = 18, 45
LONGER: dict[str, str] = {}
"""Functions that may be longer, each with the reason."""


def test_no_folder_has_too_many_modules() -> None:
    modules = Counter(path.parent for path in TREES if path.name != "__init__.py")
    assert {
        str(folder): num for folder, num in modules.items() if num > MOST_MODULES and folder not in ONE_MODULE_PER_COMMAND
    } == {}


def test_no_function_is_too_long() -> None:
    lines = {
        f"{path}: {node.name}": node.end_lineno - node.lineno + 1
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    }
    assert {name for name, num in lines.items() if num > MOST_LINES} == LONGER.keys()


def test_no_two_classes_have_one_name() -> None:
    owners = defaultdict(list)
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                owners[node.name.lstrip("_")].append(str(path))
    assert {name: paths for name, paths in owners.items() if len(paths) > 1} == {}


def test_no_two_modules_have_one_name() -> None:
    """But for a command, which has its command line and its operation."""
    folders = defaultdict(set)
    for path in TREES:
        if path.name not in {"__init__.py", "__main__.py"}:
            folders[path.stem].add(path.parent)
    assert {name: owners for name, owners in folders.items() if len(owners) > 1 and owners != ONE_MODULE_PER_COMMAND} == {}
