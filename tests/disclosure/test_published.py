"""What of each record's content is published, by the number of patients."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedcli.cohort import Rejection
from fedcli.disclosure.levels import Level, absence, least_patients, level_of, published_figure, published_kappa
from fedcli.disclosure.published import published_cohort, published_comparisons, published_test, published_validation
from fedcli.exchange.history import reference_to
from fedcli.exchange.records import Comparison, ModelKind, TestScore, ValidationScore
from fedcli.measures import Estimate, Metric, PairedDifference
from fedcli.plan import Part
from tests.fixtures.history import complete_history
from tests.fixtures.records import cohort, score

REFERENCE = reference_to(complete_history().history.rounds[1])
CONFUSION = ((38, 9, 3, 0), (6, 40, 5, 1), (0, 7, 33, 8), (0, 1, 9, 20))


def measured(patients: int = 180, kappa: float | None = 0.123456) -> TestScore:
    computed = score(REFERENCE, kappa, patients)
    return replace(computed, loss=0.87654, by_case=replace(computed.by_case, confusion=CONFUSION))


def test_levels() -> None:
    assert [level_of(number, 5) for number in (0, 9, 10, 49, 50)] == [
        *(Level.NOTHING, Level.NOTHING, Level.KAPPAS, Level.KAPPAS, Level.ROUNDED)
    ]
    assert level_of(3, 0) is Level.ALL
    assert (least_patients(Level.KAPPAS, 20), least_patients(Level.ROUNDED, 20)) == (40, 200)


def test_with_min_cell_0_everything_is_published_as_it_was_computed() -> None:
    computed = measured(4)
    assert published_test(computed, 4, 0, cases_are_patients=True) is computed
    assert published_cohort(cohort(), (1, 2, 3, 4), 0) == cohort()
    assert published_kappa(-0.123456, Level.ALL) == -0.123456
    assert published_kappa(None, Level.ALL) is None


@pytest.mark.parametrize(("kappa", "some", "many"), [(0.449, 0.4, 0.45), (-0.9, 0.0, 0.0), (None, 0.0, 0.0), (0.996, 1.0, 1.0)])
def test_kappas(kappa: float | None, some: float, many: float) -> None:
    levels = (Level.NOTHING, Level.KAPPAS, Level.ROUNDED)
    assert [published_kappa(kappa, level) for level in levels] == [None, some, many]


def test_a_part_with_few_patients_publishes_their_number() -> None:
    published = published_test(measured(9), 9, 5, cases_are_patients=True)
    assert (published.loss, published.by_case.count, published.by_case.confusion) == (None, 9, None)
    assert all(published.by_case.estimate(metric) == published.by_image.estimate(metric) == Estimate() for metric in Metric)
    validated = published_validation(ValidationScore(patients=9, loss=0.5, kappa=0.5), level_of(9, 5))
    assert validated == ValidationScore(patients=9, loss=None, kappa=None)


def test_a_part_with_some_patients_publishes_a_kappa_of_one_decimal() -> None:
    published = published_test(measured(49), 49, 5, cases_are_patients=True)
    assert (published.loss, published.by_case.kappa) == (None, Estimate(value=0.1))
    others = [metric for metric in Metric if metric is not Metric.KAPPA]
    assert all(published.by_case.estimate(metric) == Estimate() for metric in others)
    assert all(published.by_image.estimate(metric) == Estimate() for metric in Metric)


def test_a_part_with_many_patients_publishes_two_decimals_and_large_cells() -> None:
    published = published_test(measured(), 180, 5, cases_are_patients=True)
    assert (published.loss, published.by_case.kappa) == (0.88, Estimate(value=0.12, interval=(0.07, 0.17)))
    assert published.by_case.confusion is not None
    assert published.by_case.confusion[0] == (38, None, None, None)
    assert published.by_image.confusion is None
    assert published_test(measured(), 180, 5, cases_are_patients=False).by_case.confusion is None


def test_of_a_part_with_a_single_class_only_a_kappa_is_published() -> None:
    """Its accuracy of 1 would say so."""
    single = measured(60, None)
    single = replace(single, by_case=replace(single.by_case, confusion=((60, 0, 0, 0), *((0,) * 4,) * 3)))
    assert published_test(single, 60, 5, cases_are_patients=True).by_case.kappa == Estimate(value=0.0)


def test_comparisons_are_rounded_or_left_out_with_the_scores_behind_them() -> None:
    first, second = (replace(REFERENCE, kind=kind, record=kind.value[0].encode().hex() * 32) for kind in list(ModelKind)[:2])
    result = PairedDifference(cases=180, difference=0.123456, interval=(0.051, 0.199), p_value=0.0123, permutations=10_000)
    item = Comparison(model=first, other=second, result=result)
    scores = tuple(replace(measured(), model=model) for model in (first, second))
    assert published_comparisons((item,), scores, 0) == (item,)
    few = tuple(published_test(each, 49, 5, cases_are_patients=True) for each in scores)
    assert published_comparisons((item,), few, 5) == ()
    many = tuple(published_test(each, 180, 5, cases_are_patients=True) for each in scores)
    (published,) = published_comparisons((item,), many, 5)
    assert published == replace(item, result=replace(result, difference=0.12, interval=(0.05, 0.2), p_value=0.02))


@pytest.mark.parametrize(
    ("exact", "published"),
    [(1.0, 1.0), (0.0501, 0.06), (0.07, 0.07), (0.01, 0.01), (0.0091, 0.01), (0.00011, 0.0002), (1e-4, 1e-4)],
)
def test_a_p_value_is_rounded_up_but_not_so_far_that_many_sites_can_show_nothing(exact: float, published: float) -> None:
    result = PairedDifference(cases=180, difference=0.1, interval=(0.05, 0.2), p_value=exact, permutations=10_000)
    item = Comparison(model=REFERENCE, other=REFERENCE, result=result)
    (rounded,) = published_comparisons((item,), (published_test(measured(), 180, 5, cases_are_patients=True),), 5)
    assert rounded.result.p_value == published


def test_class_counts_are_of_training_images_rounded_and_without_small_classes() -> None:
    train, validation, test = cohort().parts
    parts = (replace(train, patients=100, images=400, class_images=(203, 121, 70, 6)), validation, test)
    whole = replace(cohort(), parts=parts, rejections=(Rejection(reason="a reason", files=1),))
    published = published_cohort(whole, (51, 30, 17, 2), 5)
    assert published.part(Part.TRAIN).class_images == (200, 120, None, None)  # 2 patients alone would follow from the total
    assert {count for part in published.parts[1:] for count in part.class_images} == {None}
    assert (published.part(Part.TRAIN).patients, published.part(Part.TRAIN).images) == (100, 400)
    assert published.rejections == (Rejection(reason="a reason", files=5),)
    small = replace(whole, parts=(replace(parts[0], patients=49), validation, test))
    assert set(published_cohort(small, (20, 20, 7, 2), 5).part(Part.TRAIN).class_images) == {None}


def test_the_words_for_what_is_not_stated() -> None:
    few = published_test(measured(9), 9, 5, cases_are_patients=True).by_case
    some = published_test(measured(49), 49, 5, cases_are_patients=True).by_case
    assert absence(few, Metric.KAPPA, 5) == "withheld (n < 10)"
    assert absence(some, Metric.ACCURACY, 5) == "withheld (n < 50)"
    assert absence(measured(60, None).by_case, Metric.KAPPA, 0) == "undefined"
    assert published_figure(0.12345, Level.ROUNDED) == 0.12
