"""docs/masking.md: the round in which a site disappears, line by line."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.docs.walkthrough import Step, Walk, shell_blocks
from tests.fixtures.federation import prepared_data
from tests.fixtures.masked import FOUR, MASKED, begun_masked

PAGE = Path(__file__).parents[2] / "docs" / "masking.md"


@pytest.mark.slow
def test_the_round_goes_as_the_page_shows() -> None:
    with TemporaryDirectory() as name:
        folders = prepared_data(Path(name) / "data", MASKED)
        begun_masked(Path(name) / "masked", dict(zip(FOUR, [*folders.values()] * 2, strict=True)))
        walk = Walk(folder=Path(name))
        blocks = shell_blocks(PAGE)
        assert len(blocks) > 5
        for block in blocks:
            steps = [walk.run(line) for line in block.lines]
            for step in steps:
                assert step.code == 0, f"{step.line}\n{step.printed}"
            walk.check(block, [without_advice(step) for step in steps])


def without_advice(step: Step) -> Step:
    """Return a step without what only so few patients make fedcli say."""
    lines = step.printed.splitlines(keepends=True)
    return replace(step, printed="".join(line for line in lines if not re.search(r"only \d+ (step|validation patient)", line)))
