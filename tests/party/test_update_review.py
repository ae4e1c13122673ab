"""The look before publishing: figures, the odd one out, and what a person can say."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcli.exchange import layout
from fedcli.exchange.records import ValidationScore
from fedcli.party.update_review import SiteReview, Verdict, robust_scores
from fedcli.results import Status
from tests.fixtures.command import COMMAND, run, succeed
from tests.fixtures.federation import Federation, Listener, begun_by_hand

if TYPE_CHECKING:
    from pathlib import Path

SITES = ("ash", "birch", "cedar", "fir", "oak")


@dataclass(slots=True)
class Person:
    """Says what it was told to say, and remembers what it was shown."""

    verdicts: list[Verdict]
    shown: list[tuple[SiteReview, ...]] = field(default_factory=list)

    def __call__(self, round_number: int, sites: tuple[SiteReview, ...]) -> Verdict:
        assert round_number == 1
        self.shown.append(sites)
        return self.verdicts.pop(0)


def federation(root: Path) -> Federation:
    """Return a federation of which oak sends something odd: far too long, and the other way."""
    made = begun_by_hand(root, *SITES)
    common = made.delta("common", 1)
    for number, site in enumerate(SITES[:-1]):
        noise = made.delta(site, 1)
        delta = {n: v if v.dtype == np.int64 else (common[n] + v / 10).astype(np.float32) for n, v in noise.items()}
        trained = ValidationScore(patients=20, loss=1.1, kappa=0.5 + number / 100)
        made.send(site, 1, delta=delta, trained=trained)
    odd = {name: value if value.dtype == np.int64 else value * np.float32(-6) for name, value in common.items()}
    made.send("oak", 1, delta=odd, steps=5, trained=ValidationScore(patients=20, loss=2.0, kappa=0.1))
    made.clock.pass_hours(5)
    return made


def test_the_figures_tell_the_odd_one_out(tmp_path: Path) -> None:
    made = federation(tmp_path / "f")
    person, listener = Person([Verdict(publish=True)]), Listener()
    made.progress = listener
    result = made.aggregate(person)
    assert result.status is Status.PUBLISHED
    (sites,) = person.shown
    assert result.review == sites
    assert [site.site for site in sites] == list(SITES)
    assert {site.age_hours for site in sites} == {5.0}
    assert [(site.steps, site.received_kappa, site.trained_kappa) for site in sites][-1] == (5, 0.4, 0.1)
    assert all(site.odd == () and site.cosine is not None and site.cosine > 0.5 for site in sites[:-1])
    oak = sites[-1]
    assert oak.cosine is not None
    assert oak.cosine < 0
    assert [words.split(" ")[1] for words in oak.odd] == ["norm", "direction"]
    assert oak.others_cosine is not None
    assert oak.others_cosine < -0.9
    assert oak.norm_score is not None
    assert oak.norm_score > 3.5
    assert any(text.startswith("round 1: look at oak: its norm is") for text in listener.events)
    recorded = {item.site: (item.norm, item.cosine) for item in made.record(1).contributions}
    assert recorded == {site.site: (site.norm, site.cosine) for site in sites}


def test_a_site_that_is_rejected_stands_in_the_record_with_the_reason(tmp_path: Path) -> None:
    made = federation(tmp_path / "f")
    person = Person([Verdict(publish=True, rejected=(("oak", "labels were swapped"),)), Verdict(publish=True)])
    result = made.aggregate(person)
    assert (result.status, result.used) == (Status.PUBLISHED, SITES[:-1])
    assert [len(sites) for sites in person.shown] == [5, 4]
    assert person.shown[1][0].cosine > person.shown[0][0].cosine
    (refused,) = made.record(1).rejected
    assert (refused.site, refused.reason) == ("oak", "labels were swapped")
    assert refused.update is not None
    assert made.verify().verified


def test_nothing_is_published_where_the_review_is_not_accepted(tmp_path: Path) -> None:
    made = federation(tmp_path / "f")
    result = made.aggregate(Person([Verdict(publish=False)]))
    assert result.status is Status.WAITING
    assert "--review` asks on a terminal" in result.message
    assert len(result.review) == 5
    assert not (made.drop / layout.round_record(1)).exists()
    assert made.aggregate().status is Status.PUBLISHED


def test_off_a_terminal_a_review_says_what_to_type(tmp_path: Path) -> None:
    made = federation(tmp_path / "f")
    asked = run("aggregate", "-C", made.coordinator, "--review")
    assert asked.returncode == 0
    assert "with --yes it publishes" in asked.stdout
    assert "oak" in asked.stderr
    assert not (made.drop / layout.round_record(1)).exists()
    assert run("aggregate", "-C", made.coordinator, "--yes").returncode == 2
    assert run("aggregate", "-C", made.coordinator, "--review", "--wait").returncode == 2
    found = succeed("aggregate", "-C", made.coordinator, "--review", "--yes")
    assert found["status"] == "published"
    assert list(found["review"][4]) == [
        "site", "steps", "weight", "received_kappa", "trained_kappa", "norm", "norm_score", "cosine", "cosine_score", "age_hours",
        "odd", "others_cosine", "trained_norm",
    ]  # fmt: skip


def on_a_terminal(answers: str, *arguments: str | Path) -> str:
    """Run a command on a terminal, type the answers, and return what was shown."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, text=True, close_fds=True
    )
    os.close(terminal)
    os.write(controller, answers.encode())
    shown = b""
    try:
        while chunk := os.read(controller, 4096):
            shown += chunk
    except OSError:  # the other end has gone
        pass
    os.close(controller)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, shown
    return shown.decode() + out


def test_on_a_terminal_a_person_rejects_with_a_reason_and_publishes(tmp_path: Path) -> None:
    made = federation(tmp_path / "f")
    shown = on_a_terminal("perhaps\noak\nlabels were swapped\nyes\n", "aggregate", "-C", made.coordinator, "--review")
    assert "perhaps: expected yes, no, or one of ash" in shown
    assert "Updates of round 1" in shown
    assert made.record(1).rejected[0].reason == "labels were swapped"
    assert json.loads((made.drop / layout.round_record(1)).read_text())["contributions"][-1]["site"] == "fir"


def test_on_a_terminal_no_publishes_nothing(tmp_path: Path) -> None:
    made = federation(tmp_path / "f")
    assert "not published" in on_a_terminal("no\n", "aggregate", "-C", made.coordinator, "--review")
    assert not (made.drop / layout.round_record(1)).exists()


def test_scores_by_hand() -> None:
    assert robust_scores([1.0, 2.0, 3.0, 4.0, 15.0]) == (-1.3, -0.7, 0.0, 0.7, 8.1)
    assert robust_scores([5.0, 5.0, 5.0, 9.0]) == (0.0, 0.0, 0.0, pytest.approx(4 / 1.2533, abs=0.05))
    assert robust_scores([2.0, 2.0]) == (0.0, 0.0)
    assert robust_scores([0.9, 0.9, 0.899, 0.93]) == (0.0, 0.0, -0.1, 3.0)  # nothing closer than 0.01 is told apart
    assert robust_scores([None, 1.0, None]) == (None, 0.0, None)
    assert robust_scores([None]) == (None,)
    assert robust_scores([]) == ()


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=12))
def test_scores_are_of_the_values_that_are_there(values: list[float | None]) -> None:
    scores = robust_scores(values)
    assert [score is None for score in scores] == [value is None for value in values]
    known = [score for score in scores if score is not None]
    if known:
        assert min(known) <= 0 <= max(known)
