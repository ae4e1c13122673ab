"""Write a model as a folder that leaves the federation: for other programs, with the signed records that lead to it.

verify → choose the model, as for a model card → write it as safetensors and as ONNX, and compare what both return → describe its
input → copy the records. The folder is written whole or not at all.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli import wire
from fedcli.errors import MissingError, UsageError
from fedcli.exchange.history.lineage import untrained
from fedcli.learning.evaluation import onnx_model
from fedcli.model_package.description import describe
from fedcli.model_package.exported_model import write_model
from fedcli.model_package.package_provenance import provenance_of
from fedcli.model_package.records import leading_to, write_records
from fedcli.party.history.history_reader import read_history
from fedcli.party.history.inspection import confirmation, require_chain
from fedcli.plan import Statistics
from fedcli.privacy.keyring import scratch_of
from fedcli.reporting import model_card
from fedcli.reporting.report_data import gather
from fedcli.results import Result, Status
from fedcli.staging import replacing

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.exchange.history import History
    from fedcli.exchange.records import ModelReference
    from fedcli.party.source import Source
    from fedcli.reporting.tables import ChosenModel

ONNX, WEIGHTS, INPUT, CARD = "model.onnx", "model.safetensors", "input.json", "model-card.md"
RECORDS, PACKAGE = "records", "package.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRequest:
    """What to package.

    Attributes:
        source: The drop folder.
        out: The folder to write; an older package in it is replaced.
        model: Which model: `best`, `final`, `global`, `SITE` or `SITE/KIND`, see `reporting.tables.choose`.
    """

    source: Source
    out: Path
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageResult(Result):
    """A package that was written.

    Attributes:
        out: The folder.
        files: What is in it.
        model: The model, and the record behind it.
        verified: Whether the coordinator's key is one that was given or pinned.
        statement: What was verified, and against which key.
        difference: The largest difference of a probability between ONNX and torch.
    """

    out: str
    files: tuple[str, ...]
    model: ModelReference
    verified: bool
    statement: str
    difference: float


def package(request: PackageRequest, environment: Environment) -> PackageResult:
    """Write a package.

    Raises:
        UsageError: There can be no such model, or the packages for ONNX are not installed.
        MissingError: There is no such model yet, or nobody has trained it.
        TrustError: What leads to the model does not verify.
        TrainingError: ONNX and torch return different probabilities.
        DataError: The folder has other files, or cannot be written.
    """
    onnx_model.require_packages()
    known = (ONNX, WEIGHTS, INPUT, CARD, RECORDS, PACKAGE)
    keyring = request.source.keyring(environment.passphrase)
    with tempfile.TemporaryDirectory(prefix="fedcli-package-", dir=scratch_of(keyring)) as scratch:
        drop = request.source.folder(Path(scratch), keyring=keyring)
        history, reading = read_history(drop)
        require_chain(history, reading)
        statement = confirmation(drop.ledger)
        report = gather(history, statement, request.model)
        chosen = _require_trained(report.chosen, history)
        with replacing(request.out, known=known, what="a package") as folder:
            difference = write_model(folder / WEIGHTS, folder / ONNX, drop, chosen, history.plan)
            (folder / INPUT).write_bytes(wire.encode(describe(history.plan)))
            (folder / CARD).write_text(model_card.render(report, chosen), encoding="utf-8")
            records = leading_to(chosen.verified, chosen.last_round or 0, history)
            write_records(folder / RECORDS, records, history, drop.store)
            provenance = provenance_of(folder, RECORDS, report, chosen, drop, difference, environment.clock())
            (folder / PACKAGE).write_bytes(wire.encode(provenance))
    return PackageResult(
        status=Status.DONE,
        message=f"{request.out}: {chosen.title}, as ONNX and safetensors, with {len(records)} signed records; {statement}",
        out=str(request.out),
        files=(PACKAGE, *(file.path for file in provenance.files)),
        model=chosen.reference,
        verified=drop.ledger.pinned is not None,
        statement=statement,
        difference=difference,
    )


def _require_trained(chosen: ChosenModel | None, history: History) -> ChosenModel:
    """Return the model, if somebody has trained it and it is whole."""
    if chosen is None or (chosen.site is None and untrained(history.rounds, chosen.reference.round)):
        msg = "no site has trained a model yet: the newest one is φ(0)"
        raise MissingError(msg, hint="fedcli status shows whose turn it is")
    if chosen.site is None and history.plan.training.statistics is Statistics.LOCAL:
        msg = 'a global model is not whole: with training.statistics = "local", BatchNorm layers stay at the sites'
        raise UsageError(msg, hint="choose a site's model with --model SITE")
    return chosen
