"""A site's scores of models on its own patients, each computed once.

The predictions for every image and all figures as computed stay in the workspace (`scores/`), under the digests of the model and
of the prepared data, so that two models can be compared case by case. What is returned is what may be published.
"""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fedcli import __version__, wire
from fedcli.disclosure.published import published_comparisons, published_test, published_validation
from fedcli.disk import write_whole
from fedcli.errors import ConfigurationError
from fedcli.exchange.records import SHARED_KINDS, Comparison, TestScore, ValidationScore
from fedcli.learning.seeds import derive_seed
from fedcli.measures import PairedDifference
from fedcli.plan import Part, Unit

if TYPE_CHECKING:
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import ModelReference, Record, RoundRecord
    from fedcli.learning.evaluation.metrics import Predictions
    from fedcli.party.party import Party
    from fedcli.site.learner import Learner
    from fedcli.site.site_data import SiteData


class Scoring:
    """One site's scoring of shared and global models; torch is imported only for a score that is not in the workspace yet.

    Args:
        party: The site.
        own: Its prepared data.
    """

    def __init__(self, party: Party, own: SiteData) -> None:
        self._party = party
        self._own = own
        self._settings = own.plan.evaluation
        self._settings_digest = wire.digest((self._settings, own.plan.unit))[:8]
        self._seed = derive_seed(own.plan.seed, own.site, "bootstrap")

    @cached_property
    def _learner(self) -> Learner:
        from fedcli.site.learner import Learner  # noqa: PLC0415 - torch takes seconds

        return Learner(self._party.workspace, self._own.plan, self._party.environment.progress)

    def validate(self, verified: Verified[RoundRecord]) -> ValidationScore | None:
        """Return a global model's score on the validation patients, as it is published; None if there are none."""
        if not len(self._own.validation):
            return None
        name = self._name(verified.artifact.content_sha256, "validation.json")
        score = self._party.workspace.load(ValidationScore, name)
        if score is None:
            self._learner.load(self._party.folder.artifacts.fetch(verified, verified.artifact, self._learner.layout))
            score = self._learner.validate(f"global model of round {verified.record.round} on validation patients")
            self._party.workspace.save(name, score)
        return published_validation(score, self._own.level(Part.VALIDATION))

    def test(self, verified: Verified[Record], reference: ModelReference) -> TestScore:
        """Return a model's score on the test patients, as it is published; there must be some."""
        name = self._name(reference.content_sha256, f"{self._settings_digest}-published-{__version__}.json")
        score = self._party.workspace.load(TestScore, name)
        if score is None:
            plan, patients = self._own.plan, self._own.data.cohort.part(Part.TEST).patients
            complete = self._complete(verified, reference)
            score = published_test(complete, patients, self._settings.min_cell, cases_are_patients=plan.unit is Unit.PATIENT)
            self._party.workspace.save(name, score)
        return replace(score, model=reference)  # the same bytes may be in another record

    def compare(self, scores: tuple[TestScore, ...]) -> tuple[Comparison, ...]:
        """Return the comparisons of this site's own models, as they are published: federated with local, fine-tuned with it.

        Args:
            scores: As they are published.
        """
        own = {score.model.kind: score.model for score in scores if score.model.party == self._party.name}
        pairs = [(own[kind], own[before]) for before, kind in pairwise(SHARED_KINDS) if before in own and kind in own]
        compared = tuple(Comparison(model=model, other=other, result=self._difference(model, other)) for model, other in pairs)
        return published_comparisons(compared, scores, self._settings.min_cell)

    def _complete(self, verified: Verified[Record], reference: ModelReference) -> TestScore:
        """Return a model's score as it was computed, now or earlier."""
        name = self._name(reference.content_sha256, f"{self._settings_digest}-complete.json")
        score = self._party.workspace.load(TestScore, name)
        if score is None:
            score = self._measure(self._predictions(verified, reference), reference)
            self._party.workspace.save(name, score)
        return score

    def _difference(self, model: ModelReference, other: ModelReference) -> PairedDifference:
        name = self._name(model.content_sha256, f"{other.content_sha256[:16]}-{self._settings_digest}-complete.json")
        result = self._party.workspace.load(PairedDifference, name)
        if result is None:
            from fedcli.learning.evaluation import bootstrap  # noqa: PLC0415 - scikit-learn takes a second

            first, second = (self._saved(item).by_unit(self._own.test.units) for item in (model, other))
            result = bootstrap.compare(
                first, second, resamples=self._settings.resamples, permutations=self._settings.permutations, seed=self._seed
            )
            self._party.workspace.save(name, result)
        return result

    def _measure(self, images: Predictions, reference: ModelReference) -> TestScore:
        from fedcli.learning.evaluation import bootstrap, metrics  # noqa: PLC0415 - scikit-learn takes a second

        units = self._own.test.units
        cases = images.by_unit(units)
        resamples = self._settings.resamples
        return TestScore(
            model=reference,
            loss=metrics.cross_entropy(images.truth, images.probabilities),
            by_case=bootstrap.measure(cases, np.arange(len(cases.truth)), resamples=resamples, seed=self._seed),
            by_image=bootstrap.measure(images, units, resamples=resamples, seed=self._seed),
        )

    def _predictions(self, verified: Verified[Record], reference: ModelReference) -> Predictions:
        """Return a model's predictions for the test images, computed now or earlier."""
        path = self._party.workspace.path(self._name(reference.content_sha256, "test.npy"))
        if not path.is_file():
            try:  # a model that cannot be used leaves no copy either
                self._learner.load(self._party.folder.artifacts.fetch(verified, verified.artifact, self._learner.layout))
                label = f"{reference.kind.word} model of {reference.party} on test patients"
                buffer = io.BytesIO()
                np.save(buffer, self._learner.predict(self._own.test, label).probabilities, allow_pickle=False)
                write_whole(path, buffer.getvalue())
            finally:
                self._party.folder.artifacts.forget()
        return self._saved(reference)

    def _saved(self, reference: ModelReference) -> Predictions:
        path = self._party.workspace.path(self._name(reference.content_sha256, "test.npy"))
        probabilities = np.load(path, allow_pickle=False)
        expected = (len(self._own.test), len(self._own.plan.classes))
        if probabilities.shape != expected:
            msg = f"{path}: {probabilities.shape}, expected {expected}"
            raise ConfigurationError(msg, hint="remove the file; it is computed again")
        return self._learner.predictions(self._own.test, probabilities)

    def _name(self, content_sha256: str, what: str) -> str:
        return f"scores/{content_sha256[:16]}-{self._own.data.digest[:16]}-{what}"
