"""However many records a site with 10 to 14 validation or test patients publishes, at least ten confusion matrices fit them all.

With so few patients, a part's size is published, and for each model a kappa with one decimal that is not below 0. All matrices
of a part have the same sums of rows, the number of patients of each class, which no record states. The search counts, for given
sums, all matrices by the kappa that would be published of them. If there are matrices of these sums for every kappa, then any
series of kappas, of any number of models and rounds, fits these sums, and so do all their matrices.

A list of the matrices would be too long (77 million of 14 patients in 4 classes), so they are counted row by row. A kappa
follows from the sums of the rows and columns and from D, the sum of all distances from the diagonal. Matrices that agree in
these are counted in one number: `counts[c0, c1, c2, D]`, where the last column's sum follows from the others.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedcli import wire
from fedcli.disclosure.levels import Level, level_of, published_kappa
from fedcli.disclosure.matrix import MATRICES
from fedcli.exchange.records import DatasetRecord, EvaluationRecord, ModelRecord, UpdateRecord
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.plan import Evaluation, Part, Split
from fedcli.site.selection import read_best
from tests.fixtures.federation import PLAN, Federation, files_below, prepared_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

CLASSES = 4
KAPPAS = tuple(number / 10 for number in range(11))


def compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to distribute cases over cells."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        yield from ((first, *rest) for rest in compositions(total - first, parts - 1))


def count_matrices(sums: tuple[int, ...]) -> NDArray[np.int64]:
    """Return how many matrices have these sums of rows, by their columns' sums and D."""
    total = sum(sums)
    shape = (*(total + 1,) * (CLASSES - 1), (CLASSES - 1) * total + 1)
    counts = np.zeros(shape, np.int64)
    counts[(0,) * CLASSES] = 1
    for row, of_class in enumerate(sums):
        following = np.zeros(shape, np.int64)
        for cells in compositions(of_class, CLASSES):
            shift = (*cells[:-1], sum(abs(row - column) * number for column, number in enumerate(cells)))
            target = tuple(slice(step, None) for step in shift)
            source = tuple(slice(0, length - step) for step, length in zip(shift, shape, strict=True))
            following[target] += counts[source]
        counts = following
    return counts


@cache
def by_kappa(sums: tuple[int, ...]) -> Counter[float]:
    """Return how many matrices with these sums of rows there are for each published kappa."""
    counts, total = count_matrices(sums), sum(sums)
    found: Counter[float] = Counter()
    for place in np.argwhere(counts):
        *some, distance = map(int, place)
        columns = (*some, total - sum(some))
        expected = sum(abs(i - j) * r * c for (i, r), (j, c) in product(enumerate(sums), enumerate(columns)))
        kappa = 1 - distance * total / expected if expected else None
        found[published_kappa(kappa, Level.KAPPAS) or 0.0] += int(counts[tuple(place)])
    return found


def fitting(patients: int) -> dict[float, int]:
    """Return, for each kappa, how many matrices fit a part whose records hold any number of any kappas."""
    sums = [tuple(number + 2 for number in more) for more in compositions(patients - 2 * CLASSES, CLASSES)]
    possible = [by_kappa(item) for item in sums if all(by_kappa(item)[kappa] for kappa in KAPPAS)]
    return {kappa: sum(item[kappa] for item in possible) for kappa in KAPPAS}


def test_the_count_is_that_of_a_list() -> None:
    """Of 4 patients, the list is short enough to be written out."""
    listed = [np.array(cells).reshape(CLASSES, CLASSES) for cells in compositions(4, CLASSES**2)]
    for sums in ((1, 1, 1, 1), (2, 0, 1, 1), (4, 0, 0, 0)):
        assert count_matrices(sums).sum() == sum(tuple(matrix.sum(axis=1)) == sums for matrix in listed)


@pytest.mark.parametrize("patients", range(10, 15))
def test_at_least_ten_matrices_fit_whatever_a_small_part_publishes(patients: int) -> None:
    assert level_of(patients, 5) is Level.KAPPAS
    assert min(fitting(patients).values()) >= MATRICES


def test_the_exact_kappas_would_leave_one() -> None:
    """What the rule prevents: a kappa with all digits and the classes' numbers identify a matrix."""
    sums = (3, 3, 2, 2)
    assert count_matrices(sums)[3, 3, 2, 0] == 1
    assert by_kappa(sums)[1.0] == 1


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """A federation of one site with about a dozen validation and test patients, from its beginning to its evaluation."""
    plan = replace(PLAN, split=Split(train=0.5, validation=0.25, test=0.25), evaluation=Evaluation())
    folder = tmp_path_factory.mktemp("small")
    federation = Federation(folder, prepared_data(folder, plan, patients=48, sites=("north",)), plan=plan)
    federation.begin().run(plan.rounds)
    evaluate(EvaluateRequest(root=federation.site("north")), federation.environment)
    return federation


@pytest.fixture(scope="module")
def records(small: Federation) -> dict[str, Any]:
    """Everything that the site publishes, by key."""
    kinds = {"dataset/": DatasetRecord, "update.json": UpdateRecord, "models/": ModelRecord, "evaluation/": EvaluationRecord}
    return {
        key: wire.decode(kind, content)
        for key, content in files_below(small.drop / "sites/north").items()
        for part, kind in kinds.items()
        if part in key and key.endswith(".json")
    }


def test_a_small_site_publishes_only_kappas_that_at_least_ten_matrices_fit(records: dict[str, Any]) -> None:
    dataset = next(record for record in records.values() if isinstance(record, DatasetRecord))
    sizes = {part: dataset.cohort.part(part).patients for part in Part}
    assert 10 <= sizes[Part.VALIDATION] <= 14
    assert 10 <= sizes[Part.TEST] <= 14
    assert all(images is None for part in dataset.cohort.parts for images in part.class_images)
    validation: list[float] = []
    test: list[float] = []
    for record in records.values():
        if isinstance(record, UpdateRecord):
            assert (record.training_loss, record.received.loss, record.trained.loss) == (None, None, None)
            validation += [record.received.kappa, record.trained.kappa]
        elif isinstance(record, ModelRecord):
            validation.append(record.kappa)
        elif isinstance(record, EvaluationRecord):
            assert (record.comparisons, record.final_validation.loss) == ((), None)
            validation.append(record.final_validation.kappa)
            for score in record.scores:
                assert score.loss is None
                for measures in (score.by_case, score.by_image):
                    assert [name for name, value in wire.plain(measures).items() if stated(value)] in (
                        ["count", "kappa"],
                        ["count"],
                    )
                test.append(score.by_case.kappa.value)
    assert len(validation) >= 6
    assert test
    for kappas, part in ((validation, Part.VALIDATION), (test, Part.TEST)):
        assert set(kappas) <= set(KAPPAS)
        assert all(fitting(sizes[part])[kappa] >= MATRICES for kappa in kappas)


def test_a_models_choice_says_no_more_than_its_published_kappa(small: Federation, records: dict[str, Any]) -> None:
    (model,) = (record for record in records.values() if isinstance(record, ModelRecord))
    updates = sorted((record for record in records.values() if isinstance(record, UpdateRecord)), key=lambda item: item.round)
    pairs = ((item.received.kappa, item.round - 1, item.trained.kappa, item.round) for item in updates)
    kappas = [pair for first, before, second, number in pairs for pair in ((first, before), (second, number))]
    highest = max(kappa for kappa, _ in kappas)
    assert (model.kappa, model.round) == next((kappa, number) for kappa, number in kappas if kappa == highest)
    best = read_best(small.site("north") / f"state/round-{updates[-1].round:04d}")
    assert (best.kappa, best.round) == (model.kappa, model.round)


def stated(value: Any) -> bool:
    """Return whether a record's value says anything."""
    return any(map(stated, value.values())) if isinstance(value, dict) else value is not None
