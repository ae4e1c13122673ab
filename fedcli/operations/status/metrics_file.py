"""The state of a federation for Prometheus, as a file for node_exporter's textfile collector."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedcli.notice_settings import NoticeKind
from fedcli.operations.status.severity import severity_of
from fedcli.party.history.newest_rounds import UpdateState
from fedcli.results import Status
from fedcli.text.visible_text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from fedcli.operations.status.lasting_notices import Viewpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One metric.

    Attributes:
        name: Without the prefix `fedcli_`.
        explanation: In one line.
        samples: Values, each with the labels that it has beside the federation.
    """

    name: str
    explanation: str
    samples: tuple[tuple[dict[str, str], float], ...] = field(default=())


def metrics_text(viewpoint: Viewpoint) -> str:
    """Return all metrics in Prometheus' text format; one that has no value is left out."""
    common = {"federation": viewpoint.state.name}
    lines = []
    for gauge in (*_of_the_round(viewpoint), *_of_the_sites(viewpoint), *_of_the_party(viewpoint)):
        if gauge.samples:
            lines += [f"# HELP fedcli_{gauge.name} {gauge.explanation}", f"# TYPE fedcli_{gauge.name} gauge"]
            lines += [f"fedcli_{gauge.name}{_labels(common | labels)} {value!r}" for labels, value in gauge.samples]
    return "\n".join(lines) + "\n"


def _of_the_round(viewpoint: Viewpoint) -> Iterator[Gauge]:
    state = viewpoint.state
    kappas = [item.kappa for item in state.history if item.kappa is not None]
    moments = {
        "round_opened_timestamp_seconds": ("When the open round was opened.", state.waiting_since if state.open_round else None),
        "deadline_timestamp_seconds": ("When the open round may be closed with a quorum.", state.deadline),
        "expected_end_timestamp_seconds": ("When the last round ends at the pace of the newest ones.", state.expected_end),
        "looked_timestamp_seconds": ("When this file was written.", viewpoint.moment),
    }
    yield _single("round", "The newest round that is closed.", state.round)
    yield _single("rounds", "All rounds of the plan.", state.rounds)
    yield _single("finished", "1 if the last round is closed.", state.status is Status.FINISHED)
    yield _single("problems", "Records that do not verify.", len(state.problems))
    yield _single("keys_waiting", "Sites whose key is not admitted.", len(state.applicants) + len(state.renewed))
    for name, (explanation, moment) in moments.items():
        yield _single(name, explanation, moment.timestamp() if moment is not None else None)
    yield _single("global_validation_kappa", "The sites' mean kappa of the newest scored model.", kappas[-1] if kappas else None)


def _of_the_sites(viewpoint: Viewpoint) -> Iterator[Gauge]:
    state = viewpoint.state
    opened = state.matrix[-1] if state.open_round is not None else None
    yield _sited("site_updates", "Updates that a site has sent.", {item.site: item.updates for item in state.sites})
    if opened is not None:
        arrived = opened.members(UpdateState.IN)
        awaited = {item.site: _seconds(item.since) for item in opened.sites}
        rejected = opened.members(UpdateState.REJECTED)
        sites = [item.site for item in opened.sites]
        yield _sited("site_in_open_round", "1 if its update has arrived.", {site: site in arrived for site in sites})
        yield _sited("site_rejected", "1 if that update does not verify.", {site: site in rejected for site in sites})
        yield _sited("site_awaited_timestamp_seconds", "Since when an update is awaited.", awaited)
    kappas = {item.site: item.last_kappa for item in state.sites}
    yield _sited("site_validation_kappa", "Kappa of a site's newest own model.", kappas)


def _of_the_party(viewpoint: Viewpoint) -> Iterator[Gauge]:
    notices = viewpoint.notices()
    yield Gauge(
        name="notice",
        explanation="1 if a notice holds for the party whose workspace was used.",
        samples=tuple(
            ({"party": viewpoint.party, "kind": kind.value}, float(any(item.kind is kind for item in notices)))
            for kind in NoticeKind
        ),
    )
    worst = max((severity_of(notice) for notice in notices), default=0)
    yield Gauge(
        name="check",
        explanation="0 if nothing needs the party, 1 if it is its turn, 2 if something is overdue or stopped.",
        samples=(({"party": viewpoint.party}, float(worst)),),
    )


def _single(name: str, explanation: str, value: float | None) -> Gauge:
    return Gauge(name=name, explanation=explanation, samples=() if value is None else (({}, float(value)),))


def _sited(name: str, explanation: str, values: dict[str, float | None] | dict[str, int] | dict[str, bool]) -> Gauge:
    samples = tuple(({"site": site}, float(value)) for site, value in values.items() if value is not None)
    return Gauge(name=name, explanation=explanation, samples=samples)


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return visible(value).replace("\\", "\\\\").replace('"', '\\"')
