"""Transfers: the SFTP store against scp, the S3 store against boto3, on servers on this machine.

    python benchmarks/store.py [--megabytes 500] [--runs 5] [--only sftp|s3|records]

One large file, up and down; and over SFTP the records of 100 rounds of three sites, all listed and read, over a line with a round
trip of 20 ms. The contenders alternate, each goes first every other time, connecting is included, and medians are compared.
fedcli hashes what it fetches; scp and boto3 do not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from line import long_line

from fedcli.exchange.store import open_store
from tests.fixtures.servers import BUCKET, running_s3, running_sshd

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcli.exchange.store import Store

Transfers = dict[str, "Callable[[], object]"]
_ROUNDS = 100
_ROUND_TRIP = 0.02
"""Seconds."""


def main() -> None:
    """Start the servers, run the contenders in turn, print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=["sftp", "s3", "records"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source"
        with source.open("wb") as file:
            for _ in range(options.megabytes):
                file.write(os.urandom(10**6))
        if options.only in {None, "sftp"}:
            _sftp(folder, source, options.runs)
        if options.only in {None, "records"}:
            _records(folder, options.runs)
        if options.only in {None, "s3"}:
            _s3(folder, source, options.runs)


def _sftp(folder: Path, source: Path, runs: int) -> None:
    (folder / "sshd").mkdir()
    with running_sshd(folder / "sshd", apart=False) as server:
        (folder / "known_hosts").write_text(server.known_host)
        account, key = server.accounts["north"], server.keys["north"]
        scp = ["scp", "-q", "-P", str(server.port), "-i", str(key), "-o", f"UserKnownHostsFile={folder}/known_hosts"]
        there, target = f"{account}@127.0.0.1:{server.root}", folder / "target"
        transfers = _fedcli(lambda: server.store("north"), source, target) | {
            "scp up": lambda: subprocess.run([*scp, source, f"{there}/scp.safetensors"], check=True),
            "scp down": lambda: subprocess.run([*scp, f"{there}/fedcli.safetensors", target], check=True),
        }
        _compare("SFTP", transfers, "scp", source.stat().st_size, target, runs)


def _records(folder: Path, runs: int) -> None:
    (folder / "records").mkdir()
    with running_sshd(folder / "records", apart=False) as server, long_line(server.port, _ROUND_TRIP) as port:
        for party in ("coordinator", "sites/north", "sites/south", "sites/west"):
            for number in range(_ROUNDS):
                place = server.root / party / f"round-{number:04d}"
                place.mkdir(parents=True)
                (place / "record.json").write_bytes(os.urandom(1500))
                (place / "record.json.0123456789ab.sig").write_bytes(os.urandom(300))
        known = folder / "known_hosts"
        known.write_text(server.known_host.replace(str(server.port), str(port)))
        scp = ["scp", "-q", "-r", "-P", str(port), "-i", str(server.keys["north"]), "-o", f"UserKnownHostsFile={known}"]

        def read_all() -> None:
            store = open_store(server.address("north", port=port), server.options("north"))
            assert sum(len(store.read(key, 4000)) for key in store.list("")) == 4 * _ROUNDS * 1800

        def copy_all() -> None:
            target = Path(tempfile.mkdtemp(dir=folder))
            subprocess.run([*scp, f"{server.accounts['north']}@127.0.0.1:{server.root}", target], check=True)
            assert sum(path.stat().st_size for path in target.rglob("*") if path.is_file()) == 4 * _ROUNDS * 1800

        transfers: Transfers = {"fedcli": read_all, "scp -r": copy_all}
        seconds: dict[str, list[float]] = {name: [] for name in transfers}
        for number in range(runs):
            for name in list(transfers)[:: (-1) ** number]:
                started = time.perf_counter()
                transfers[name]()
                seconds[name].append(time.perf_counter() - started)
        own, other = (statistics.median(seconds[name]) for name in transfers)
        print(f"Records in {4 * _ROUNDS} folders, {_ROUND_TRIP} s round trip; median of {runs} alternating runs")
        print(f"  read  fedcli {own:.2f} s  scp -r {other:.2f} s  ratio {other / own:.1f}")


def _s3(folder: Path, source: Path, runs: int) -> None:
    import boto3  # noqa: PLC0415 - in the dev extra, and only this needs it

    (folder / "s3").mkdir()
    with running_s3(folder / "s3") as server:
        os.environ.update(server.environment("north"))
        client = boto3.client("s3", endpoint_url=server.endpoint)
        target = folder / "target"
        transfers = _fedcli(lambda: open_store(f"s3://{BUCKET}/sites/north", server.options()), source, target) | {
            "boto3 up": lambda: client.upload_file(str(source), BUCKET, "sites/north/boto3.safetensors"),
            "boto3 down": lambda: client.download_file(BUCKET, "sites/north/fedcli.safetensors", str(target)),
        }
        _compare("S3", transfers, "boto3", source.stat().st_size, target, runs)


def _fedcli(opened: Callable[[], Store], source: Path, target: Path) -> Transfers:
    return {
        "fedcli up": lambda: opened().put_artifact("fedcli.safetensors", source),
        "fedcli down": lambda: opened().fetch("fedcli.safetensors", target, 1 << 40),
    }


def _compare(title: str, transfers: Transfers, other: str, size: int, target: Path, runs: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in transfers}
    for number in range(runs):
        for way in ("up", "down"):
            for who in ("fedcli", other) if number % 2 else (other, "fedcli"):
                target.unlink(missing_ok=True)
                os.sync()  # writes that the previous run left pending do not count for this one
                started = time.perf_counter()
                transfers[f"{who} {way}"]()
                seconds[f"{who} {way}"].append(time.perf_counter() - started)
    print(f"{title}: {size / 1e6:.0f} MB, median of {runs} alternating runs")
    for way in ("up", "down"):
        rates = {who: size / 1e6 / statistics.median(seconds[f"{who} {way}"]) for who in ("fedcli", other)}
        ratio = rates["fedcli"] / rates[other]
        print(f"  {way:5} fedcli {rates['fedcli']:6.0f} MB/s  {other} {rates[other]:6.0f} MB/s  ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
