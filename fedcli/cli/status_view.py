"""The state of a federation on a terminal: the open round, rounds × sites, the sites, and at the end whose turn it is.

Every time is shown in UTC and relative to now. If the sites do not fit side by side, each round names the sites whose update is
missing.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from fedcli.cli import curves, render
from fedcli.party.history.newest_rounds import UpdateState
from fedcli.party.next_commands import names
from fedcli.text.wording import duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

    from rich.console import Console, RenderableType

    from fedcli.operations.status.federation_state import StatusResult
    from fedcli.party.history.newest_rounds import MemberRound, RoundRow

_STYLES = {
    UpdateState.IN: "green",
    UpdateState.AWAITED: "yellow",
    UpdateState.ABSENT: "red",
    UpdateState.EXCUSED: "magenta",
    UpdateState.REJECTED: "red",
    UpdateState.LATE: "magenta",
    UpdateState.OUTSIDE: "dim",
}
_NOT_IN = (UpdateState.AWAITED, UpdateState.REJECTED, UpdateState.LATE, UpdateState.EXCUSED, UpdateState.ABSENT)
_ENDLESS = 100_000


def show(out: Console, result: StatusResult, moment: datetime) -> None:
    """Print everything except the message, which every command prints at the end."""
    for item in _parts(out, result, moment, num_rounds=len(result.matrix), with_sites=True, with_curves=True):
        out.print(item, soft_wrap=isinstance(item, Text))


def screen(console: Console, result: StatusResult, moment: datetime, footer: Text) -> RenderableType:
    """Return what fills a terminal: as many rounds and sites as fit, and always the message and the footer."""
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
    """Return the state of a federation in one line."""
    text = f"{result.name}: round {result.round} of {result.rounds}"
    if result.open_round is not None:
        arrived = len(result.matrix[-1].members(UpdateState.IN))
        text += f", round {result.open_round} has {arrived} of {len(result.sites)} updates"
    elif result.sites:
        every = (*result.sites, *result.testers)
        evaluated = sum(site.evaluated for site in every)
        text += f", {sum(len(site.models) for site in result.sites)} models shared, {evaluated} of {len(every)} evaluated"
    return f"{text}. {result.message}"


def utc(moment: datetime) -> str:
    """Return a time in UTC, to the minute."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _parts(
    console: Console, result: StatusResult, moment: datetime, *, num_rounds: int, with_sites: bool, with_curves: bool
) -> Iterator[RenderableType]:
    confirmed = "pinned in this workspace" if result.confirmed else "not confirmed"
    yield Text(f"{result.name}: round {result.round} of {result.rounds}, in {result.drop}", style="bold")
    yield Text(f"coordinator {result.coordinator}, {confirmed}")
    yield from _open_lines(result, moment)
    yield from _membership_lines(result)
    rows = result.matrix[-num_rounds:]
    if rows:
        yield _rounds_table(console, result, rows, moment)
        for row in rows:
            if row.restart is not None:
                again = f"round {row.round} has the model of round {row.restart.round} again: {row.restart.reason}"
                yield Text(again, style="magenta")
            for item in row.sites:
                if item.reason and row.restart is None:
                    what = UpdateState.REJECTED if item.standing is UpdateState.REJECTED else UpdateState.EXCUSED
                    yield Text(f"round {row.round}: {item.site} is {what}: {item.reason}", style=_STYLES[what])
    if with_sites and result.sites:
        yield _sites_table(result)
    if with_curves and (table := curves.table(result.curves)) is not None:
        yield table
    rejected = {item.reason for item in result.matrix[-1].sites} if result.matrix else set()
    yield from (Text(f"! {sentence}", style="yellow") for sentence in (*result.dates, *result.advice))
    for problem in result.problems:
        if problem.message not in rejected:
            yield Text(f"✗ {problem.message}", style="red")


def _open_lines(result: StatusResult, moment: datetime) -> Iterator[Text]:
    """Yield since when the round has been open, its deadline, and since when each site is awaited."""
    if result.open_round is None or result.waiting_since is None:
        return
    text = f"round {result.open_round} has been open since {_ago(result.waiting_since, moment)}"
    if result.deadline is not None:
        when = f"passed {_time(moment - result.deadline)} ago" if result.overdue else f"in {_time(result.deadline - moment)}"
        text += f"; deadline {utc(result.deadline)}, {when}"
    yield Text(text)
    if result.expected_end is not None:
        yield Text(f"at the pace of the newest rounds, the last round ends about {utc(result.expected_end)}")
    waiting = sorted((item.since, item.site) for item in result.matrix[-1].sites if item.since is not None)
    for _, group in groupby(waiting, key=lambda item: utc(item[0])):
        (since, first), *others = group
        sites = (first, *(site for _, site in others))
        yield Text(f"awaited since {_ago(since, moment)}: {names(sites)}", style=_STYLES[UpdateState.AWAITED])


def _membership_lines(result: StatusResult) -> Iterator[Text]:
    if result.testers:
        words = (f"{site.site} ({'has evaluated' if site.evaluated else 'has not evaluated'})" for site in result.testers)
        yield Text(f"testers, for which no round waits: {', '.join(words)}")
    if result.applicants:
        yield Text(f"enrolled, not admitted: {names(result.applicants)}")
    if result.renewed:
        yield Text(f"enrolled a new key, which is not admitted: {names(result.renewed)}")


def _ago(since: datetime, moment: datetime) -> str:
    return f"{utc(since)}, {_time(moment - since)} ago"


def _time(time: timedelta) -> str:
    return duration(max(0.0, time.total_seconds()))  # clocks may differ


def _rounds_table(console: Console, result: StatusResult, rows: tuple[RoundRow, ...], moment: datetime) -> Table:
    """Return rounds × sites, or, if that is too wide, the sites whose update is missing."""
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
        arrived = f"{len(row.members(UpdateState.IN))} of {len(row.sites)}" if row.sites else ""
        listing.add_row(*_begin(row), Text(arrived), _not_in(row), Text(render.kappa(row.kappa)))
    return listing


def _begin(row: RoundRow) -> tuple[Text, Text]:
    return Text(str(row.round)), Text(f"{row.created:%Y-%m-%d %H:%M}") if row.created else Text("open", style="bold")


def _not_in(row: RoundRow) -> Text:
    return Text("; ").join(
        Text(f"{state}: {names(sites)}", style=_STYLES[state]) for state in _NOT_IN if (sites := row.members(state))
    )


def _cell(item: MemberRound, moment: datetime) -> Text:
    words = {
        UpdateState.IN: f"✓ {render.kappa(item.kappa)}",
        UpdateState.AWAITED: f"awaited\n{_time(moment - item.since)}" if item.since else "awaited",
        UpdateState.LATE: f"late {render.kappa(item.kappa)}",
        UpdateState.OUTSIDE: "—",
    }
    return Text(words.get(item.standing, item.standing.value), style=_STYLES[item.standing])


def _sites_table(result: StatusResult) -> Table:
    spent = any(site.epsilon is not None for site in result.sites)
    columns = ("site", "updates", "last round", "its kappa", "models shared", "evaluated")
    table = _table("Sites", *columns, *(("epsilon spent",) if spent else ()))
    for site in result.sites:
        table.add_row(
            site.site,
            str(site.updates),
            "—" if site.last_round is None else str(site.last_round),
            render.kappa(site.last_kappa),
            ", ".join(site.models) or "—",
            "yes" if site.evaluated else "no",
            *(("—" if site.epsilon is None else f"{site.epsilon:.3g}",) if spent else ()),
        )
    if any(site.updates and site.last_kappa is None for site in result.sites):
        table.caption = "no kappa: there are no validation patients, or too few of them to publish one, or it is undefined"
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if number == 0 else "right", overflow="fold")
    return table
