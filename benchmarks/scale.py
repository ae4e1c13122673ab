"""What a round of 7, 100, 1,000 and 10,000 sites takes: bytes, requests, seconds and money, flat and as trees.

    python benchmarks/scale.py [--costs docs/scale.md] [--polls 24] [--rounds 30] [--egress 0.09] …

Pure arithmetic on the unit costs of the page, which `benchmarks/scale_costs.py` measures. It prints the page's tables of prices
and of rounds. All prices and lines are arguments; `--help` shows where their defaults come from.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, fields
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PAGE = Path(__file__).parent.parent / "docs/scale.md"
COMMANDS = ("train-round", "train-round, idle", "aggregate", "aggregate, idle", "relay, up", "relay, down", "relay, idle")
STORES = ("SFTP", "S3")
COUNTS = ("list", "get", "put", "up", "down", "processor")
SHAPES = ((7,), (100,), (10, 10), (1000,), (25, 40), (10, 10, 10), (10_000,), (100, 100), (10, 25, 40))
"""Members of the federation at the top, of each region below it, and so on; the product is the number of sites."""
MOST_MEMBERS = 1000
"""Of one federation (docs/protocol.md)."""


@dataclass(frozen=True, slots=True)
class Count:
    """A count that grows with the members of the federation: fixed + each · n."""

    fixed: float = 0.0
    each: float = 0.0

    def of(self, members: int) -> float:
        """Return the count for so many members."""
        return self.fixed + self.each * members


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one command takes.

    Attributes:
        list: Requests that list keys.
        get: Requests that read; over SFTP all requests.
        put: Requests that write.
        up: Megabytes to the server.
        down: Megabytes from the server.
        processor: Seconds of the processor, in a local folder, with training.
    """

    list: Count = Count()
    get: Count = Count()
    put: Count = Count()
    up: Count = Count()
    down: Count = Count()
    processor: Count = Count()

    def of(self, members: int) -> Usage:
        """Return what the command takes in a federation of so many members."""
        return Usage(**{name: getattr(self, name).of(members) for name in COUNTS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What commands took; the units are those of `Cost`."""

    list: float = 0.0
    get: float = 0.0
    put: float = 0.0
    up: float = 0.0
    down: float = 0.0
    processor: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(self)})

    def __rmul__(self, times: float) -> Usage:
        return Usage(**{item.name: times * getattr(self, item.name) for item in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Prices in dollars, lines in Mbit/s, and habits.

    Attributes:
        polls: Commands with nothing to do that each party runs in a round.
        rounds: In a month.
        site_line: Of each site.
        coordinator_line: Of each coordinator.
        server_line: Of each SFTP server; an object store's has no end here.
        put: Price of 1,000 requests that write or list.
        get: Of 1,000 that read.
        egress: Of a gigabyte that leaves the object store.
        storage: Of a gigabyte kept for a month.
        server: Of an SFTP server for a month; each federation of a tree has its own.
    """

    polls: int = 24
    rounds: int = 30
    site_line: float = 100.0
    coordinator_line: float = 1000.0
    server_line: float = 1000.0
    put: float = 0.005
    get: float = 0.0004
    egress: float = 0.09
    storage: float = 0.023
    server: float = 50.0


SOURCES = {
    "polls": "how often each party looks during a round and finds nothing to do: hourly, with one round a day",
    "rounds": "rounds a month: one a day",
    "site_line": "Mbit/s of each site, assumed",
    "coordinator_line": "Mbit/s of each coordinator, assumed",
    "server_line": "Mbit/s of each SFTP server, assumed",
    "put": "dollars for 1,000 puts or lists, S3 Standard, US East: a price guide without a date (c3x.dev), read in November 2026",
    "get": "dollars for 1,000 reads: the same guide",
    "egress": "dollars a GB from AWS to the internet, first 10 TB a month: a price guide of 8 March 2026 (wring.co)",
    "storage": "dollars a GB and month, S3 Standard, US East: a price guide of 13 March 2026 (cloudburn.io)",
    "server": "dollars a month for an SFTP server, assumed: rented, its traffic not metered",
}
"""What they are, and where the defaults come from."""


def main() -> None:
    """Read the unit costs, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--costs", type=Path, default=PAGE, help="a page with the table of unit costs")
    for item in fields(Conditions):
        words = f"{SOURCES[item.name]}; default: {item.default}"
        parser.add_argument(f"--{item.name.replace('_', '-')}", type=type(item.default), default=item.default, help=words)
    options = vars(parser.parse_args())
    costs = read_costs(options.pop("costs").read_text(encoding="utf-8"))
    given = Conditions(**options)
    print(prices_table(given), table(costs, given), sep="\n\n")


# -------------------------------------------------------------------------------------------------- the table of unit costs


def cost_table(costs: Mapping[tuple[str, str], Cost]) -> str:
    """Return unit costs as a table in Markdown."""
    head = ["command", "store", "list", "get", "put", "MB up", "MB down", "processor, s"]
    rows = [[command, store, *(_cell(getattr(cost, name)) for name in COUNTS)] for (command, store), cost in costs.items()]
    return _markdown(head, rows)


def _cell(count: Count) -> str:
    fixed, each = _short(count.fixed), _short(count.each)
    return fixed if each == "0" else f"{fixed} + {each} n"


def _short(number: float) -> str:
    return f"{round(number, 4):.4g}"


def read_costs(page: str) -> dict[tuple[str, str], Cost]:
    """Return the unit costs that a page states, by command and store.

    Raises:
        ValueError: A command or a store is missing.
    """
    costs = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in COMMANDS and len(cells) == 2 + len(COUNTS):
            costs[cells[0], cells[1]] = Cost(**dict(zip(COUNTS, map(_count, cells[2:]), strict=True)))
    missing = [f"{command} on {store}" for command in COMMANDS for store in STORES if (command, store) not in costs]
    if missing:
        msg = f"no unit costs of {', '.join(missing)}"
        raise ValueError(msg)
    return costs


def _count(cell: str) -> Count:
    match = re.fullmatch(r"(-?[0-9.e-]+)(?: \+ (-?[0-9.e-]+) n)?", cell)
    if match is None:
        msg = f"unit cost: expected `NUMBER` or `NUMBER + NUMBER n`, found {cell}"
        raise ValueError(msg)
    return Count(float(match[1]), float(match[2] or 0))


# --------------------------------------------------------------------------------------------------------------- a round


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A round of a tree.

    Attributes:
        usage: What all commands of all parties took.
        seconds: From the model of one round to that of the next, without training and without waiting for the next poll.
        coordinator: Megabytes that the busiest coordinator fetches.
        server: Megabytes that the busiest federation's server sends and receives.
        dollars: The price.
    """

    usage: Usage
    seconds: float
    coordinator: float
    server: float
    dollars: float


def one_round(shape: Sequence[int], store: str, costs: Mapping[tuple[str, str], Cost], given: Conditions) -> Round:
    """Return what a round of a tree takes; `SHAPES` says what its shape is."""
    usage, seconds, coordinator, server = Usage(), 0.0, 0.0, 0.0
    for level, members in enumerate(shape):
        above = shape[level - 1] if level else 0
        closing = _closing(costs, store, members, above)
        idle = costs["relay, idle" if level else "aggregate, idle", store].of(members)
        own, site = closing + -1.0 * _as_site(costs, store, above), costs["train-round", store].of(members)
        usage = usage + float(prod(shape[:level])) * (closing + float(given.polls) * idle)
        seconds += _member_seconds(site, members, store, given, at_site=level == len(shape) - 1)
        seconds += own.processor + _seconds(own.up + own.down, given.coordinator_line, store, given)
        coordinator, server = max(coordinator, own.down), max(server, own.up + own.down + members * (site.up + site.down))
    idle = costs["train-round, idle", store].of(shape[-1])
    usage = usage + float(prod(shape)) * (site + float(given.polls) * idle)
    dollars = _dollars(usage, sum(prod(shape[:level]) for level in range(len(shape))), store, given)
    return Round(usage=usage, seconds=seconds, coordinator=coordinator, server=server, dollars=dollars)


def _closing(costs: Mapping[tuple[str, str], Cost], store: str, members: int, above: int) -> Usage:
    """Return what a coordinator's commands that close a round take; `above` is the number of members above, 0 at the top.

    A relay's unit costs are of a region that is the only member above; what further members add to the records there is added.
    """
    if not above:
        return costs["aggregate", store].of(members)
    relays = costs["relay, up", store].of(members) + costs["relay, down", store].of(members)
    return relays + _as_site(costs, store, above) + -1.0 * _as_site(costs, store, 1)


def _as_site(costs: Mapping[tuple[str, str], Cost], store: str, above: int) -> Usage:
    """Return the part of a relay that is a site's: it takes a model and sends an update, but does not train."""
    if not above:
        return Usage()
    site = costs["train-round", store].of(above)
    return Usage(list=site.list, get=site.get, put=site.put, up=site.up, down=site.down)


def _member_seconds(site: Usage, members: int, store: str, given: Conditions, *, at_site: bool) -> float:
    """Return how long members, all at once, take a model and send an update."""
    each = _seconds(site.up + site.down, given.site_line if at_site else given.coordinator_line, store, given)
    if store == "S3":
        return each
    return max(each, _seconds(members * (site.up + site.down), given.server_line, store, given))


def _seconds(megabytes: float, line: float, store: str, given: Conditions) -> float:
    return 8 * megabytes / (line if store == "S3" else min(line, given.server_line))


def _dollars(usage: Usage, federations: int, store: str, given: Conditions) -> float:
    if store == "SFTP":
        return federations * given.server / given.rounds
    requests = ((usage.list + usage.put) * given.put + usage.get * given.get) / 1000
    return requests + usage.down / 1000 * given.egress + usage.up / 1000 * given.storage


def prices_table(given: Conditions) -> str:
    """Return prices, lines and habits as a table in Markdown; the sources are those of the defaults."""
    rows = []
    for item in fields(Conditions):
        value = getattr(given, item.name)
        rows.append([f"`--{item.name.replace('_', '-')}`", f"{value:g}", SOURCES[item.name]])
    return _markdown(["argument", "value", "what it is, and where the default comes from"], rows)


def table(costs: Mapping[tuple[str, str], Cost], given: Conditions) -> str:
    """Return the table of all shapes on both stores in Markdown."""
    head = ["sites", "as", "store", "GB up", "GB down", "requests", "seconds", "coordinator, GB", "server, GB", "dollars"]
    rows = []
    for shape in SHAPES:
        for store in STORES:
            found = one_round(shape, store, costs, given)
            usage = found.usage
            requests = usage.list + usage.get + usage.put
            figures = [usage.up / 1000, usage.down / 1000, requests, found.seconds, found.coordinator / 1000, found.server / 1000]
            flat = "flat" if max(shape) <= MOST_MEMBERS else "flat: refused"
            name = flat if len(shape) == 1 else " × ".join(map(str, shape))
            rows.append([f"{prod(shape):,}", name, store, *map(_rounded, figures), _rounded(found.dollars)])
    return _markdown(head, rows)


def _rounded(number: float) -> str:
    """Return a number with two digits, or all digits before the point."""
    return f"{float(f'{number:.2g}'):,.0f}" if number >= 10 else f"{number:.2g}"  # noqa: PLR2004 - two digits


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
