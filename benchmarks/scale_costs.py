"""Unit costs of a round: what each command asks of a server, carries over the line and computes, by the number of members.

    python benchmarks/scale_costs.py [--members 2,5]

A flat federation and a region of a tree, of the study's network with sealed files; all sites train for real, one step on small
images. The second round in a local folder gives the processor's seconds. The same round runs on an SFTP and on an S3 server:
requests are counted, and bytes on the line between the party and the server. All updates but one arrive, the command waits, then
the last one arrives. It prints the table that `docs/scale.md` begins with; each cell is the line through what was measured with
the two numbers of members.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko
from line import long_line
from scale import COMMANDS, COUNTS, Cost, Count, cost_table

from fedcli.exchange import layout
from fedcli.operations.aggregate.aggregate_result import AggregateRequest
from fedcli.operations.aggregate.coordinator_round import aggregate
from fedcli.operations.relay import RelayRequest, relay
from fedcli.operations.train_round import TrainRoundRequest, train_round
from fedcli.plan import Confidentiality, Images, Network, Training, Tree
from fedcli.results import Status
from tests.fixtures.federation import PLAN, Federation, prepared_data
from tests.fixtures.http_proxy import running_proxy
from tests.fixtures.places import Place
from tests.fixtures.servers import BUCKET, running_s3, running_sshd
from tests.fixtures.tree import join_by_hand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.results import Result

_PLAN = replace(
    PLAN,
    rounds=4,
    images=Images(size=32),
    network=Network(),
    training=Training(rate=1e-3, batch_size=32),
    confidentiality=Confidentiality(),
)
_PATIENCE = 600
"""Seconds that a server on a busy machine may take to answer."""
Figures = dict[tuple[str, str], dict[str, float]]
"""What was counted, by command and store."""
Meter = Callable[[Callable[[], "Result"]], dict[str, float]]
"""Does some work, and returns what it took."""


def main() -> None:
    """Measure with both numbers of members, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", default="2,5")
    fewer, more = map(int, parser.parse_args().members.split(","))
    with tempfile.TemporaryDirectory() as name:
        data = prepared_data(Path(name) / "data", _PLAN, sites=("north",))["north"]
        few, many = (measured(Path(name) / str(members), members, data) for members in (fewer, more))
    print(cost_table({key: fitted(few[key], fewer, many[key], more) for key in few}))


def fitted(few: dict[str, float], fewer: int, many: dict[str, float], more: int) -> Cost:
    """Return the line through two measurements; what falls with the members is noise, and the mean is taken."""
    assert more > fewer > 1
    slopes = {name: (many[name] - few[name]) / (more - fewer) for name in COUNTS}
    lines = {name: Count(few[name] - fewer * slope, slope) for name, slope in slopes.items()}
    means = {name: Count((few[name] + many[name]) / 2) for name in COUNTS}
    return Cost(**{name: lines[name] if slopes[name] > 0 else means[name] for name in COUNTS})


def measured(root: Path, members: int, data: Path) -> Figures:
    """Run the second round of both federations here, and on each server, with the updates that the other sites made here."""
    figures: Figures = {}
    for number, world in enumerate((_Flat.begun(root / "flat", members, data), _Region.begun(root / "tree", members, data))):
        world.round(_unmetered)  # the first round has grants, which open the first model
        here = world.copy(root / f"here-{number}")
        processor: Figures = {}
        here.round(partial(_add, processor, "", _seconds))
        for kind in ("SFTP", "S3"):
            folder = root / f"{kind}-{number}"
            folder.mkdir()
            with _metered(kind, folder) as (meter, places):
                there = world.copy(folder / "copy")
                there.move(places, here)
                there.round(partial(_add, figures, kind, meter))
        for command, store in [key for key in figures if (key[0], "") in processor]:
            figures[command, store] |= processor[command, ""]
    return {(command, kind): figures[command, kind] for command in COMMANDS for kind in ("SFTP", "S3")}


def _unmetered(command: str, work: Callable[[], Result]) -> None:
    del command
    work()


def _add(figures: Figures, kind: str, meter: Meter, command: str, work: Callable[[], Result]) -> None:
    """Meter some work, and add it to what the same command has taken before."""
    before, more = figures.get((command, kind), {}), meter(work)
    figures[command, kind] = {name: before.get(name, 0.0) + value for name, value in more.items()}


def _seconds(work: Callable[[], Result]) -> dict[str, float]:
    before = time.process_time()
    work()
    return {"processor": time.process_time() - before}


@dataclass
class _World:
    """Federations in one folder, of which the first has sites that train.

    Attributes:
        federations: The one whose sites train, and the one above it.
        made: Where the other sites' updates were made, and where to put them; None lets these sites train.
    """

    federations: tuple[Federation, ...]
    made: tuple[Path, Place] | None = None

    @property
    def first(self) -> str:
        """The site that always trains."""
        return min(self.federations[0].prepared)

    def train(self) -> Result:
        """Let the first site train, or find that it has."""
        federation = self.federations[0]
        return train_round(TrainRoundRequest(root=federation.site(self.first)), federation.environment)

    def send(self, *sites: str) -> None:
        """Let other sites train, or send what they have made elsewhere."""
        federation = self.federations[0]
        if self.made is None:
            federation.train(*sites)
            return
        drop, place = self.made
        store = place.store()
        for path in sorted((path for name in sites for path in (drop / layout.update(name, 2)).parent.iterdir()), key=_last):
            key = path.relative_to(drop).as_posix()
            if layout.is_artifact(key):
                store.put_artifact(key, path)
            else:
                store.publish(key, path.read_bytes())

    def close(self, command: str, work: Callable[[], Result], meter: Callable[[str, Callable[[], Result]], None]) -> None:
        """Let all sites but one send, wait for that one, then close the round."""
        *others, last = (name for name in self.federations[0].prepared if name != self.first)
        if others:
            self.send(*others)
        meter(command, work)
        meter(f"{command.partition(',')[0]}, idle", work)
        self.send(last)
        meter(command, work)

    def move(self, places: Iterator[Place], here: _World) -> None:
        """Go on on a server, with the updates of a world that has gone on."""
        for federation, other in zip(self.federations, here.federations, strict=True):
            place = next(places)
            place.take_over(federation.drop, [path.parent for path in federation.root.glob("*/workspace.toml")])
            if self.made is None:
                self.made = (other.drop, place)


def _last(path: Path) -> tuple[bool, str]:
    return path.suffix == ".json", str(path)


class _Flat(_World):
    """A federation without regions."""

    @classmethod
    def begun(cls, root: Path, members: int, data: Path) -> _Flat:
        return cls((Federation(root=root, prepared=_sites(members, data), plan=_PLAN).begin(),))

    def copy(self, root: Path) -> _Flat:
        return _Flat((self.federations[0].copy(root),))

    def round(self, meter: Callable[[str, Callable[[], Result]], None]) -> None:
        """Train at all sites and aggregate, with one idle command of each kind."""
        federation = self.federations[0]

        def close() -> Result:
            return aggregate(AggregateRequest(root=federation.coordinator), federation.environment)

        meter("train-round", self.train)  # its processor's time is training, which one_round leaves out
        meter("train-round, idle", self.train)
        self.close("aggregate", close, meter)


class _Region(_World):
    """A region, and the federation above whose only site it is."""

    @classmethod
    def begun(cls, root: Path, members: int, data: Path) -> _Region:
        top = Federation(root=root / "top", plan=replace(_PLAN, tree=Tree(regions=True))).begin()
        join_by_hand(top, "east")
        sites = _sites(members, data)
        region = Federation(root=root / "east", prepared=sites, plan=_PLAN, above=top.site("east"), clock=top.clock)
        return cls((region.begin(), top))

    def copy(self, root: Path) -> _Region:
        region, top = (item.copy(root / item.root.name) for item in self.federations)
        settings = region.coordinator / "workspace.toml"
        settings.write_text(settings.read_text().replace(str(self.federations[1].root), str(top.root)))
        return _Region((replace(region, above=top.site("east"), clock=top.clock), top))

    def round(self, meter: Callable[[str, Callable[[], Result]], None]) -> None:
        """Train at all sites, pass the mean up and the model down."""
        region, top = self.federations

        def pass_on() -> Result:
            return relay(RelayRequest(root=region.coordinator), region.environment)

        self.train()
        self.close("relay, up", pass_on, meter)
        top.aggregate()
        meter("relay, down", pass_on)


def _sites(members: int, data: Path) -> dict[str, Path]:
    return {f"site-{number:02d}": data for number in range(members)}


@contextmanager
def _metered(kind: str, folder: Path) -> Iterator[tuple[Meter, Iterator[Place]]]:
    """Run a server; yield what counts the requests and the bytes of some work, and empty places for drop folders."""
    carried: Counter[str] = Counter()
    with ExitStack() as stack:
        before = dict(os.environ)
        stack.callback(lambda: (os.environ.clear(), os.environ.update(before)))
        if kind == "SFTP":
            asked = stack.enter_context(_counted_requests())
            server = stack.enter_context(running_sshd(folder, apart=False))
            port = stack.enter_context(long_line(server.port, 0, carried))
            places = (
                Place(
                    address=server.address("north", server.folder("north"), port),
                    options=server.options("north", timeout=_PATIENCE),
                    environment={},
                )
                for _ in range(2)
            )
            count: Callable[[], Counter[str]] = lambda: Counter({"get": asked["requests"]})  # noqa: E731
        else:
            service = stack.enter_context(running_s3(folder))
            proxy, log = stack.enter_context(running_proxy(folder))
            port = stack.enter_context(long_line(service.port, 0, carried))
            options = service.options(endpoint=f"http://127.0.0.1:{port}", timeout=_PATIENCE)
            os.environ.update(service.environment("north") | {"HTTP_PROXY": f"http://{proxy}"})
            places = (
                Place(address=f"s3://{BUCKET}/sites/north/{number}", options=options, environment={}) for number in range(2)
            )
            count = lambda: Counter(map(_kind_of, log.read_text().splitlines()))  # noqa: E731

        def meter(work: Callable[[], Result]) -> dict[str, float]:
            requests, bytes_before = count(), Counter(carried)
            result = work()
            time.sleep(0.5)  # the line's threads count what has just gone through
            asked_for, more = count() - requests, carried - bytes_before
            print(f"{kind:4} {result.status:10} {dict(asked_for)} {dict(more)} {result.message}", flush=True)
            assert result.status in {Status.PUBLISHED, Status.WAITING, Status.DONE}
            return {name: asked_for[name] for name in ("list", "get", "put")} | {
                name: more[name] / 1e6 for name in ("up", "down")
            }

        yield meter, places


def _kind_of(line: str) -> str:
    """Return what S3 charges a request as: `list`, `put` or `get`; removals are free."""
    verb, url = line.split(" ", 1)
    if verb == "GET" and "list-type=" in url:
        return "list"
    return {"GET": "get", "HEAD": "get", "PUT": "put", "POST": "put"}.get(verb, "free")


@contextmanager
def _counted_requests() -> Iterator[Counter[str]]:
    """Count the requests of all SFTP sessions of this process, those that carry pieces of a file too."""
    asked: Counter[str] = Counter()
    original = paramiko.SFTPClient._async_request  # noqa: SLF001 - fedcli's own reader goes through it as well

    def counted(self: Any, *words: Any) -> Any:
        asked["requests"] += 1
        return original(self, *words)

    paramiko.SFTPClient._async_request = counted  # noqa: SLF001
    try:
        yield asked
    finally:
        paramiko.SFTPClient._async_request = original  # noqa: SLF001


if __name__ == "__main__":
    main()
