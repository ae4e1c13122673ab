"""A history as the rows of a tracker: every figure with its party, round and moment, and the digest of every file behind them.

Everything comes from signed records, the moments too, so that the same history gives the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from fedcli.exchange.history.global_scores import global_merits
from fedcli.exchange.layout import COORDINATOR
from fedcli.exchange.records import ModelKind
from fedcli.measures import Metric
from fedcli.plan.settings import flat_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.records import EvaluationRecord, Record
    from fedcli.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedValue:
    """One figure.

    Attributes:
        party: Whose: a site's, or the coordinator's for what concerns all sites.
        round: The round; of a model's score the round or epoch of the model.
        metric: Which figure, see docs/track.md.
        value: The figure.
        moment: When the newest record behind it was made, in UTC.
    """

    party: str
    round: int
    metric: str
    value: float
    moment: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedFile:
    """A record or an artifact.

    Attributes:
        party: Whose.
        round: Its round, or the newest one when it was made.
        key: Its key in the drop folder.
        sha256: Its digest as stored.
        moment: When the record was made, in UTC.
    """

    party: str
    round: int
    key: str
    sha256: str
    moment: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedSetting:
    """A setting of the plan by its dotted key: its value when the federation began, and its value now."""

    name: str
    first: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedFederation:
    """Everything that a tracker is told.

    Attributes:
        federation: Digest of the federation's first record.
        name: Its name in the first plan.
        head: Digest of the newest round record.
        statement: What was verified, and against which key.
        began: When the first record was made, in UTC.
        ended: When the record of the last round was made, in UTC; None before that.
        values: By moment, then round, party and metric.
        files: Likewise, by key.
        settings: In the plan's order.
    """

    federation: str
    name: str
    head: str
    statement: str
    began: datetime
    ended: datetime | None
    values: tuple[TrackedValue, ...]
    files: tuple[TrackedFile, ...]
    settings: tuple[TrackedSetting, ...]

    @property
    def parties(self) -> tuple[str, ...]:
        """Everyone with a figure or a file: the coordinator first, then the sites by name."""
        named = {item.party for item in self.values} | {item.party for item in self.files}
        return (COORDINATOR, *sorted(named - {COORDINATOR}))


def tracked(history: History, statement: str) -> TrackedFederation:
    """Return what a tracker is told about a history, which has at least one round.

    Args:
        history: The verified records.
        statement: What was verified, and against which key.
    """
    values = (*_rounds(history), *_global_models(history), *_participation(history), *_updates(history), *_scores(history))
    first, newest = history.federations[0], history.rounds[-1]
    return TrackedFederation(
        federation=first.digest,
        name=first.record.plan.name,
        head=newest.digest,
        statement=statement,
        began=_utc(first),
        ended=_utc(newest) if history.finished else None,
        values=tuple(sorted(values, key=lambda item: (item.moment, item.round, item.party, item.metric))),
        files=tuple(sorted(_files(history), key=lambda item: (item.moment, item.round, item.party, item.key))),
        settings=_settings(first.record.plan, history.plan),
    )


def _rounds(history: History) -> Iterator[TrackedValue]:
    """Yield how many sites each round has used, missed and refused."""
    for closed in history.rounds[1:]:
        record = closed.record
        counts = {
            "contributed": len(record.contributions),
            "absent": len(record.absent) + len(record.excused),
            "rejected": len(record.rejected),
            "late": len(record.late),
        }
        for metric, count in counts.items():
            yield _value(closed, COORDINATOR, record.round, metric, count)
        if record.restart is not None:
            yield _value(closed, COORDINATOR, record.round, "restarted_from", record.restart.round)


def _global_models(history: History) -> Iterator[TrackedValue]:
    """Yield the mean validation kappa and loss of each global model once they are settled.

    The sites score φ(t) when they start round t + 1, so its mean is settled when that round is closed; that of the last one is
    settled when every site that trains has evaluated.
    """
    for number, merit in enumerate(global_merits(history)):
        moment = _settled(history, number)
        for metric, figure in (("validation_kappa", merit.kappa), ("validation_loss", merit.loss)):
            if moment is not None and figure is not None:
                yield TrackedValue(party=COORDINATOR, round=number, metric=metric, value=figure, moment=moment.astimezone(UTC))


def _settled(history: History, number: int) -> datetime | None:
    """Return when the newest record was made on which the mean of φ(t) rests; None where some are still awaited."""
    if number + 1 < len(history.rounds):
        scores = [item.record.created for (_, scored), item in history.updates.items() if scored == number + 1]
        return max([history.rounds[number + 1].record.created, *scores])
    evaluations = [item for item in history.evaluations.values() if item.record.as_of == number]
    if not history.finished or not {item.record.party for item in evaluations}.issuperset(history.trainers):
        return None
    return max(item.record.created for item in evaluations) if evaluations else None


def _participation(history: History) -> Iterator[TrackedValue]:
    """Yield for each round and member whether its update was used, and what a used one counted and how it agreed."""
    for closed in history.rounds[1:]:
        number = closed.record.round
        for item in closed.record.contributions:
            yield _value(closed, item.site, number, "contributed", 1)
            yield _value(closed, item.site, number, "weight", item.weight)
            if item.cosine is not None:
                yield _value(closed, item.site, number, "cosine", item.cosine)
        for site in () if closed.record.restart else closed.record.without:
            yield _value(closed, site, number, "contributed", 0)


def _updates(history: History) -> Iterator[TrackedValue]:
    """Yield what each update says, whether or not it was used."""
    for (site, number), update in history.updates.items():
        record = update.record
        figures = {
            "received_kappa": record.received.kappa,
            "received_loss": record.received.loss,
            "trained_kappa": record.trained.kappa,
            "trained_loss": record.trained.loss,
            "training_loss": record.training_loss,
            "update_norm": record.norm,
            "steps": record.steps,
            "images": record.images,
            "patients": record.patients,
            "seconds": record.seconds,
        }
        for metric, figure in figures.items():
            if figure is not None:
                yield _value(update, site, number, metric, figure)


def _scores(history: History) -> Iterator[TrackedValue]:
    """Yield each newest evaluation: the last global model on validation patients, and every model's kappa on test patients."""
    for site, evaluation in history.evaluations.items():
        last = evaluation.record.final_validation
        for metric, figure in (("received_kappa", last.kappa), ("received_loss", last.loss)) if last else ():
            if figure is not None:
                yield _value(evaluation, site, evaluation.record.as_of + 1, metric, figure)
        yield from _test_scores(site, evaluation)


def _test_scores(site: str, evaluation: Verified[EvaluationRecord]) -> Iterator[TrackedValue]:
    for score in evaluation.record.scores:
        kappa = score.by_case.estimate(Metric.KAPPA).value
        if kappa is not None:
            model = score.model
            whose = model.kind.value if model.kind is ModelKind.GLOBAL else f"{model.kind.value}/{model.party}"
            yield _value(evaluation, site, model.round, f"test_kappa/{whose}", kappa)


def _files(history: History) -> Iterator[TrackedFile]:
    """Yield every record that counts, and its artifacts."""
    records: list[tuple[int, Verified[Record]]] = [(item.record.from_round, item) for item in history.federations]
    records += [(item.record.round, item) for item in history.rounds]
    records += [(number, item) for (_, number), item in history.updates.items()]
    newest = (history.datasets, history.models, history.evaluations)
    records += [(item.record.as_of, item) for kind in newest for item in kind.values()]
    for number, verified in records:
        record = verified.record
        digests = [(verified.key, verified.digest), *((item.key, item.stored_sha256) for item in verified.artifacts)]
        for key, digest in digests:
            yield TrackedFile(party=record.party, round=number, key=key, sha256=digest, moment=_utc(verified))


def _settings(first: Plan, newest: Plan) -> tuple[TrackedSetting, ...]:
    """Return every setting that either plan has."""
    before, now = flat_settings(first), flat_settings(newest)
    return tuple(TrackedSetting(name=key, first=before.get(key, ""), now=now.get(key, "")) for key in {**before, **now})


def _value(verified: Verified[Record], party: str, number: int, metric: str, value: float) -> TrackedValue:
    return TrackedValue(party=party, round=number, metric=metric, value=float(value), moment=_utc(verified))


def _utc(verified: Verified[Record]) -> datetime:
    return verified.record.created.astimezone(UTC)
