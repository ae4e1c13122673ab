"""All metrics of the scores that count, confusion matrices, the chosen model and its limits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import MissingError, UsageError
from fedcli.exchange.history import History, reference_to
from fedcli.exchange.records import ModelKind, Rejected
from fedcli.measures import Estimate
from fedcli.plan import Evaluation, Plan
from fedcli.reporting import tables
from tests.fixtures.history import HandmadeHistory
from tests.fixtures.records import measures, score
from tests.reporting.published_study import CLIENTS, PAPER_GLOBAL, paper_history

if TYPE_CHECKING:
    from fedcli.exchange.records import TestScore

LOCAL, FEDERATED = ModelKind.LOCAL, ModelKind.FEDERATED


@pytest.fixture(scope="module")
def paper() -> History:
    return paper_history()


def two_rounds() -> HandmadeHistory:
    """Return a finished federation of two sites whose first global model is the best one."""
    build = HandmadeHistory(("east", "west"), Plan(name="pilot", rounds=2))
    build.round()
    for number, received in ((1, 0.1), (2, 0.6)):
        for site in build.sites:
            build.update(site, number, received, 0.5)
        build.round(rejected=(Rejected(site="west", update=None, reason="NaN"),) if number == 1 else ())
    return build


def limits(history: History, name: str = "best") -> tuple[str, ...]:
    chosen = tables.choose(history, name, tables.site_scores(history))
    assert chosen is not None
    return tables.limits(history, chosen)


def altered(original: TestScore, **changes: object) -> TestScore:
    return replace(original, by_case=replace(original.by_case, **changes))


def test_every_score_that_counts(paper: History) -> None:
    scores = tables.site_scores(paper)
    assert len(scores) == 7 * (3 * 7 + 1)
    assert sum(item.own for item in scores) == 3 * 7
    older = {**paper.models}
    older["client1", LOCAL] = replace(older["client1", LOCAL], digest="0" * 64)
    assert len(tables.site_scores(replace(paper, models=older))) == len(scores) - 7


def test_the_tables_that_decide(paper: History) -> None:
    federated, final = tables.score_tables(paper, tables.site_scores(paper))
    assert [item.tested_at for item in federated.rows] == list(CLIENTS)
    assert all(item.own and item.score.model.kind is FEDERATED for item in federated.rows)
    assert final.title == "The best and final global model (round 3 of 3) on every site's patients"
    assert tuple(item.score.by_case.kappa.value for item in final.rows) == PAPER_GLOBAL


def test_best_and_final_are_two_tables_that_name_who_lacks() -> None:
    build = two_rounds()
    references = [reference_to(closed) for closed in build.history.rounds]
    build.evaluation("east", [score(reference, 0.5) for reference in references[1:]], final=0.4)
    best, final = tables.score_tables(build.history, tables.site_scores(build.history))
    assert best.title.startswith("The best global model (round 1 of 2)")
    assert final.title.startswith("The final global model (round 2 of 2)")
    assert best.lacking == final.lacking == ("west",)


def test_before_any_validation_no_model_is_called_best() -> None:
    build = HandmadeHistory(("east",), Plan(name="pilot", rounds=2))
    build.round()
    chosen = tables.choose(build.history, "best", ())
    assert chosen is not None
    assert (chosen.title, chosen.validation_kappa) == ("the newest global model (round 0 of 2)", None)
    assert chosen.trained_on == ()


def test_what_is_measured_follows_the_plan() -> None:
    assert [metric.value for metric in tables.metrics_of(Plan(name="x"))][-2:] == ["dense_auc", "calibration_error"]
    assert "dense_auc" not in {metric.value for metric in tables.metrics_of(Plan(name="x", evaluation=Evaluation(dense=())))}


def test_shares_of_a_confusion_matrix() -> None:
    original = replace(measures(0.5, 40), confusion=((6, 2), (0, 0)))
    (right, wrong), (empty, _) = tables.confusion(original)
    assert (right.share, wrong.share, empty.count, empty.share) == (0.75, 0.25, 0, None)


def test_a_withheld_cell_leaves_its_row_no_share() -> None:
    original = replace(measures(0.5, 40), confusion=((6, None), (1, 3)))
    first, second = tables.confusion(original)
    assert [(cell.count, cell.share) for cell in first] == [(6, None), (None, None)]
    assert [cell.share for cell in second] == [0.25, 0.75]
    assert tables.confusion(replace(original, confusion=None)) is None


def test_classes_of_another_plan_are_numbered() -> None:
    assert tables.class_names(("a", "b"), 2) == ("a", "b")
    assert tables.class_names(("a", "b"), 3) == ("1", "2", "3")


def test_choosing_the_best_and_the_final_model() -> None:
    build = two_rounds()
    history = build.history
    best, final = (tables.choose(history, name, ()) for name in ("best", "final"))
    assert best is not None
    assert final is not None
    assert (best.verified.digest, best.validation_kappa) == (history.rounds[1].digest, pytest.approx(0.6))
    assert best.trained_on == (("east", 1),)
    assert final.verified.digest == history.rounds[2].digest
    assert final.trained_on == (("east", 2), ("west", 1))
    assert final.site is None
    assert final.signature == f"coordinator/round-0002/round.json.{final.verified.digest[:12]}.sig"


def test_an_update_without_weight_trained_no_model() -> None:
    build = two_rounds()
    last = build.history.rounds[-1]
    unused = tuple(replace(item, weight=0) if item.site == "west" else item for item in last.record.contributions)
    rounds = (*build.history.rounds[:-1], replace(last, record=replace(last.record, contributions=unused)))
    chosen = tables.choose(replace(build.history, rounds=rounds), "final", ())
    assert chosen is not None
    assert chosen.trained_on == (("east", 2),)


def test_choosing_a_sites_model(paper: History) -> None:
    chosen = tables.choose(paper, "client2/federated", tables.site_scores(paper))
    assert chosen is not None
    assert (chosen.site, chosen.title) == ("client2", "the federated model of client2 (round 3)")
    assert len(chosen.scores) == 7
    assert chosen.mean_elsewhere == pytest.approx((0.22 + 0.11 + 0.04 + 0.0 + 0.0 - 0.01) / 6)
    local = tables.choose(paper, "client2/local", ())
    assert local is not None
    assert (local.trained_on, local.lacking) == ((("client2", 0),), CLIENTS)


@pytest.mark.parametrize("name", ["", "newest", "client9", "client1/global", "client9/local", "client1/local/x", "../local"])
def test_no_such_model(paper: History, name: str) -> None:
    with pytest.raises(UsageError, match="no such model; the sites are client1, ") as caught:
        tables.choose(paper, name, ())
    assert "SITE/KIND" in caught.value.hint


def test_a_model_that_is_not_there_yet() -> None:
    build = HandmadeHistory(("east",), Plan(name="pilot", rounds=2))
    assert tables.choose(build.history, "best", ()) is None
    build.round()
    with pytest.raises(MissingError, match="no final model yet: round 0 of 2"):
        tables.choose(build.history, "final", ())
    with pytest.raises(MissingError, match="east has shared no local-only model"):
        tables.choose(build.history, "east/local", ())


def test_limits_of_a_model_that_nobody_scored() -> None:
    sentences = limits(two_rounds().history, "final")
    assert sentences[0] == "No site has scored it on its test patients, so its performance is unknown."
    assert "The data of east and west are unknown: no dataset summary has been published." in sentences
    assert "In 1 of the 2 rounds that produced it, a site did not contribute: west." in sentences


def test_limits_follow_from_the_scores() -> None:
    build = two_rounds()
    reference = reference_to(build.history.rounds[2])
    few = score(reference, 0.45, patients=40, width=0.2)
    few = altered(
        few, calibration_error=Estimate(value=0.21), confusion=((10, 0, 0, 0), (0, 20, 0, 0), (0, 0, 5, 5), (0, 0, 0, 0))
    )
    build.evaluation("east", [few])
    sentences = limits(build.history, "final")
    assert "Its performance on the patients of west is unknown: it has not been scored there." in sentences
    assert (
        "At east, the 95\u00a0% interval of its kappa is 0.25 to 0.65 (40 cases): anything from fair to substantial agreement."
        in sentences
    )
    assert "Classes with fewer than 20 test cases: a at east (10), c at east (10) and d at east (0)." in sentences
    assert "Its probabilities are poorly calibrated: calibration error above 0.1 at east (0.21)." in sentences


def test_limits_of_weak_undefined_and_withheld_scores() -> None:
    build = two_rounds()
    reference = reference_to(build.history.rounds[2])
    build.evaluation("east", [altered(score(reference, 0.3), confusion=None)])
    build.evaluation("west", [score(reference, None, patients=100)])
    sentences = limits(build.history, "final")
    assert "Its kappa is undefined at west." in sentences
    assert "Its agreement is at most fair (kappa 0.40 or lower) at east (0.30)." in sentences
    assert any(sentence.startswith("Small cells of the confusion matrices of east are withheld") for sentence in sentences)


def test_a_good_model_has_no_limit_but_privacy(paper: History) -> None:
    sentences = limits(paper, "client7/federated")
    assert len([sentence for sentence in sentences if "client7 (" in sentence]) == 0
    assert sentences[-1].startswith("It was trained without differential privacy")


def test_a_shared_model_is_found_by_its_record() -> None:
    build = two_rounds()
    reference = reference_to(build.model("east", FEDERATED))
    build.evaluation("west", [score(reference, 0.7)])
    chosen = tables.choose(build.history, "east/federated", tables.site_scores(build.history))
    assert chosen is not None
    assert (chosen.mean_elsewhere, chosen.lacking) == (0.7, ("east",))
