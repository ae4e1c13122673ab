"""`fedcli privacy plan`: the noise, the table, the picture, and what is refused."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from fedcli.privacy.accountant import PrivateSteps, epsilon
from tests.docs.walkthrough import ROOT
from tests.fixtures.command import imported_by, run

if TYPE_CHECKING:
    from pathlib import Path

ARGUMENTS = ("--patients", "200", "--epsilon", "3", "--delta", "1e-4", "--rounds", "20", "--batch", "20")
TABLE = re.findall(
    r"^\| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$",
    (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def noise_of(text: str) -> str:
    """Return the proposed noise, as a message states it."""
    match = re.search(r"noise ([\d.]+): ", text)
    assert match is not None
    return match[1]


def test_json_keys_are_stable_and_the_noise_is_the_least(tmp_path: Path) -> None:
    done = run("privacy", "plan", *ARGUMENTS, "--picture", tmp_path / "costs.svg", "--json")
    found = json.loads(done.stdout)
    assert list(found) == [
        "command", "status", "message", "noise", "epsilon", "delta", "sampling_rate", "steps", "rounds", "costs", "picture",
    ]  # fmt: skip
    assert (found["command"], found["sampling_rate"], found["steps"]) == ("privacy plan", 0.1, 10)

    def cost(noise: float) -> float:
        return epsilon([PrivateSteps(sampling_rate=0.1, noise=noise, steps=200)], 1e-4)

    assert found["epsilon"] == cost(found["noise"]) <= 3 < cost(found["noise"] - 0.001)
    assert len({item["noise"] for item in found["costs"]}) == 5
    assert [item["rounds"] for item in found["costs"][:6]] == [5, 10, 15, 20, 30, 40]
    assert sorted(item["epsilon"] for item in found["costs"][:6]) == [item["epsilon"] for item in found["costs"][:6]]
    picture = ET.fromstring((tmp_path / "costs.svg").read_text())  # noqa: S314 - our own output
    assert f"noise {found['noise']:.3f}: {found['epsilon']:.3g}" in picture.find("{*}desc").text


def test_the_table_is_printed_and_the_picture_may_be_png(tmp_path: Path) -> None:
    done = run("privacy", "plan", *ARGUMENTS, "--epochs", "2", "--picture", tmp_path / "costs.png")
    assert done.returncode == 0, done.stderr
    assert "Epsilon at delta 0.0001 after so many rounds" in done.stdout
    assert "20 rounds of 20 steps, each with 20 of 200 patients on average" in " ".join(done.stdout.split())
    assert f"the plan's [privacy] then has noise = {noise_of(done.stdout)} and batch = 20" in " ".join(done.stdout.split())
    assert (tmp_path / "costs.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("--batch", "201"), "--batch 201 is more than --patients 200"),
        (("--delta", "0.005"), "--delta 0.005 is not below 1 / patients = 0.005"),
        (("--picture", "costs.pdf"), "--picture costs.pdf: expected a file that ends with .svg or .png"),
        (("--rounds", "9999", "--steps", "101"), "9999 rounds of 101 steps are more than 1,000,000 steps"),
        (("--batch", "200", "--epsilon", "0.01", "--rounds", "9999"), "cost more than epsilon 0.01 with any noise up to 1000"),
    ],
)
def test_what_cannot_be_planned_is_refused(changes: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = run("privacy", "plan", *ARGUMENTS, *changes, folder=tmp_path)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_it_imports_neither_torch_nor_matplotlib_without_a_picture() -> None:
    assert not imported_by("privacy", "plan", *ARGUMENTS) & {"torch", "matplotlib"}


@pytest.mark.parametrize("row", TABLE, ids=" ".join)
def test_the_published_table_is_what_the_accountant_computes(row: tuple[str, ...]) -> None:
    patients, batch, rounds = map(int, row[:3])
    number = -(-patients // batch) * rounds
    for budget, noise in zip((1.0, 3.0, 8.0), map(float, row[3:]), strict=True):

        def cost(noise: float) -> float:
            return epsilon([PrivateSteps(sampling_rate=batch / patients, noise=noise, steps=number)], 1e-5)

        assert cost(noise) <= budget < cost(noise - 0.001)


def test_the_table_is_there() -> None:
    assert len(TABLE) == 6
