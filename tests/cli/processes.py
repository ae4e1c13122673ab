"""fedcli as its users run it: one process a command."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = (sys.executable, "-m", "fedcli")


def run(*arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command without a terminal, as cron does."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def succeed(*arguments: str | Path, folder: Path | None = None) -> dict[str, Any]:
    """Run a command with --json and return its object, the only thing on stdout."""
    done = run(*arguments, "--json", folder=folder)
    assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["command"] == arguments[0]
    return found


def imported_by(*arguments: str | Path) -> set[str]:
    """Run a command and return the top-level modules that it imported."""
    program = (
        "import runpy, sys\n"
        "sys.argv = ['fedcli', *sys.argv[1:]]\n"
        "try:\n"
        "    runpy.run_module('fedcli', run_name='__main__')\n"
        "finally:\n"
        "    print('\\n'.join({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())
