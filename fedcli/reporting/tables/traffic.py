"""What the federation cost, and its updates: bytes in the drop folder, hours, norms and cosines."""

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
    """One site's part of the exchange.

    Attributes:
        site: The site.
        updates: Updates that it has published.
        update_bytes: Bytes of their artifacts as stored.
        model_bytes: Bytes of the newest models that it shares.
        training_hours: Hours of training, as reported by the site; None where it withholds them.
        steps: Local steps of all rounds.
        median_norm: Median Euclidean norm of its updates; None where there are none, or all are masked.
        last_norm: Norm of its newest update that is not masked; None where there is none.
        median_cosine: Median cosine between its updates and the combined step; None where there is none.
        devices: Devices that it trained on, sorted.
    """

    site: str
    updates: int
    update_bytes: int
    model_bytes: int
    training_hours: float | None
    steps: int
    median_norm: float | None
    last_norm: float | None
    median_cosine: float | None
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeTable:
    """The exchange as a whole.

    Attributes:
        sites: Every member and every site that has published an update, by name.
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


def exchange_table(history: History) -> ExchangeTable:
    """Return the exchange by site and in total."""
    updates: dict[str, list[UpdateRecord]] = {site: [] for site in history.sites}
    for (site, _), update in sorted(history.updates.items()):
        updates.setdefault(site, []).append(update.record)
    rounds = [closed.record for closed in history.rounds]
    return ExchangeTable(
        sites=tuple(_site(history, site, updates[site]) for site in sorted(updates)),
        global_bytes=_stored(artifact for record in rounds for artifact in record.artifacts),
        elapsed_hours=(rounds[-1].created - rounds[0].created).total_seconds() / 3600 if len(rounds) > 1 else None,
    )


def _site(history: History, site: str, updates: list[UpdateRecord]) -> SiteExchange:
    shared = [model.record for (owner, _), model in history.models.items() if owner == site]
    seconds = [update.seconds for update in updates if update.seconds is not None]
    norms = [update.norm for update in updates if update.norm is not None]
    contributions = (item for closed in history.rounds for item in closed.record.contributions)
    cosines = [item.cosine for item in contributions if item.site == site and item.cosine is not None]
    return SiteExchange(
        site=site,
        updates=len(updates),
        update_bytes=_stored(artifact for update in updates for artifact in update.artifacts),
        model_bytes=_stored(artifact for model in shared for artifact in model.artifacts),
        training_hours=sum(seconds) / 3600 if len(seconds) == len(updates) else None,
        steps=sum(update.steps for update in updates),
        median_norm=median(norms) if norms else None,
        last_norm=norms[-1] if norms else None,
        median_cosine=median(cosines) if cosines else None,
        devices=tuple(sorted({update.device for update in updates})),
    )


def _stored(artifacts: Iterable[Artifact]) -> int:
    return sum(artifact.stored_size for artifact in artifacts)
