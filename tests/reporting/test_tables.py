"""The tables, among them the published study's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedcli.exchange.history import History, reference_to
from fedcli.exchange.records import Late, ModelKind, Rejected
from fedcli.plan import Evaluation, Plan
from fedcli.plan.scored_pairs import sites_to_score
from fedcli.reporting import tables
from fedcli.reporting.formats import agreement
from fedcli.reporting.report_data import gather
from fedcli.reporting.report_files import render
from tests.fixtures.history import HandmadeHistory
from tests.fixtures.records import cohort, score
from tests.reporting.published_study import CLIENTS, DENSENET_BYTES, PAPER_FEDERATED, PAPER_GLOBAL, PAPER_LOCAL, paper_history

LOCAL, FEDERATED, FINETUNED = ModelKind.LOCAL, ModelKind.FEDERATED, ModelKind.FINETUNED
SITES = ("east", "north", "west")


@pytest.fixture(scope="module")
def paper() -> History:
    return paper_history()


def builder(rounds: int = 1, closed: int = 1) -> HandmadeHistory:
    build = HandmadeHistory(SITES, Plan(name="pilot", rounds=rounds))
    build.round()
    for _ in range(closed):
        build.round()
    return build


def test_the_papers_table_2_gives_the_papers_means(paper: History) -> None:
    local = tables.cross_site_table(paper, LOCAL)
    federated = tables.cross_site_table(paper, FEDERATED)
    assert tuple(tuple(cell.kappa for cell in row) for row in local.rows) == PAPER_LOCAL
    assert tuple(tuple(cell.kappa for cell in row) for row in federated.rows) == PAPER_FEDERATED
    assert local.diagonal.value == pytest.approx(4.47 / 7)  # printed as 0.64
    assert local.off_diagonal.value == pytest.approx(7.57 / 42)  # printed as 0.18
    assert federated.diagonal.value == pytest.approx(4.74 / 7)  # printed as 0.68
    assert federated.off_diagonal.value == pytest.approx(11.05 / 42)  # printed as 0.26
    assert (local.diagonal.present, local.off_diagonal.expected) == (7, 42)


def test_the_papers_improvements_as_its_printed_cells_give_them(paper: History) -> None:
    """The paper says 6.3 % and 45.8 %, from unrounded cells; the cells that it prints give 6.0 % and 46.0 %."""
    change = tables.improvement(tables.cross_site_table(paper, LOCAL), tables.cross_site_table(paper, FEDERATED))
    assert change.diagonal.relative == pytest.approx(4.74 / 4.47 - 1)
    assert change.off_diagonal.relative == pytest.approx(11.05 / 7.57 - 1)
    assert round(change.diagonal.relative * 100, 1) == 6.0
    assert round(change.off_diagonal.relative * 100, 1) == 46.0


def test_the_papers_global_row(paper: History) -> None:
    (row,) = tables.global_rows(paper)
    assert tuple(cell.kappa for cell in row.cells) == PAPER_GLOBAL
    assert (row.round, row.newest, row.best) == (3, True, True)
    assert row.mean.value == pytest.approx(sum(PAPER_GLOBAL) / 7)


def test_newest_and_best_global_model_are_two_rows() -> None:
    build = builder(rounds=2, closed=2)
    for number, received in ((1, 0.1), (2, 0.6)):
        build.update("east", number, received, 0.5)
    references = [reference_to(closed) for closed in build.history.rounds]
    build.evaluation("east", [score(references[1], 0.61), score(references[2], 0.41)], final=0.4)
    newest, best = tables.global_rows(build.history)
    assert (newest.round, newest.newest, newest.best, newest.cells[0].kappa) == (2, True, False, 0.41)
    assert (best.round, best.newest, best.best, best.cells[0].kappa) == (1, False, True, 0.61)
    assert best.mean.present == 1
    assert best.mean.expected == 3


def test_a_cell_counts_only_for_the_newest_model_of_its_kind() -> None:
    build = builder()
    first = reference_to(build.model("east", FEDERATED, 1))
    other_kind = reference_to(build.model("east", LOCAL, 1))
    build.model("east", FEDERATED, 2)
    build.evaluation("north", [score(first, 0.5), score(other_kind, 0.3)])
    assert not tables.cross_site_table(build.history, FEDERATED).scored
    assert tables.cross_site_table(build.history, LOCAL).rows[0][1].kappa == 0.3


def test_improvement_counts_only_cells_of_both_tables() -> None:
    build = builder()
    for site in SITES:
        references = {kind: reference_to(build.model(site, kind)) for kind in (LOCAL, FEDERATED)}
        scores = [score(references[FEDERATED], 0.6)]
        if site != "west":
            scores.append(score(references[LOCAL], 0.5 if site == "east" else None))
        build.evaluation(site, scores)
    local, federated = (tables.cross_site_table(build.history, kind) for kind in (LOCAL, FEDERATED))
    change = tables.improvement(local, federated)
    assert federated.diagonal == tables.Mean(value=pytest.approx(0.6), present=3, expected=3)
    assert (change.diagonal.present, change.diagonal.expected) == (1, 3)
    assert change.diagonal.relative == pytest.approx(0.2)
    assert change.off_diagonal.relative is None


@pytest.mark.parametrize("before", [0.0, -0.1])
def test_no_relative_change_from_nothing(before: float) -> None:
    assert tables.MeanChange(before=before, after=0.5, present=1, expected=1).relative is None


def test_a_plan_of_few_pairs_has_no_other_cells_missing() -> None:
    names = tuple(f"site-{number}" for number in range(6))
    plan = Plan(name="pilot", rounds=1, evaluation=Evaluation(other_sites=2))
    build = HandmadeHistory(names, plan)
    build.round()
    build.round()
    models = {site: build.model(site, LOCAL) for site in names}
    for tested_at in names:
        wanted = [site for site in names if tested_at in sites_to_score(plan, site, names)]
        build.evaluation(tested_at, [score(reference_to(models[site]), 0.5) for site in wanted])
    table = tables.cross_site_table(build.history, LOCAL)
    assert (table.diagonal.present, table.diagonal.expected) == (6, 6)
    assert (table.off_diagonal.present, table.off_diagonal.expected) == (12, 12)
    assert sum(cell.scored for row in table.rows for cell in row) == 18
    assert {cell.tooltip.split(": ")[1] for row in table.rows for cell in row if not cell.scored} == {
        "not scored, as the plan has it"
    }
    assert not any("local" in sentence for sentence in tables.missing(build.history))


def test_everyone_draws_the_same_pairs_and_a_new_site_changes_one_at_most() -> None:
    plan = Plan(name="pilot", rounds=1, evaluation=Evaluation(other_sites=3))
    sites = [f"site-{number}" for number in range(12)]
    before = {site: sites_to_score(plan, site, sites) for site in sites}
    assert before == {site: sites_to_score(plan, site, sites[::-1]) for site in sites}
    assert all(len(drawn) == 4 and site in drawn for site, drawn in before.items())
    assert len({drawn - {site} for site, drawn in before.items()}) > 6
    after = {site: sites_to_score(plan, site, [*sites, "new"]) for site in sites}
    assert all(len(before[site] - after[site]) <= 1 for site in sites)
    assert sites_to_score(Plan(name="pilot", rounds=1), "new", sites) == {"new", *sites}


def test_undefined_kappa_is_scored_and_counts_in_no_mean() -> None:
    build = builder()
    build.evaluation("east", [score(reference_to(build.model("east", FEDERATED)), None, patients=0)])
    table = tables.cross_site_table(build.history, FEDERATED)
    assert table.rows[0][0].scored
    assert table.diagonal.value is None
    assert (table.diagonal.present, table.diagonal.expected) == (0, 3)
    assert any("east has no test patients" in sentence for sentence in tables.missing(build.history))


def test_fig_5_is_the_diagonals(paper: History) -> None:
    halves = [tables.cross_site_table(paper, kind) for kind in (LOCAL, FEDERATED, FINETUNED)]
    scores = tables.own_scores(*halves)
    assert [site.site for site in scores] == list(CLIENTS)
    assert [cell.kappa for cell in scores[6].cells] == [0.69, 0.77, 0.79]
    assert scores[6].federated.interval == (0.72, 0.82)


def test_table_1_and_fig_3_and_4(paper: History) -> None:
    table = tables.dataset_table(paper)
    data = table.rows[6].cohort
    assert (data.megapixels, data.detectors, data.image_types, data.bits) == (
        (1.0, 136.0), ("DIRECT", "SCINTILLATOR"), ("2D", "tomosynthesis"), (10, 12),
    )  # fmt: skip
    assert tuple(part.images for part in data.parts) == (4021, 664, 1288)
    shares = tables.class_shares(paper)[6]
    assert sum(shares.shares) == pytest.approx(1)
    assert shares.images[1] < shares.images[0]  # client 7 had almost no category b
    assert sum(shares.images) == 5973
    assert sum(tables.intensities(paper)[0].shares) == pytest.approx(1)


def test_a_removed_members_facts_stay_in_table_1() -> None:
    build = HandmadeHistory(("east", "north"), Plan(name="pilot", rounds=5))
    build.round()
    for site in build.sites:
        build.dataset(site, cohort())
    (first,) = build.history.federations
    left = replace(first.record, members=tuple(item for item in first.record.members if item.site == "north"))
    history = replace(build.history, federations=(first, replace(first, record=left)))
    table = tables.dataset_table(history)
    assert [(row.site, row.removed) for row in table.rows] == [("east", True), ("north", False)]
    assert table.unpublished == ()
    report = gather(history, "verified")
    assert "not a member any more" in render(report, ()).split("Fig. 3")[0]


def test_another_number_of_classes_than_the_plans_is_shown_as_far_as_it_goes() -> None:
    build = builder()
    build.dataset("east", cohort(shares=(0.5, 0.5)))
    (shares,) = tables.class_shares(build.history)
    assert shares.images[2:] == (0, 0)
    assert len(shares.shares) == 4


def test_learning_curves_end_with_the_score_at_evaluation(paper: History) -> None:
    curve = tables.learning_curves(paper)[0]
    assert [point.round for point in curve.points] == [1, 2, 3]
    assert (curve.last_round, curve.last.kappa) == (3, PAPER_GLOBAL[0])
    assert [point.round for point in tables.global_curve(paper)] == [0, 1, 2, 3]


def test_a_cosine_belongs_to_the_update_that_was_used() -> None:
    build = builder(rounds=2, closed=0)
    for number, closing in ((1, {"cosines": {"east": -0.25, "west": None}}), (2, {"absent": ("east",)})):
        for site in SITES:
            build.update(site, number, 0.1, 0.2)
        build.round(**closing)
    cosines = {curve.site: [point.cosine for point in curve.points] for curve in tables.learning_curves(build.history)}
    assert cosines == {"east": [-0.25, None], "north": [0.9, 0.9], "west": [None, 0.9]}
    medians = {site.site: site.median_cosine for site in tables.exchange_table(build.history).sites}
    assert medians == {"east": -0.25, "north": 0.9, "west": 0.9}


def test_participation_puts_the_late_with_the_round_they_missed() -> None:
    build = builder(rounds=3, closed=0)
    build.round(absent=("west",))
    build.round(
        late=(Late(site="west", round=1, update="a" * 64),), rejected=(Rejected(site="north", update=None, reason="NaN"),)
    )
    first, second = tables.participation_by_round(build.history)
    assert (first.contributed, first.absent, first.late) == (("east", "north"), ("west",), ("west",))
    assert (second.contributed, second.rejected[0].reason, second.late) == (("east", "west"), "NaN", ())
    west = tables.participation_by_site(build.history)[2]
    assert (west.contributed, west.absent, west.rejected, west.late) == ((2,), (1,), (), (1,))


def test_exchange_adds_up(paper: History) -> None:
    exchange = tables.exchange_table(paper)
    stored = DENSENET_BYTES
    assert exchange.global_bytes == 4 * stored
    assert exchange.total_bytes == stored * (4 + 7 * 3 + 7 * 3)
    assert exchange.sites[0].training_hours == pytest.approx(3 * 300 / 3600)
    assert exchange.elapsed_hours == pytest.approx(3 * 8 / 60)


def test_nothing_is_missing_from_the_papers_study(paper: History) -> None:
    assert tables.missing(paper) == ()


def test_half_way_names_what_is_missing() -> None:
    build = builder(rounds=5, closed=2)
    build.update("east", 3, 0.2, 0.3)
    build.dataset("north", cohort())
    assert tables.missing(build.history) == (
        "Round 3 of 5 is waiting for north and west: run fedcli train-round.",
        (
            "east and west have not published a dataset summary (Table 1, Fig. 3, Fig. 4): "
            "set share_dataset = true in workspace.toml, then run fedcli train-round."
        ),
        (
            "None of the sites has shared a local-only model: "
            "after round 5, run fedcli finetune --from initial, then fedcli evaluate."
        ),
        "None of the sites has shared a federated model: after round 5, run fedcli evaluate.",
        "None of the sites has shared a fine-tuned model: after round 5, run fedcli finetune, then fedcli evaluate.",
        "None of the sites has published an evaluation: after round 5, run fedcli evaluate.",
    )


def test_who_has_to_do_what_next() -> None:
    empty = HandmadeHistory((), Plan(name="pilot")).history
    assert "fedcli admit" in tables.missing(empty)[0]
    without_rounds = HandmadeHistory(SITES, Plan(name="pilot")).history
    assert "fedcli init" in tables.missing(without_rounds)[0]
    build = builder(rounds=5, closed=0)
    for site in SITES:
        build.update(site, 1, 0.1, 0.2)
    assert tables.missing(build.history)[0] == "Round 1 of 5 has every site's update: the coordinator runs fedcli aggregate."


def test_a_site_that_never_evaluated_and_one_that_lags(paper: History) -> None:
    evaluations = dict(paper.evaluations)
    del evaluations["client4"]
    scores = evaluations["client2"].record.scores
    shorter = tuple(item for item in scores if not (item.model.kind is FEDERATED and item.model.party in {"client1", "client7"}))
    shorter = tuple(item for item in shorter if item.model.kind is not ModelKind.GLOBAL)
    lagging = evaluations["client2"]
    evaluations["client2"] = replace(lagging, record=replace(lagging.record, scores=shorter))
    history = replace(paper, evaluations=evaluations)
    assert tables.missing(history) == (
        "client4 has not published an evaluation: run fedcli evaluate.",
        "client2 has not scored the federated models of client1 and client7: run fedcli evaluate.",
        "client2 has not scored the final global model (round 3): run fedcli evaluate.",
    )
    table = tables.cross_site_table(history, FEDERATED)
    assert (table.diagonal.present, table.off_diagonal.present) == (6, 42 - 6 - 2)


@pytest.mark.parametrize(
    ("kappa", "word"),
    [(None, ""), (-0.2, "none"), (0.0, "none"), (0.004, "none"), (0.2, "slight"), (0.204, "slight"), (0.206, "fair"),
     (0.4, "fair"), (0.41, "moderate"), (0.6, "moderate"), (0.61, "substantial"), (0.8, "substantial"),
     (0.81, "very good"), (1.0, "very good")],
)  # fmt: skip
def test_agreement_words(kappa: float | None, word: str) -> None:
    assert agreement(kappa) == word


def test_provenance(paper: History) -> None:
    assert tables.software(paper)[0].party == "coordinator"
    named = {item.what: item.sha256 for item in tables.digests(paper)}
    assert named["plan"] == paper.plan.digest
    assert named["sites/client1/models/0001-local.json"] == paper.models["client1", LOCAL].digest


def test_sites_that_lack_the_same_share_a_sentence() -> None:
    build = builder()
    build.model("east", LOCAL)
    for site in ("north", "west"):
        build.evaluation(site, [])
    sentences = tables.missing(build.history)
    assert "north and west have not scored the local-only model of east: run fedcli evaluate." in sentences
    assert "north and west have not scored the final global model (round 1): run fedcli evaluate." in sentences
