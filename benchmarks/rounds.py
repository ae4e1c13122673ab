"""Many rounds: what a command takes at the three-hundredth round, as a multiple of what it takes at the first.

    python benchmarks/rounds.py [--rounds 300] [--sites 7] [--runs 7] [--work .bench/rounds] [--before FOLDER]
                                [--only rounds,local,sftp,s3,whole]

Seven phantom sites train the small network with one step per round; files are sealed (the default). The rounds run in this
process, and continue where an earlier run of this program stopped. After round 1, and after the last, one site has sent its
update and six are awaited: these two states are compared. A command with nothing to do is a process of its own; the two states
alternate, and medians are compared, of seconds and of the processor's seconds, which other work on the machine disturbs less:
in a local folder, on an SFTP server over a line with a round trip of 20 ms, and on an S3 server, whose requests are counted.
`--before` names a folder with the `fedcli` package of an earlier commit, which runs in turns with this one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from line import long_line
from phantom_federation import ENVIRONMENT

from fedcli.exchange.store import open_store
from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.phantoms import hospitals
from fedcli.imaging.preparation import LabelFiles
from fedcli.operations import simulate as simulation
from fedcli.operations.aggregate.aggregate_result import AggregateRequest
from fedcli.operations.aggregate.coordinator_round import aggregate
from fedcli.operations.prepare import PrepareRequest, prepare
from fedcli.operations.train_round import TrainRoundRequest, train_round
from fedcli.party.source import store_settings
from fedcli.plan import Evaluation, Images, Network, Plan, Split, Training
from fedcli.progress import Silent
from tests.fixtures.http_proxy import running_proxy
from tests.fixtures.servers import BUCKET, running_s3, running_sshd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fedcli.exchange.store import StoreOptions

REPOSITORY = Path(__file__).parent.parent
_ROUND_TRIP = 0.02
"""Seconds."""
_COMPARED = 20
"""Rounds at the beginning and at the end."""
FIRST, LAST = "first", "last"


def main() -> None:
    """Run the federation as far as it has not run, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--sites", type=int, default=7)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--work", type=Path, default=REPOSITORY / ".bench/rounds")
    parser.add_argument("--before", type=Path)
    parser.add_argument("--only", default="rounds,local,sftp,s3,whole")
    options = parser.parse_args()
    work, only = options.work.resolve(), options.only.split(",")
    programs = {"now": REPOSITORY} | ({"before": options.before.resolve()} if options.before else {})
    sites = tuple(f"site-{number}" for number in range(1, options.sites + 1))
    run_rounds(work, sites, options.rounds)
    if "rounds" in only:
        print_rounds(work)
    if "local" in only:
        commands = {"train-round": sites[0], "aggregate": "coordinator", "status": sites[0]}
        compare("local", programs, {state: work / state for state in (FIRST, LAST)}, commands, options.runs)
    for kind in ("sftp", "s3"):
        if kind in only:
            remote(kind, work, programs, sites[0], options.runs)
    if "whole" in only:
        whole(work / LAST, programs, options.runs)


# ----------------------------------------------------------------------------------------------------- the federation


def run_rounds(work: Path, sites: tuple[str, ...], rounds: int) -> None:
    """Run the rounds that have not run yet; keep the state after the first and after the last."""
    running, times = work / "running", work / "times.jsonl"
    if not (work / "begun").exists():
        shutil.rmtree(work, ignore_errors=True)
        begin(running, sites, rounds)
        (work / "begun").touch()
    for _ in range(rounds - len(list(running.glob("drop/coordinator/round-*"))) + 1):
        seconds, processor = time.perf_counter(), time.process_time()
        for site in sites:
            train_round(TrainRoundRequest(root=running / "sites" / site), ENVIRONMENT)
        number = aggregate(AggregateRequest(root=running / "coordinator"), ENVIRONMENT).round
        line = {"round": number, "seconds": time.perf_counter() - seconds, "processor": time.process_time() - processor}
        with times.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if number == 1:
            keep(work, FIRST, sites)
    if not (work / LAST).exists():
        keep(work, LAST, sites)


def begin(root: Path, sites: tuple[str, ...], rounds: int) -> None:
    """Write the phantoms, and begin."""
    plan = Plan(
        name="rounds",
        seed=7,
        rounds=rounds + 1,
        images=Images(size=16),
        split=Split(train=0.5, validation=0.25, test=0.25),
        network=Network(name="small"),
        training=Training(rate=1e-3, batch_size=32),
        evaluation=Evaluation(min_cell=0),
    )
    prepared = {}
    for number, site in enumerate(sites):
        hospital = replace(hospitals.PLAIN_HOSPITALS[number % 3], name=site, num_patients=16)
        labels = hospitals.write(root / "archives" / site, hospital, seed=plan.seed, classes=plan.classes, progress=Silent())
        prepared[site] = root / "prepared" / site
        archive, tables = ImageArchive(folder=labels.parent), LabelFiles(table=labels)
        request = PrepareRequest(archive=archive, labels=tables, workspace=root / "none", plan=plan, out=prepared[site])
        prepare(request, Silent())
    request_of_all = simulation.SimulateRequest(drop=root / "drop", plan=plan, sites=prepared, threads=1)
    simulation._begin(request_of_all, ENVIRONMENT)  # noqa: SLF001


def keep(work: Path, state: str, sites: tuple[str, ...]) -> None:
    """Let the first site send its update, and keep a copy of the drop folder and of two workspaces."""
    running, copy = work / "running", work / f".{state}"
    train_round(TrainRoundRequest(root=running / "sites" / sites[0]), ENVIRONMENT)
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(running / "drop", copy / "drop")
    shutil.copytree(running / "coordinator", copy / "coordinator")
    shutil.copytree(running / "sites" / sites[0], copy / sites[0])
    for workspace in (copy / "coordinator", copy / sites[0]):
        move(workspace, str(work / state / "drop"))
    copy.rename(work / state)


def move(workspace: Path, drop: str, options: StoreOptions | None = None) -> None:
    """Let a workspace work in another drop folder."""
    file = workspace / "workspace.toml"
    text = file.read_text()
    for name, value in ((store_settings(options) if options else {}) | {"drop": drop}).items():
        line = f"{name} = {value}" if isinstance(value, int) else f'{name} = "{value}"'
        text = re.sub(rf"(?m)^{name} = .*$", lambda _, line=line: line, text)
    file.write_text(text)


# ------------------------------------------------------------------------------------------------------- what is measured


def print_rounds(work: Path) -> None:
    """Compare the last rounds with the first."""
    lines = [json.loads(line) for line in (work / "times.jsonl").read_text().splitlines()]
    for what in ("seconds", "processor"):
        first, last = (statistics.median(line[what] for line in part) for part in (lines[:_COMPARED], lines[-_COMPARED:]))
        print(
            f"{what} a round: first {_COMPARED} {first:.3f}, last {_COMPARED} (to {len(lines)}) {last:.3f}, {last / first:.2f} ×"
        )


def compare(
    where: str,
    programs: Mapping[str, Path],
    states: Mapping[str, Path],
    commands: Mapping[str, str],
    runs: int,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> None:
    """Run commands with nothing to do in both states in turns, and print medians and their ratio."""
    for command, party in commands.items():
        for program, package in programs.items():
            measured: dict[str, list[tuple[float, float]]] = {state: [] for state in states}
            requests: dict[str, int] = {}
            for _ in range(runs + 1):  # the first time, a program of another version makes its memory again
                for state, root in states.items():
                    before = len(log.read_text().splitlines()) if log else 0
                    measured[state].append(timed(package, [command, "-C", str(root / party), "--json"], environment))
                    requests[state] = len(log.read_text().splitlines()) - before if log else 0
            counted = f", requests {requests[FIRST]} and {requests[LAST]}" if log else ""
            print(
                f"{where:6} {command:12} {program:7} {_ratio(measured, 0)}; processor {_ratio(measured, 1)}{counted}", flush=True
            )


def _ratio(measured: Mapping[str, list[tuple[float, float]]], what: int) -> str:
    first, last = (statistics.median(pair[what] for pair in pairs[1:]) for pairs in measured.values())
    return f"{first:.3f} s, {last:.3f} s, {last / first:.2f} ×"


def timed(package: Path, words: list[str], environment: Mapping[str, str] | None = None) -> tuple[float, float]:
    """Return the seconds of one run of the command line of a package, and those of the processor."""
    command = [sys.executable, "-c", "from fedcli.__main__ import main; main()", *words]
    variables = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1", **(environment or {})}
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=variables, cwd=package)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout + done.stderr
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def remote(kind: str, work: Path, programs: Mapping[str, Path], site: str, runs: int) -> None:
    """Measure on a server, to which both states are copied."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        environment, log, options, addresses = {}, None, None, {}
        if kind == "sftp":
            server = stack.enter_context(running_sshd(folder, apart=False))
            port = stack.enter_context(long_line(server.port, _ROUND_TRIP))
            options = server.options("north")
            for state in (FIRST, LAST):
                shutil.copytree(work / state / "drop", server.root / state)
                addresses[state] = server.address("north", state, port)
        else:
            service = stack.enter_context(running_s3(folder))
            proxy, log = stack.enter_context(running_proxy(folder))
            options = service.options()
            environment = {**service.environment("north")}
            for state in (FIRST, LAST):
                addresses[state] = f"s3://{BUCKET}/sites/north/{state}"
                upload(work / state / "drop", addresses[state], options, environment)
            environment["HTTP_PROXY"] = f"http://{proxy}"
        states = {state: folder / f"workspaces-{state}" for state in (FIRST, LAST)}
        for state, root in states.items():
            for party in ("coordinator", site):
                shutil.copytree(work / state / party, root / party)
                move(root / party, addresses[state], options)
        compare(kind, programs, states, {"train-round": site, "aggregate": "coordinator"}, runs, environment, log)


def upload(drop: Path, address: str, options: StoreOptions, environment: Mapping[str, str]) -> None:
    """Copy a drop folder to an object store."""
    os.environ.update(environment)
    store = open_store(address, options)

    def put(path: Path) -> None:
        store.put_artifact(path.relative_to(drop).as_posix(), path)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, files(drop)))


def files(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder."""
    return (path for path in folder.rglob("*") if path.is_file())


def whole(root: Path, programs: Mapping[str, Path], runs: int) -> None:
    """Measure the commands that read the whole history."""
    coordinator = ["-C", str(root / "coordinator")]
    commands = {"status": ["status"], "verify": ["verify"], "verify --replay": ["verify", "--replay"]}
    for name, words in commands.items():
        measured: dict[str, list[tuple[float, float]]] = {program: [] for program in programs}
        for _ in range(runs + 1):  # the first time, `status` makes its memory
            for program, package in programs.items():
                measured[program].append(timed(package, [*words, *coordinator, "--json"]))
        for program, pairs in measured.items():
            seconds, processor = (statistics.median(pair[what] for pair in pairs[1:]) for what in (0, 1))
            print(f"{name:16} {program:7} {seconds:.2f} s; processor {processor:.2f} s", flush=True)


if __name__ == "__main__":
    main()
