"""What the federation cost: bytes in the drop folder, hours, how far each site's updates went and how far they agreed."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fedcli.exchange.history import History
    from fedcli.exchange.records import Artifact, UpdateRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteExchange:
    """One site's part.

    Attributes:
        site: The site.
        updates: Updates that it published.
        update_bytes: Bytes of their artifacts as stored.
        model_bytes: Bytes of the newest models that it shares.
        training_hours: Hours spent in training, as the site states them.
        steps: Local steps of all rounds.
        median_norm: Median Euclidean norm of its updates; None where there are none.
        last_norm: Norm of its newest update; likewise.
        median_cosine: Median cosine of the angle between its update and the step of all; None where it has none.
        devices: Where it trained, sorted.
    """

    site: str
    updates: int
    update_bytes: int
    model_bytes: int
    training_hours: float
    steps: int
    median_norm: float | None
    last_norm: float | None
    median_cosine: float | None
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeFacts:
    """The exchange as a whole.

    Attributes:
        sites: Every site that published an update or a model, and every member, by name.
        global_bytes: Bytes of all global models as stored.
        elapsed_hours: From the first round record to the newest, by the coordinator's clock; None before the first round.
    """

    sites: tuple[SiteExchange, ...]
    global_bytes: int
    elapsed_hours: float | None

    @property
    def total_bytes(self) -> int:
        """Bytes of all artifacts that the history names."""
        return self.global_bytes + sum(site.update_bytes + site.model_bytes for site in self.sites)


def exchange_facts(history: History) -> ExchangeFacts:
    """Return bytes, hours and norms."""
    updates: dict[str, list[UpdateRecord]] = {site: [] for site in history.sites}
    for (site, _), found in sorted(history.updates.items()):
        updates.setdefault(site, []).append(found.record)
    rounds = [found.record for found in history.rounds]
    return ExchangeFacts(
        sites=tuple(_site(history, site, updates[site]) for site in sorted(updates)),
        global_bytes=_stored(artifact for record in rounds for artifact in record.artifacts),
        elapsed_hours=(rounds[-1].created - rounds[0].created).total_seconds() / 3600 if len(rounds) > 1 else None,
    )


def _site(history: History, site: str, updates: list[UpdateRecord]) -> SiteExchange:
    shared = [found.record for (owner, _), found in history.models.items() if owner == site]
    norms = [update.norm for update in updates]
    contributions = (item for found in history.rounds for item in found.record.contributions)
    cosines = [item.cosine for item in contributions if item.site == site and item.cosine is not None]
    return SiteExchange(
        site=site,
        updates=len(updates),
        update_bytes=_stored(artifact for update in updates for artifact in update.artifacts),
        model_bytes=_stored(artifact for model in shared for artifact in model.artifacts),
        training_hours=sum(update.seconds for update in updates) / 3600,
        steps=sum(update.steps for update in updates),
        median_norm=median(norms) if norms else None,
        last_norm=norms[-1] if norms else None,
        median_cosine=median(cosines) if cosines else None,
        devices=tuple(sorted({update.device for update in updates})),
    )


def _stored(artifacts: Iterable[Artifact]) -> int:
    return sum(artifact.stored_size for artifact in artifacts)
