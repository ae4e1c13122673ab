"""Paired comparisons: which count, in numbers and in sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedcli.exchange.history import reference_to
from fedcli.exchange.records import ModelKind
from fedcli.plan import Plan
from fedcli.reporting import tables
from tests.fixtures.history import HandmadeHistory
from tests.fixtures.records import compare, score
from tests.reporting.published_study import CLIENTS, paper_history

LOCAL, FEDERATED, FINETUNED = ModelKind.LOCAL, ModelKind.FEDERATED, ModelKind.FINETUNED


def compared(difference: float | None, p_value: float | None = 0.01, site: str = "east") -> tuple[tables.SiteComparison, ...]:
    build = HandmadeHistory((site,), Plan(name="pilot", rounds=1))
    build.round()
    local, federated = build.model(site, LOCAL), build.model(site, FEDERATED)
    scores = [score(reference_to(model), 0.5) for model in (local, federated)]
    build.evaluation(site, scores, comparisons=(compare(federated, local, difference, p_value),))
    return tables.comparisons(build.history)


def test_the_published_study_has_two_at_every_site() -> None:
    every = tables.comparisons(paper_history())
    assert [(item.site, item.kind, item.other) for item in every] == [
        (site, *pair) for site in CLIENTS for pair in ((FEDERATED, LOCAL), (FINETUNED, FEDERATED))
    ]
    assert [item.result.difference for item in every if item.kind is FEDERATED] == [0.0, 0.09, -0.01, 0.06, 0.0, 0.05, 0.08]


def test_p_values_are_adjusted_for_the_sites_that_tested_the_same_pair() -> None:
    build = HandmadeHistory(("a", "b", "c", "d"), Plan(name="pilot", rounds=1))
    build.round()
    for site, p_value in zip(build.sites, (0.01, 0.04, None, 0.02), strict=True):
        local, federated = build.model(site, LOCAL), build.model(site, FEDERATED)
        scores = [score(reference_to(model), 0.5) for model in (local, federated)]
        build.evaluation(site, scores, comparisons=(compare(federated, local, 0.1 if p_value else None, p_value),))
    every = tables.comparisons(build.history)
    assert [item.adjusted for item in every] == [pytest.approx(0.03), pytest.approx(0.04), None, pytest.approx(0.04)]
    assert every[0].test_sentence.endswith("p = 0.01, after Holm's correction for 3 sites 0.03; the difference is significant.")
    assert [item.significant for item in every] == [True, True, False, True]


def test_a_comparison_of_an_older_model_does_not_count() -> None:
    build = HandmadeHistory(("east",), Plan(name="pilot", rounds=1))
    build.round()
    local, federated = build.model("east", LOCAL), build.model("east", FEDERATED)
    scores = [score(reference_to(model), 0.5) for model in (local, federated)]
    build.evaluation("east", scores, comparisons=(compare(federated, local, 0.1),))
    assert len(tables.comparisons(build.history)) == 1
    build.model("east", LOCAL, 2)
    assert tables.comparisons(build.history) == ()


@pytest.mark.parametrize(
    ("difference", "p_value", "sentence", "verdict", "p"),
    [
        (0.1, 0.01, "0.10 higher than", "p = 0.01; the difference is significant", "0.01"),
        (-0.1, 0.5, "0.10 lower than", "p = 0.5; the difference may be due to chance", "0.5"),
        (0.1, 1 / 10_001, "0.10 higher than", "p ≤ 0.0001;", "≤ 0.0001"),
        (0.001, 0.9, "the same as", "p = 0.9;", "0.9"),
        (0.1, 0.05, "0.10 higher than", "may be due to chance", "0.05"),
    ],
)
def test_in_sentences(difference: float, p_value: float, sentence: str, verdict: str, p: str) -> None:
    (comparison,) = compared(difference, p_value)
    difference_sentence = comparison.difference_sentence
    assert f"the federated model's kappa is {sentence} the local-only model's (95\u00a0% interval" in difference_sentence
    assert difference_sentence.count(".") - difference_sentence.count("0.") == 1
    assert verdict in comparison.test_sentence
    assert comparison.p == p


def test_an_undefined_difference_says_so() -> None:
    (comparison,) = compared(None)
    assert "undefined" in comparison.difference_sentence
    assert (comparison.test_sentence, comparison.p, comparison.significant) == ("", "–", False)
    assert tables.verdict((comparison,)) == ""


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        (((0.1, 0.01), (0.2, 0.001), (0.3, 0.2)), "at 2 of 3 sites, and significantly worse at none "),
        (((-0.1, 0.01),), "at none of 1 site, and significantly worse at 1 "),
        (((0.1, 0.01), (None, None)), "at 1 of 1 site, and significantly worse at none "),
    ],
)
def test_the_verdict_counts_sites(differences: tuple[tuple[float | None, float | None], ...], expected: str) -> None:
    every = [compared(*item, site=f"s{number}")[0] for number, item in enumerate(differences)]
    sentence = tables.verdict(tuple(every))
    corrected = " after Holm's correction" if "3 sites" in expected else ""
    assert sentence == (
        f"The federated model is significantly better than the local-only one {expected}(p\u00a0<\u00a00.05{corrected})."
    )


def test_no_difference_is_neither_better_nor_worse() -> None:
    assert "at none of 1 site, and significantly worse at none " in tables.verdict(compared(0.0, 0.01))


def test_only_federated_against_local_decides_the_verdict() -> None:
    (comparison,) = compared(0.1)
    assert tables.verdict((replace(comparison, kind=FINETUNED, other=FEDERATED),)) == ""
