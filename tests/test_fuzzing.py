"""Whatever bytes another party, or a person's file, holds: a documented refusal, soon, and in little memory.

`FEDCLI_FUZZ` sets the number of inputs of a run; each thousand is a test of its own, so that a failure names few of them.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest

from fedcli import plan, tensors
from fedcli.errors import ConfigurationError, DataError, StoreError, TrustError
from fedcli.exchange import layout, signatures, tar
from fedcli.exchange.records import ModelKind
from fedcli.imaging.labels import columns
from fedcli.tensors import TensorError
from tests.fixtures.fuzzing import FuzzTarget, fuzz
from tests.fixtures.history import complete_history
from tests.fixtures.records import file_of, model
from tests.fixtures.signing import sign, signer_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PART = 1000
TOTAL = int(os.environ.get("FEDCLI_FUZZ", "50000"))

LABELS = (
    b"patient_id,side,view,density\nP1,L,CC,a\nP1,R,MLO,b\nP2,L,CC,c\n",
    '\ufeffStudyInstanceUID;Dichte;density\n1.2.3;D;d\n1.2.4;"x;""y";1\n'.encode(),
    b"file\tclass\na/b.dcm\t4\nc.dcm\tB\n",
)


def records(_: Path) -> FuzzTarget:
    """Records of every kind, signed by their own party after the change: what a member can write itself."""
    history = complete_history()
    ledger = history.ledger()

    def read(data: bytes) -> None:
        for key in keys_for(data):
            signed = sign(key, data, layout.owner(key))
            site = layout.owner(key)
            if key == layout.federation(0):
                type(ledger)(ledger.pinned).add_federation(signed)
            elif site == layout.COORDINATOR:
                history.ledger(1).add_round(signed)
            elif "/round-" in key:
                ledger.update(site, 1, signed)
            elif "/enrolment-" in key:
                ledger.enrolment(site, signed)
            elif "/dataset/" in key:
                ledger.dataset(site, 1, signed)
            elif "/models/" in key:
                ledger.model(site, 1, ModelKind.FEDERATED, signed)
            else:
                ledger.evaluation(site, 1, signed)

    kinds = {
        b"federation@": layout.federation(0), b"round@": layout.round_record(1), b"update@": layout.update("north", 1),
        b"enrolment@": layout.enrolment("north", 0), b"dataset@": layout.dataset("north", 1),
        b"model@": layout.model("north", 1, "federated"), b"evaluation@": layout.evaluation("north", 1),
    }  # fmt: skip

    def keys_for(data: bytes) -> list[str]:
        """Return the place of the kind that a record still names; a record of no kind is read in the place of an update."""
        return [key for kind, key in kinds.items() if b"fedcli/" + kind in data][:1] or [layout.update("north", 1)]

    valid = [history.records[key].data for key in kinds.values()]
    return FuzzTarget(valid=valid, read=read, refusals=(TrustError,), structured=True)


def signed_bytes(_: Path) -> FuzzTarget:
    signers = [signer_of(name) for name in ("north", "valley")]
    allowed = [signer.verify_key for signer in signers]
    return FuzzTarget(
        valid=[signer.sign(b"record") for signer in signers],
        read=lambda data: signatures.verify(data, b"record", allowed),
        refusals=(TrustError,),
        tokens=(b"-----BEGIN SSH SIGNATURE-----\n", b"AAAA", b"=", b"U1NIU0lH"),
    )


def headers(_: Path) -> FuzzTarget:
    numbered = {f"layer.{number}.weight": value for number, value in enumerate(model(2).values())}
    return FuzzTarget(
        valid=[file_of(arrays) for arrays in (model(1.0), {}, numbered)],
        read=lambda data: tensors.read_layout(io.BytesIO(data)),
        refusals=(TensorError,),
        tokens=(
            b"__metadata__",
            b'"dtype":"F64"',
            b'"data_offsets":[0,99999999999]',
            b'"shape":[]',
            (2**63).to_bytes(8, "little"),
        ),
    )


def plans(path: Path) -> FuzzTarget:
    valid = [plan.template().encode(), b'name = "a"\nrounds = 3\n[training]\nrate = 0.5\n']
    tokens = (
        b"[training]\n",
        b"[[images]]\n",
        b'"""',
        b"2026-11-24",
        b"inf",
        b"0x_1",
        b"a.b.c = 1\n",
        b"{a = 1}",
        b"rounds = 1\n",
    )
    return FuzzTarget(valid=valid, read=of_a_file(path, plan.load), refusals=(ConfigurationError,), tokens=tokens)


def tars(path: Path) -> FuzzTarget:
    files = [(layout.federation(0), b"{}"), (layout.update("north", 1), b"x" * 600), (layout.update("valley", 2), b"")]
    tar.write(path, files)
    valid = [path.read_bytes()]

    def read(path: Path) -> None:
        opened = tar.Tar(path)
        for key in opened.list(""):
            opened.read(key, 10_000)

    tokens = (b"ustar\x0000", b"././@PaxHeader", bytes(512), b"path=a\n", b"size=9\n")
    return FuzzTarget(valid=valid, read=of_a_file(path, read), refusals=(TrustError, StoreError), tokens=tokens)


def label_tables(path: Path) -> FuzzTarget:
    tokens = (b"patient_id", b"{density}", b'"' * 3, b"," * 300, b"\x00", b"\r\n")
    read = of_a_file(path, lambda path: columns.read(path, columns.LabelColumns()))
    return FuzzTarget(valid=LABELS, read=read, refusals=(DataError,), tokens=tokens)


def of_a_file(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Return what reads bytes as `read` reads a file."""

    def read_bytes(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return read_bytes


TARGETS: dict[str, tuple[Callable[[Path], FuzzTarget], int]] = {  # each with its share of fifty inputs
    "records": (records, 20),
    "signatures": (signed_bytes, 8),
    "headers": (headers, 7),
    "plans": (plans, 6),
    "tars": (tars, 5),
    "labels": (label_tables, 4),
}
PARTS = [(name, part) for name, (_, share) in TARGETS.items() for part in range(max(1, TOTAL * share // 50 // PART))]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "part"), PARTS)
def test_any_bytes_are_read_or_refused(name: str, part: int, tmp_path: Path) -> None:
    run = fuzz(TARGETS[name][0](tmp_path / "file"), part, PART)
    assert run.num_accepted + run.num_refused >= PART
    assert run.num_refused > PART // 10  # the changes are seen


@pytest.mark.parametrize("name", TARGETS)
def test_a_few_bytes_are_read_or_refused(name: str, tmp_path: Path) -> None:
    """The same as above, for every run of the tests."""
    assert fuzz(TARGETS[name][0](tmp_path / "file"), 0, 50).num_refused
