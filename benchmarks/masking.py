"""Masking: what it costs a site and the coordinator, beside the plain fold of the same updates.

    python benchmarks/masking.py [--sites 3 7 30 100] [--runs 3] [--rounds 20] [--threads 2] [--only-records]

The model has the layout of DenseNet-121 with four outputs: 7 million values. For each number of sites K:

- prepare: a round's part of dealing secrets for a run of rounds, with the members' boxes encrypted by HPKE;
- mask: the delta's file to the masked update's file, with the site's own mask and K - 1 pair masks, keys included;
- answer: K boxes decrypted, and the shares of all their rounds compared with their digests;
- sum: all masked updates to a model's file, each hashed while it is read, secrets restored from T answers: with everybody, and
  where 30 % of the participants dropped out after the others had masked (at most K - T, as many as are tolerated);
- plain: the weighted mean of the same deltas by `fold`, from files to a file, each hashed, with as many threads.

- records: what a site signs for a round, with its signatures: a round's part of the masks record and its sealed file, the update
  record and the answer. The first two name every member as recipient, with a wrapped key of 1.2 kB each.

Bytes are those of the masked update, of a round's part of what is prepared, and of the shares that a site answers with. The sites
have four deltas in turn, but masks of their own. Each figure is the median of the runs; beside it are the processor's seconds,
which other programs on the machine change less. Files are in the system's cache, if that holds them. The masked model is compared
with the plain one.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import statistics
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

from fedcli import disk, tensors, wire
from fedcli.aggregation.fold import fold
from fedcli.aggregation.rules import AggregationRule
from fedcli.aggregation.update import Update
from fedcli.disk import Measured
from fedcli.exchange import layout
from fedcli.exchange.keys import create_key
from fedcli.exchange.recipients import Reader
from fedcli.exchange.records import (
    Artifact,
    Encryption,
    MasksRecord,
    Payload,
    Record,
    Role,
    UnmaskRecord,
    UpdateRecord,
    ValidationScore,
    Versions,
)
from fedcli.learning.networks import registry
from fedcli.party.transfer.outgoing import describe, wrapped_for
from fedcli.plan import Network
from fedcli.privacy import sealing
from fedcli.privacy.encryption_keys import DecryptionKey
from fedcli.privacy.masking import shamir
from fedcli.privacy.masking.mask_file import masks_layout
from fedcli.privacy.masking.mask_keys import pair_mask, self_mask
from fedcli.privacy.masking.masked_delta import masked_blocks
from fedcli.privacy.masking.restored_secrets import restore
from fedcli.privacy.masking.share_boxes import SecretKind, deal, new_secrets, opened_shares
from fedcli.privacy.masking.unmasked_sum import MaskedUpdate, SumFacts, masks_to_remove, new_model_blocks, sums
from fedcli.privacy.sealing import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

OPENING = hashlib.sha256(b"opening").hexdigest()
SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
WEIGHT = 100
DIFFERENT = 4
DROPPED = 0.3


class Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.hasher = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        data = self.file.read(size)
        self.hasher.update(data)
        return data


class Round:
    """A round of K sites, all of whom have dealt secrets for it.

    Args:
        folder: Holds `base` and `delta-0` …; the masked updates and models go there.
        num_sites: K.
        threads: The number of threads.
    """

    def __init__(self, folder: Path, num_sites: int, threads: int) -> None:
        self.folder, self.threads = folder, threads
        self.sites = [f"site-{number:03d}" for number in range(num_sites)]
        self.secrets = {site: new_secrets(secrets_of(site)) for site in self.sites}
        self.dealings = {site: deal([self.secrets[site]], num_sites, secrets_of(site)) for site in self.sites}
        self.commitments = {site: dealing.commitments[0] for site, dealing in self.dealings.items()}
        self.public_keys = {site: published.public_key for site, published in self.commitments.items()}
        with (folder / "base").open("rb") as file:
            self.layout = tensors.read_layout(file)

    def delta(self, site: str) -> Path:
        """Return the file of a site's delta."""
        return self.folder / f"delta-{self.sites.index(site) % DIFFERENT}"

    def mask(self, site: str) -> None:
        """Write a site's masked update."""
        own = self.secrets[site]
        pairs = (pair_mask(own.private_key, site, peer, self.public_keys[peer], OPENING) for peer in self.sites if peer != site)
        masks = [self_mask(own.seed, site, OPENING), *pairs]
        target = self.folder / site
        target.unlink(missing_ok=True)
        with self.delta(site).open("rb") as file:
            names = tensors.read_layout(file)
            disk.write_blocks(target, masked_blocks(file, names, WEIGHT, len(self.sites), masks, self.threads))

    def sum(self, survivors: Sequence[str]) -> None:
        """Write the model of the survivors' masked updates."""
        kinds = {site: SecretKind.SEED if site in survivors else SecretKind.PRIVATE_KEY for site in self.sites}
        answers = {holder: self.answer(holder, kinds) for holder in survivors[: shamir.threshold(len(self.sites))]}
        restored = restore(self.sites, kinds, self.commitments, answers)
        assert restored.complete
        seeds = {site: restored.secrets[site] for site in survivors}
        dropped = {site: key for site, key in restored.secrets.items() if site not in seeds}
        masks = masks_to_remove(seeds, dropped, self.public_keys, OPENING)
        facts = SumFacts(weight=WEIGHT * len(survivors), num_updates=len(survivors))
        with ExitStack() as stack:
            opened = [(site, Hashed(stack.enter_context((self.folder / site).open("rb")))) for site in survivors]
            base = stack.enter_context((self.folder / "base").open("rb"))
            tensors.read_layout(base)
            totals = sums([MaskedUpdate(site, file) for site, file in opened], self.layout, masks, self.threads)
            target = self.folder / "masked-model"
            target.unlink(missing_ok=True)
            disk.write_blocks(target, new_model_blocks(base, self.layout, totals, facts))

    def answer(self, holder: str, kinds: dict[str, SecretKind]) -> dict[str, bytes]:
        """Return a holder's shares, one of each site."""
        place = self.sites.index(holder)
        begins = {dealer: 0 if kind is SecretKind.SEED else shamir.SHARE_BYTES for dealer, kind in kinds.items()}
        return {
            dealer: self.dealings[dealer].boxes[place][begin : begin + shamir.SHARE_BYTES] for dealer, begin in begins.items()
        }

    def plain(self, survivors: Sequence[str], digests: dict[Path, str]) -> None:
        """Write the model of the survivors' deltas."""
        updates = [
            Update(site=site, path=self.delta(site), weight=WEIGHT, sha256=digests[self.delta(site)]) for site in survivors
        ]
        base = Update(site="", path=self.folder / "base")
        fold(AggregationRule(), self.layout, base, updates, self.folder / "plain-model", threads=self.threads, reviewed=False)


def secrets_of(site: str) -> Callable[[int], bytes]:
    """Return a source of random bytes; a benchmark's secrets protect nothing."""
    generator = np.random.default_rng(list(site.encode()))
    return generator.bytes


def main() -> None:
    """Measure each number of sites."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, nargs="+", default=[3, 7, 30, 100])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=20, help="rounds that are prepared together")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only-records", action="store_true", help="mask and sum nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digests = write_models(folder)
        for num_sites in options.sites:
            print(f"\n{num_sites} sites, {options.threads} threads, median of {options.runs} runs")
            prepare(num_sites, options.rounds, options.runs)
            records(folder, num_sites, options.rounds)
            if options.only_records:
                continue
            measure(Round(folder, num_sites, options.threads), options.runs, digests)


def write_models(folder: Path) -> dict[Path, str]:
    """Write a model and a few deltas; return the deltas' digests."""
    base = registry.initial_state(Network(), 4, seed=0)
    tensors.write(folder / "base", base)
    generator, digests = np.random.default_rng(0), {}
    for number in range(DIFFERENT):
        delta = {
            name: np.full(value.shape, WEIGHT)
            if value.dtype.kind == "i"
            else (generator.standard_normal(value.shape, np.float32) * 1e-4).astype(np.float32)
            for name, value in base.items()
        }
        path = folder / f"delta-{number}"
        digests[path] = tensors.write(path, delta).sha256
    size = (folder / "delta-0").stat().st_size
    print(f"DenseNet-121: {sum(value.size for value in base.values()):,} values, {size:,} bytes of float32")
    return digests


def prepare(num_sites: int, rounds: int, runs: int) -> None:
    """Print what preparing and answering cost a site for each round."""
    private = [
        hpke.MLKEM768X25519PrivateKey(mlkem.MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate())
        for _ in range(num_sites)
    ]
    keys = [key.public_key() for key in private]
    boxes: list[bytes] = []

    def dealt() -> None:
        random = secrets_of("dealer")
        dealing = deal([new_secrets(random) for _ in range(rounds)], num_sites, random)
        boxes[:] = [SUITE.encrypt(box, key, b"info") for box, key in zip(dealing.boxes, keys, strict=True)]
        commitments[:] = dealing.commitments

    commitments: list[object] = []
    seconds, _ = median(dealt, runs)
    size = sum(map(len, boxes)) / rounds + 64 + 64 * num_sites
    print(f"  prepare  {seconds / rounds * 1e3:9.2f} ms a round of {rounds} together; {size:12,.0f} bytes a round")
    published = tuple(commitments)

    def opened() -> None:
        for _ in range(num_sites):
            opened_shares(SUITE.decrypt(boxes[0], private[0], b"info"), "dealer", "holder", 1, published)  # type: ignore[arg-type]

    seconds, _ = median(opened, runs)
    print(f"  answer   {seconds * 1e3:9.2f} ms, all {rounds} rounds checked; {num_sites * shamir.SHARE_BYTES:12,} bytes a round")


def records(folder: Path, num_sites: int, rounds: int) -> None:
    """Print the bytes of the records that a site signs for a round."""
    names = [*(f"site-{number:03d}" for number in range(num_sites)), layout.COORDINATOR]
    readers = [Reader(name, DecryptionKey.generate().public.line) for name in sorted(names)]
    signer = create_key(folder / "key", "site-000")

    def artifact(key: str, role: Role, content: int) -> Artifact:
        place, measured = (
            Place(federation=OPENING, record=key, role=role.value, content=OPENING),
            Measured(size=content, sha256=OPENING),
        )
        encryption = Encryption(recipients=wrapped_for(readers, sealing.new_key(), place))
        stored = Measured(size=sealing.sealed_size(content), sha256=OPENING)
        return describe(key, role, measured, stored=stored, encryption=encryption)

    def size(record: Record) -> int:
        data = wire.encode(record)
        return len(data) + len(signer.sign(data))

    head = {
        "federation": OPENING,
        "party": "site-000",
        "created": datetime.now(UTC),
        "versions": Versions(fedcli="0.1.0", python="3.11.2", numpy="2.4.1", torch="2.9.1"),
    }
    masks_size = masks_layout(num_sites, rounds).size
    key, update_key = layout.masks("site-000", 1), layout.update("site-000", 1)
    masks = MasksRecord(
        **head, number=1, federation_record=OPENING, first_round=1, num_rounds=rounds,
        artifacts=(artifact(key, Role.MASKS, masks_size),),
    )  # fmt: skip
    unscored = ValidationScore(patients=100, loss=0.5, kappa=0.5)
    update = UpdateRecord(
        **head, round=1, parent=OPENING, plan=OPENING, dataset=OPENING, steps=100, images=3200, patients=800, received=unscored,
        trained=unscored, training_loss=None, norm=None, seconds=100.0, device="cpu", threads=2, payload=Payload.MASKED_SUM,
        opening=OPENING, artifacts=(artifact(update_key, Role.UPDATE, 8 * 7_035_453),),
    )  # fmt: skip
    share = base64.b64encode(bytes(shamir.SHARE_BYTES)).decode()
    answer = UnmaskRecord(**head, round=1, closing=OPENING, shares=(share,) * num_sites, complaints=())
    of_masks = (size(masks) + sealing.sealed_size(masks_size)) / rounds
    parts = of_masks, size(update), size(answer)
    print(
        f"  records  {sum(parts):12,.0f} bytes a site and round: masks {of_masks:,.0f}, update {parts[1]:,}, answer {parts[2]:,}"
    )
    (folder / "key").unlink()


def measure(masked: Round, runs: int, digests: dict[Path, str]) -> None:
    """Print what masking costs a site, and the sum and the plain fold the coordinator."""
    first, *others = masked.sites
    seconds, busy = median(lambda: masked.mask(first), runs)
    size, plain_size = ((masked.folder / name).stat().st_size for name in (first, "delta-0"))
    print(f"  mask     {seconds:9.2f} s (processor {busy:.2f} s); {size:,} bytes, {size / plain_size:.4f} × the plain delta's")
    for site in others:
        masked.mask(site)
    num_sites = len(masked.sites)
    losses = min(int(DROPPED * num_sites), shamir.tolerated_losses(num_sites))
    for num_dropped in sorted({0, losses}):
        survivors = masked.sites[num_dropped:]
        plain, plain_busy = median(lambda: masked.plain(survivors, digests), runs)  # noqa: B023 - called at once
        seconds, busy = median(lambda: masked.sum(survivors), runs)  # noqa: B023
        compare(masked.folder)
        print(f"  sum      {seconds:9.2f} s (processor {busy:.2f} s), {len(survivors)} of {num_sites} sites;", end=" ")
        print(f"plain fold {plain:.2f} s ({plain_busy:.2f} s): {seconds / plain:.1f} × ({busy / plain_busy:.1f} ×)", flush=True)
    for site in masked.sites:
        (masked.folder / site).unlink()


def compare(folder: Path) -> None:
    """Require that both models are the same but for the last bit of values and half a unit of quantisation."""
    plain, masked = (tensors.read(folder / f"{name}-model") for name in ("plain", "masked"))
    for name, value in plain.items():
        difference = masked[name].astype(np.float64) - value
        assert (np.abs(difference) <= np.spacing(np.abs(value).astype(np.float32)) + 2.0**-33 / WEIGHT).all(), name


def median(work: Callable[[], object], runs: int) -> tuple[float, float]:
    """Return the medians of the seconds that some work takes, and of the processor's."""
    seconds, busy = [], []
    for _ in range(runs):
        started, busy_before = time.perf_counter(), time.process_time()
        work()
        seconds.append(time.perf_counter() - started)
        busy.append(time.process_time() - busy_before)
    return statistics.median(seconds), statistics.median(busy)


if __name__ == "__main__":
    main()
