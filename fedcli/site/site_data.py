"""A site's prepared data under a plan, and what it publishes of them; nothing here needs torch."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from fedcli import wire
from fedcli.disclosure.levels import level_of
from fedcli.disclosure.published import published_cohort, published_validation
from fedcli.errors import DataError
from fedcli.exchange import layout
from fedcli.exchange.records import DatasetRecord
from fedcli.exchange.succession import newest_seen
from fedcli.imaging.dataset import prepared_dataset
from fedcli.learning.samples import Samples
from fedcli.measures import Merit
from fedcli.party.party import publication
from fedcli.plan import Part, Unit

if TYPE_CHECKING:
    from fedcli.disclosure.levels import Level
    from fedcli.exchange.outbox import Publication
    from fedcli.exchange.records import ValidationScore
    from fedcli.imaging.dataset.prepared_dataset import PreparedDataset
    from fedcli.party.party import Party
    from fedcli.plan import Plan
    from fedcli.workspace import Workspace


class SiteData:
    """A site's data.

    Attributes:
        plan: The plan in force.
        site: The site's name.
    """

    def __init__(self, workspace: Workspace, plan: Plan) -> None:
        self.plan = plan
        self.site = workspace.settings.name
        self._workspace = workspace

    @cached_property
    def data(self) -> PreparedDataset:
        """The prepared data, checked against the plan."""
        may_be_empty = self._workspace.parts_that_may_be_empty(self.plan)
        return prepared_dataset.load(self._workspace.prepared_path, wire.digest(self.plan.preparation), may_be_empty)

    def samples(self, part: Part) -> Samples:
        """Return the images of one part, memory-mapped; a case is the plan's unit."""
        data = self.data
        rows = data.rows(part)
        patients = np.array(data.patients[rows], dtype=str)
        cases = patients if self.plan.unit is Unit.PATIENT else np.array(data.studies[rows], dtype=str)
        _, units = np.unique(cases, return_inverse=True)
        return Samples(
            images=data.images[rows],
            labels=data.labels[rows],
            units=units.astype(np.int64),
            num_classes=len(self.plan.classes),
            patients=patients,
        )

    @cached_property
    def validation(self) -> Samples:
        """The validation images; may be empty if the plan allows it."""
        return self.samples(Part.VALIDATION)

    @cached_property
    def test(self) -> Samples:
        """The test images; may be empty if the plan allows it."""
        return self.samples(Part.TEST)

    def level(self, part: Part) -> Level:
        """Return what is published about a part."""
        return level_of(self.data.cohort.part(part).patients, self.plan.evaluation.min_cell)

    def merit(self, score: ValidationScore) -> Merit:
        """Return by what a model is chosen: the figures that may be published, since the choice is published too."""
        published = published_validation(score, self.level(Part.VALIDATION))
        return Merit(kappa=published.kappa, loss=published.loss, patients=published.patients)

    @cached_property
    def training_patients(self) -> tuple[int, ...]:
        """The training patients of each class."""
        rows = self.data.rows(Part.TRAIN)
        pairs = set(zip(self.data.patients[rows], self.data.labels[rows].tolist(), strict=True))
        return tuple(sum(label == number for _, label in pairs) for number in range(len(self.plan.classes)))


def dataset_record(party: Party, own: SiteData) -> tuple[str | None, tuple[Publication, ...]]:
    """Return the digest of the newest record of the site's data, and that record if it is to be published now.

    There is a new record if the data have changed, and none if the operator does not share them.
    """
    if not party.workspace.settings.share_dataset:
        return None, ()
    ledger, newest = party.ledger, next(party.folder.datasets(party.name), None)
    cohort = published_cohort(own.data.cohort, own.training_patients, own.plan.evaluation.min_cell)
    if newest is not None and newest.record.cohort == cohort:
        return newest.digest, ()
    key_of = partial(layout.dataset, party.name)
    number = layout.free_number(newest.record.number if newest else 0, key_of, party.store.stat)
    record = DatasetRecord(
        federation=ledger.identity,
        party=party.name,
        created=party.environment.clock(),
        versions=party.versions(),
        number=number,
        as_of=ledger.newest_round,
        seen=newest_seen(ledger.rounds),
        cohort=cohort,
    )
    dataset = publication(key_of(number), record)
    return dataset.digest, (dataset,)


def require_images(samples: Samples, site: str, part: Part) -> None:
    """Raise a DataError if a part that is needed has no images."""
    if not len(samples):
        msg = f"{site}: the prepared data have no {part} images"
        raise DataError(msg, hint="prepare more patients, or give an explicit split")
