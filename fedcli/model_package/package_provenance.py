"""Where a package comes from: the signed record behind its model, what was verified, and the digest of every file."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from fedcli import __version__, disk
from fedcli.exchange import layout
from fedcli.exchange.records import ModelReference
from fedcli.learning.evaluation import onnx_model
from fedcli.model_package.exported_model import NUM_TRIED
from fedcli.wire import STRICT, Digest, Timestamp

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from fedcli.party.folder import Folder
    from fedcli.reporting.report_data import Report
    from fedcli.reporting.tables import ChosenModel


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PackagedFile:
    """A file of a package."""

    path: str
    sha256: Digest


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PackageProvenance:
    """Where a package comes from.

    Attributes:
        schema: Name and version of this class.
        federation: SHA-256 of the federation's first record.
        coordinator: Fingerprint of the coordinator's first key.
        statement: What was verified, and against which key.
        plan: Digest of the plan in force.
        model: The model, and the record behind it.
        record: The path of that record in this folder.
        signature: The path of its signature.
        opset: The version of ONNX's operators.
        compared: Images for which ONNX and torch were compared.
        difference: The largest difference of a probability there.
        created: When, in UTC.
        fedcli: Version of fedcli.
        python: Version of Python.
        files: Every other file and its digest.
    """

    schema: Literal["fedcli-package-1"] = "fedcli-package-1"
    federation: Digest
    coordinator: str
    statement: str
    plan: Digest
    model: ModelReference
    record: str
    signature: str
    opset: int
    compared: int
    difference: float
    created: Timestamp
    fedcli: str
    python: str
    files: tuple[PackagedFile, ...]


def provenance_of(
    folder: Path, records: str, report: Report, chosen: ChosenModel, drop: Folder, difference: float, created: datetime
) -> PackageProvenance:
    """Return where a package comes from.

    Args:
        folder: The package, with all its other files.
        records: The folder of the signed records in it.
        report: What was verified.
        chosen: The model.
        drop: The drop folder.
        difference: The largest difference of a probability between ONNX and torch.
        created: When, in UTC.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return PackageProvenance(
        federation=report.federation,
        coordinator=drop.ledger.first_key.fingerprint,
        statement=report.statement,
        plan=report.plan.digest,
        model=chosen.reference,
        record=f"{records}/{chosen.verified.key}",
        signature=f"{records}/{layout.signature(chosen.verified.key, chosen.verified.digest)}",
        opset=onnx_model.OPSET,
        compared=NUM_TRIED,
        difference=difference,
        created=created,
        fedcli=__version__,
        python=platform.python_version(),
        files=tuple(PackagedFile(path=path.relative_to(folder).as_posix(), sha256=disk.measure(path).sha256) for path in files),
    )
