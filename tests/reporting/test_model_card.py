"""The model card: complete with and without evaluations, and Markdown that means what peers wrote."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fedcli.exchange.history import History, Problem, reference_to
from fedcli.exchange.records import ModelKind
from fedcli.plan import About, Choice, Evaluation, Plan
from fedcli.reporting import model_card
from fedcli.reporting.figures import illustrations
from fedcli.reporting.report_data import gather
from fedcli.reporting.report_files import render as page_of
from fedcli.text.visible_text import visible
from tests.fixtures.history import HandmadeHistory
from tests.fixtures.records import cohort, score
from tests.reporting.published_study import paper_history

HEADINGS = [
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
    "Provenance",
]
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def render(history: History, model: str = "best", statement: str = "verified; coordinator SHA256:abc") -> str:
    report = gather(history, statement, model)
    assert report.chosen is not None
    return model_card.render(report, report.chosen)


def half_way() -> HandmadeHistory:
    build = HandmadeHistory(("east", "north"), Plan(name="pilot", rounds=5))
    build.round()
    build.update("east", 1, 0.1, 0.2)
    return build


def test_the_plans_words_about_the_study_are_in_the_card() -> None:
    about = About(institutions=("North Hospital", "Valley"), contact="a@b.example", licence="CC BY 4.0", intended_use="triage")
    build = HandmadeHistory(("east", "north"), Plan(name="pilot", rounds=5, about=about))
    build.round()
    build.update("east", 1, 0.1, 0.2)
    text = MARKDOWN.render(render(build.history))
    for words in ("North Hospital and Valley", "a@b.example", "CC BY 4.0", "triage"):
        assert words in text
    assert "the plan names none; ask the parties" in render(half_way().history)


def headings(text: str) -> list[str]:
    return [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]


def tables_of(text: str) -> list[list[int]]:
    """Return the number of cells of each row of each table."""
    tables: list[list[int]] = []
    for token in MARKDOWN.parse(text):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append(0)
        elif token.type in {"td_open", "th_open"}:
            tables[-1][-1] += 1
    return tables


@pytest.fixture(scope="module")
def paper() -> History:
    return paper_history()


def test_the_papers_card(paper: History) -> None:
    text = render(paper)
    assert text.startswith("# Model card: breast-density, the best and final global model (round 3 of 3)\n")
    assert headings(text) == HEADINGS
    assert "Verification: verified; coordinator SHA256:abc." in text
    assert "| client7 | 322 | 0.09 [0.04 to 0.14] |" in text
    assert "| client3 | 3 | 11\u202f028 | 44\u202f115 | 11 % | 46 % | 36 % | 7 % |" in text
    assert "Its agreement is at most fair (kappa 0.40 or lower) at client4 (0.31), client6 (0.31) and client7 (0.09)." in text
    assert [len(rows) for rows in tables_of(text)] == [8, 8, 8, 8, 6]
    assert all(len(set(rows)) == 1 for rows in tables_of(text))


def test_provenance_names_what_to_verify(paper: History) -> None:
    text = render(paper)
    model = paper.rounds[-1]
    assert f"| the federation’s first record | `{paper.federations[0].digest}` |" in text
    assert f"--expect-head {model.digest} " in text
    assert f"DROP/coordinator/round-0003/round.json.{model.digest[:12]}.sig < DROP/coordinator/round-0003/round.json\n" in text
    assert f"sha256sum DROP/{model.artifact.key}\n" in text
    assert f"The last line must print `{model.artifact.stored_sha256}`." in text


@pytest.mark.parametrize("kind", ["local", "federated", "finetuned"])
def test_a_sites_card(paper: History, kind: str) -> None:
    text = render(paper, f"client2/{kind}")
    assert headings(text) == HEADINGS
    assert "| client2 (its own) | 642 |" in text
    assert "Mean kappa over the other sites: " in text
    assert "At client2, the federated model's kappa is 0.09 higher than the local-only model's" in text
    assert ("trained at client2 only, from the initial model" in text) == (kind == "local")
    assert ("In each of 3 rounds, every site trains" in text) == (kind != "local")
    assert f"sites/client2/models/0001-{kind}.json" in text


def test_without_evaluations_it_says_so() -> None:
    text = render(half_way().history)
    assert headings(text) == HEADINGS
    assert "No site has scored it yet." in text
    assert "None: these are the initial weights." in text
    assert "No site has published a dataset summary." in text
    assert "- Still missing: Round 1 of 5 is waiting for north: run fedcli train-round." in text
    assert len(tables_of(text)) == 1


def test_a_site_without_a_dataset_summary_has_a_row_too() -> None:
    build = half_way()
    build.update("north", 1, 0.1, 0.2)
    build.round()
    build.dataset("east", cohort())
    build.update("east", 2, 0.5, 0.6)
    text = render(build.history)
    assert "| north | 1 | not published | not published | – | – | – | – |" in text
    assert all(len(set(rows)) == 1 for rows in tables_of(text))


def test_verification_problems_are_at_its_top() -> None:
    history = replace(half_way().history, problems=(Problem(key="x", message="bad signature"),))
    text = render(history, statement="NOT verified")
    assert "**Verification found 1 problem in the drop folder.**" in text[: text.index("## Model details")]


def test_the_same_records_give_the_same_card(paper: History) -> None:
    assert render(paper) == render(paper_history())


def test_what_peers_write_stays_text() -> None:
    hostile = "a|b`c`<img src=x>[d](http://e.f)*g*"
    classes = (hostile, "# b - c", "www.example.org", "![x](y)")
    build = HandmadeHistory(
        ("east",), Plan(name="<script> & _x_ [y](z)", rounds=1, classes=classes, evaluation=Evaluation(dense=(hostile,)))
    )
    build.round()
    build.update("east", 1, 0.1, 0.2)
    build.round()
    build.dataset("east", cohort(detectors=("**D**|",)))
    build.evaluation("east", [score(reference_to(build.history.rounds[-1]), 0.5)])
    text = render(build.history, "final", statement="<b>verified</b>")
    assert headings(text) == HEADINGS
    assert [set(rows) for rows in tables_of(text)] == [{5}, {3}, {8}, {9}, {2}]
    inline = [child for token in MARKDOWN.parse(text) for child in token.children or ()]
    assert not [token for token in inline if token.type in {"link_open", "image", "html_inline", "em_open"}]
    shown = " ".join(token.content for token in inline if token.type == "text")
    assert "<script> & _x_ [y](z)" in shown
    assert hostile in shown


@given(st.text())
def test_escaped_text_reads_as_it_was_written(text: str) -> None:
    escaped = model_card.escape(f"x {text} x")
    (_, inline, _) = MARKDOWN.parse(escaped)
    assert {token.type for token in inline.children} == {"text"}
    shown = "".join(token.content for token in inline.children)
    assert shown.split() == visible(f"x {text} x").split()


def test_card_and_page_say_that_a_mean_of_kappas_decided() -> None:
    build = HandmadeHistory(("east", "north"), Plan(name="pilot", rounds=5, evaluation=Evaluation(choice=Choice.SMOOTHED)))
    build.round()
    for number, kappa in enumerate((0.9, 0.3, 0.8, 0.2, 0.3), 1):
        for site in build.sites:
            build.update(site, number, received=kappa, loss=0.5)
        build.round()
    report = gather(build.history, "verified")
    assert report.chosen is not None
    assert report.chosen.reference.round == 2  # means 0.3, 0.55, 0.43, 0.43
    means = "the mean of its kappa and those of up to two candidates before it, each on validation patients: its own is 0.800"
    assert means in model_card.render(report, report.chosen).replace("\\", "")
    page = page_of(report, illustrations(report))
    assert "The best global model has the highest smoothed mean of validation kappa" in page
    assert "chosen for the mean of its validation kappa of 0.80 and those of up to two candidates before it." in page


def test_the_limits_name_the_smoothed_kappa_that_is_equal() -> None:
    build = HandmadeHistory(("east", "north"), Plan(name="pilot", rounds=5, evaluation=Evaluation(choice=Choice.SMOOTHED)))
    build.round()
    for number in (1, 2, 3):
        for site in build.sites:
            build.update(site, number, received=0.3, loss=1.0 / number)
        build.round()
    report = gather(build.history, "verified")
    assert "Its smoothed validation kappa equals that of other candidates" in " ".join(report.limits)
    assert "because smoothed validation kappas are equal or undefined" in page_of(report, illustrations(report))


def test_card_and_page_say_that_the_plan_wants_the_lowest_loss() -> None:
    build = HandmadeHistory(("east", "north"), Plan(name="pilot", rounds=5, evaluation=Evaluation(choice=Choice.LOWEST_LOSS)))
    build.round()
    for number, (kappa, loss) in enumerate(((0.9, 0.1), (0.8, 0.9), (0.2, 0.5)), 1):
        for site in build.sites:
            build.update(site, number, received=kappa, loss=loss)
        build.round()
    report = gather(build.history, "verified")
    assert report.chosen is not None
    assert report.chosen.reference.round == 2
    assert "**Chosen by**: the lowest loss on validation patients: 0.500" in model_card.render(report, report.chosen).replace(
        "\\", ""
    )
    assert not any("kappa equals" in sentence for sentence in report.limits)
    page = page_of(report, illustrations(report))
    assert "chosen for the lowest validation loss." in page
    assert "has the lowest mean of validation loss" in page
    assert "Chosen by the lowest validation loss, as the plan says: the best global model." in page


def test_few_validation_patients_are_named_where_they_chose_a_model() -> None:
    build = half_way()
    build.dataset("east", cohort(images=(700, 4 * 39, 200)))
    build.dataset("north", cohort(images=(700, 4 * 40, 200)))
    for site in ("east", "north"):
        build.model(site, ModelKind.LOCAL)
    sentence = "It was chosen by 39 validation patients: a standard error of their kappa is 0.08"
    assert sentence in render(build.history, "east/local")
    assert "It was chosen by" not in render(build.history, "north/local")
    page = page_of(gather(build.history, "verified", "best"), {})
    assert "On fewer than 40 validation patients" in page
    assert "their number in parentheses): east (39) (" in page


def test_only_the_best_model_is_said_to_be_chosen_and_by_what_is_published() -> None:
    plan = Plan(name="pilot", rounds=2, evaluation=Evaluation(choice=Choice.LOWEST_LOSS))
    build = HandmadeHistory(("east", "north"), plan)
    build.round()
    for number, kappa in enumerate((0.2, 0.9, 0.1), 1):
        for site in build.sites:
            build.update(site, number, received=kappa)
        build.round()
    best, newest = (gather(build.history, "verified", model) for model in ("best", "global"))
    assert best.chosen is not None
    assert newest.chosen is not None
    assert best.chosen.reference.round == 1  # its kappa of 0.9 was published by the updates of round 2
    assert "chosen for its validation kappa of 0.90" in page_of(best, illustrations(best))
    assert "chosen for" not in page_of(newest, illustrations(newest))
    assert "**Chosen by**: name, not by its scores" in model_card.render(newest, newest.chosen)
