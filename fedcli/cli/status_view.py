"""How a federation's standing looks: a few lines on what is open, rounds × sites, the sites, and at the end whose turn it is.

Moments stand in UTC and, beside it, as the span from now. Where the sites do not fit beside one another, the rounds name those
that are not in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from fedcli.cli import curves, render
from fedcli.party.attendance import Standing
from fedcli.party.turn import names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

    from rich.console import Console, RenderableType

    from fedcli.operations.status.standing import StatusResult
    from fedcli.party.attendance import Presence, RoundPresence

_STYLES = {
    Standing.IN: "green",
    Standing.AWAITED: "yellow",
    Standing.ABSENT: "red",
    Standing.REJECTED: "red",
    Standing.LATE: "magenta",
    Standing.OUTSIDE: "dim",
}
_NOT_IN = (Standing.AWAITED, Standing.REJECTED, Standing.LATE, Standing.ABSENT)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_ENDLESS = 100_000


def show(out: Console, result: StatusResult, moment: datetime) -> None:
    """Print everything but the message, which ends the output of every command."""
    for item in _parts(out, result, moment, num_rounds=len(result.matrix), with_sites=True, with_curves=True):
        out.print(item, soft_wrap=isinstance(item, Text))


def screen(console: Console, result: StatusResult, moment: datetime, footer: Text) -> RenderableType:
    """Return what fills a terminal: as many rounds and sites as it has lines for, the message and the footer always."""
    ends = (Text(result.message, style="bold"), footer)
    for num_rounds, with_sites, with_curves in (
        (12, True, True),
        (12, True, False),
        (12, False, False),
        (6, False, False),
        (3, False, False),
    ):
        parts = _parts(console, result, moment, num_rounds=num_rounds, with_sites=with_sites, with_curves=with_curves)
        view = Group(*parts, *ends)
        if len(console.render_lines(view, pad=False)) < console.height:
            return view
    return Group(*ends)


def line(result: StatusResult) -> str:
    """Return the standing in one line."""
    text = f"{result.name}: round {result.round} of {result.rounds}"
    if result.open_round is not None:
        there = len(result.matrix[-1].those(Standing.IN))
        text += f", round {result.open_round} has {there} of {len(result.sites)} updates"
    elif result.sites:
        evaluated = sum(site.evaluated for site in result.sites)
        text += f", {sum(len(site.models) for site in result.sites)} models shared, {evaluated} of {len(result.sites)} evaluated"
    return f"{text}. {result.message}"


def utc(moment: datetime) -> str:
    """Return a moment as people read it."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def span(duration: timedelta) -> str:
    """Return a duration in its largest fitting unit: `<1 min`, `45 min`, `3 h`, `5 days`; a negative one counts as none."""
    seconds = max(0, int(duration.total_seconds()))
    if seconds < _MINUTE:
        return "<1 min"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    return f"{seconds // _HOUR} h" if seconds < 2 * _DAY else f"{seconds // _DAY} days"


def _parts(
    console: Console, result: StatusResult, moment: datetime, *, num_rounds: int, with_sites: bool, with_curves: bool
) -> Iterator[RenderableType]:
    confirmed = "pinned in this workspace" if result.confirmed else "not confirmed"
    yield Text(f"{result.name}: round {result.round} of {result.rounds}, in {result.drop}", style="bold")
    yield Text(f"coordinator {result.coordinator}, {confirmed}")
    yield from _open_lines(result, moment)
    rows = result.matrix[-num_rounds:]
    if rows:
        yield _rounds_table(console, result, rows, moment)
        for row in rows:
            for item in row.sites:
                if item.reason:
                    yield Text(f"round {row.round}: {item.site} is rejected: {item.reason}", style="red")
    if with_sites and result.sites:
        yield _sites_table(result)
    if with_curves and (table := curves.table(result.curves)) is not None:
        yield table
    rejected = {item.reason for item in result.matrix[-1].sites} if result.matrix else set()
    for problem in result.problems:
        if problem.message not in rejected:
            yield Text(f"✗ {problem.message}", style="red")


def _open_lines(result: StatusResult, moment: datetime) -> Iterator[Text]:
    """Yield since when the open round is open, until when, and since when each site is awaited."""
    if result.open_round is None or result.waiting_since is None:
        return
    text = f"round {result.open_round} is open since {_ago(result.waiting_since, moment)}"
    if result.deadline is not None:
        when = f"passed {span(moment - result.deadline)} ago" if result.overdue else f"in {span(result.deadline - moment)}"
        text += f"; deadline {utc(result.deadline)}, {when}"
    yield Text(text)
    waiting: dict[str, list[str]] = {}
    for since, site in sorted((item.since, item.site) for item in result.matrix[-1].sites if item.since is not None):
        waiting.setdefault(_ago(since, moment), []).append(site)
    for when, sites in waiting.items():
        yield Text(f"awaited since {when}: {names(tuple(sites))}", style=_STYLES[Standing.AWAITED])
    if result.applicants:
        yield Text(f"enrolled, not admitted: {names(result.applicants)}")


def _ago(since: datetime, moment: datetime) -> str:
    return f"{utc(since)}, {span(moment - since)} ago"


def _rounds_table(console: Console, result: StatusResult, rows: tuple[RoundPresence, ...], moment: datetime) -> Table:
    """Return rounds × sites, or, where that is too wide, who is not in."""
    sites = tuple(site.site for site in result.sites)
    for beginning in (("round", "published (UTC)"), ("round",)):
        matrix = _table("Newest rounds", *beginning, *sites, "kappa")
        for row in rows:
            cells = [_cell(item, moment) for item in row.sites] or [Text("")] * len(sites)
            matrix.add_row(*_begin(row)[: len(beginning)], *cells, Text(render.kappa(row.kappa)))
        if Measurement.get(console, console.options.update(width=_ENDLESS), matrix).maximum <= console.width:
            return matrix
    listing = _table("Newest rounds", "round", "published (UTC)", "in", "not in", "kappa")
    listing.columns[3].justify = "left"
    for row in rows:
        there = f"{len(row.those(Standing.IN))} of {len(row.sites)}" if row.sites else ""
        listing.add_row(*_begin(row), Text(there), _not_in(row), Text(render.kappa(row.kappa)))
    return listing


def _begin(row: RoundPresence) -> tuple[Text, Text]:
    return Text(str(row.round)), Text(f"{row.created:%Y-%m-%d %H:%M}") if row.created else Text("open", style="bold")


def _not_in(row: RoundPresence) -> Text:
    return Text("; ").join(
        Text(f"{standing}: {names(sites)}", style=_STYLES[standing]) for standing in _NOT_IN if (sites := row.those(standing))
    )


def _cell(item: Presence, moment: datetime) -> Text:
    words = {
        Standing.IN: f"✓ {render.kappa(item.kappa)}",
        Standing.AWAITED: f"awaited\n{span(moment - item.since)}" if item.since else "awaited",
        Standing.LATE: f"late {render.kappa(item.kappa)}",
        Standing.OUTSIDE: "—",
    }
    return Text(words.get(item.standing, item.standing.value), style=_STYLES[item.standing])


def _sites_table(result: StatusResult) -> Table:
    table = _table("Sites", "site", "updates", "last round", "its kappa", "models shared", "evaluated")
    for site in result.sites:
        table.add_row(
            site.site,
            str(site.updates),
            "—" if site.last_round is None else str(site.last_round),
            render.kappa(site.last_kappa),
            ", ".join(site.models) or "—",
            "yes" if site.evaluated else "no",
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if number == 0 else "right", overflow="fold")
    return table
