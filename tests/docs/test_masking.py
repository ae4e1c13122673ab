"""docs/masking.md: the round in which a site disappears, line by line, each command in a process that is forked off this one."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NoReturn

import pytest

from fedcli.__main__ import main
from tests.docs.walkthrough import Step, Walk, shell_blocks
from tests.fixtures.federation import prepared_data
from tests.fixtures.masked import FOUR, MASKED, begun_masked

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = Path(__file__).parents[2] / "docs" / "masking.md"
ENVIRONMENT = {"FORCE_COLOR": "1", "TERM": "dumb", "COLUMNS": "160", "LINES": "50", "OMP_NUM_THREADS": "1"}


class Forked(Walk):
    """A walk whose commands import nothing: this process has imported it all."""

    def run(self, line: str) -> Step:
        """Run one line."""
        if not line.startswith("fedcli "):
            done = subprocess.run(["sh", "-c", line], cwd=self.folder, check=False, capture_output=True, text=True)
            return Step(line=line, code=done.returncode, printed=done.stdout + done.stderr)
        output = self.folder / "output"
        child = os.fork()
        if not child:
            become(shlex.split(line), self.folder, output, ENVIRONMENT)
        _, status = os.waitpid(child, 0)
        printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.read_text(encoding="utf-8"))
        return Step(line=line, code=os.waitstatus_to_exitcode(status), printed=printed)


def become(arguments: list[str], folder: Path, output: Path, environment: Mapping[str, str]) -> NoReturn:
    """Be the command, and end with its exit code."""
    code = 70
    try:
        os.chdir(folder)
        os.environ.update(environment)
        target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, replaced in enumerate((nothing, target, target)):
            os.dup2(replaced, number)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, "r" if not number else "w") for number in range(3))
        sys.argv = arguments
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - this process must never go on as the test
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@pytest.mark.slow
def test_the_round_goes_as_the_page_shows() -> None:
    with TemporaryDirectory() as name:
        folders = prepared_data(Path(name) / "data", MASKED)
        begun_masked(Path(name) / "masked", dict(zip(FOUR, [*folders.values()] * 2, strict=True)))
        walk = Forked(folder=Path(name))
        blocks = shell_blocks(PAGE)
        assert len(blocks) > 5
        for block in blocks:
            steps = [walk.run(line) for line in block.lines]
            for step in steps:
                assert step.code == 0, f"{step.line}\n{step.printed}"
            walk.check(block, [without_advice(step) for step in steps])


def without_advice(step: Step) -> Step:
    """Return a step without what only so few patients make fedcli say."""
    lines = (line for line in step.printed.splitlines(keepends=True) if " are few: " not in line)
    return replace(step, printed="".join(lines))
