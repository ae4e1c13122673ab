"""What `verify` has checked, one row per check and file, as one HTML page or one JSON object."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from fedcli import wire
from fedcli.errors import UsageError
from fedcli.exchange.records import RoundRecord, SiteRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet
    from datetime import datetime
    from pathlib import Path

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import Problem
    from fedcli.exchange.records import Record

SUFFIXES = (".html", ".json")


class CheckOutcome(StrEnum):
    """What a check has shown."""

    HOLDS = "holds"
    FAILS = "fails"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """One check of one file.

    Attributes:
        check: What was checked.
        file: The file's key in the drop folder; for a check of the whole folder, its address.
        result: What it has shown.
        detail: What holds, what is wrong, or why it was not checked.
    """

    check: str
    file: str
    result: CheckOutcome
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """The report on one drop folder.

    Attributes:
        address: The drop folder.
        moment: When it was verified.
        fedcli: The version that did so.
        status: verified, consistent or failed.
        statement: What holds, or what does not, in one sentence.
        coordinator: Fingerprint of the coordinator's first key, as the folder names it.
        federation: Digest of the first federation record.
        head: Digest of the newest round record.
        checks: Every check, by file.
        stated: Facts that only their signer can know: the records say them, and no check can.
    """

    address: str
    moment: datetime
    fedcli: str
    status: str
    statement: str
    coordinator: str
    federation: str
    head: str
    checks: tuple[CheckedFile, ...]
    stated: tuple[str, ...] = (
        "when a record was created, and with which versions, device and threads",
        "numbers of images, patients and steps, within the plan's bounds",
        "losses, kappas, scores and their intervals",
        "that an update was trained on the data that its data set record describes",
    )


def require_suffix(path: Path) -> None:
    """Raise a UsageError for a file that is neither HTML nor JSON."""
    if path.suffix not in SUFFIXES:
        msg = f"{path}: expected a file that ends in {' or '.join(SUFFIXES)}"
        raise UsageError(msg)


def render_verification(report: VerificationReport, suffix: str) -> bytes:
    """Return the report as the file's suffix says."""
    if suffix == ".json":
        return wire.encode(report)
    from fedcli.reporting.templates import template_environment  # noqa: PLC0415 - only a page needs jinja

    template = template_environment(autoescape=True).get_template("verification.html.j2")
    return template.render(report=report, findings=tuple(CheckOutcome)).encode()


def checks_of_records(
    records: Iterable[Verified[Record]],
    archived: AbstractSet[str],
    broken: AbstractSet[str],
    unopened: AbstractSet[str] = frozenset(),
) -> Iterator[CheckedFile]:
    """Yield the checks of every record that verifies, and of its artifacts.

    Args:
        records: The records.
        archived: Keys of artifacts that were moved out of the folder.
        broken: Keys of files that have a problem, which is a row of its own.
        unopened: Keys of artifacts that are sealed to others, of which only what is stored was checked.
    """
    for item in records:
        record = item.record
        detail = f"{record.schema} by {record.party}, SHA-256 {item.digest}"
        if isinstance(record, SiteRecord) and record.seen is not None:
            detail += f"; names {record.seen} of this history"
        if item.key not in broken:
            check = "record: size, signature, schema, place, bounds"
            yield CheckedFile(check=check, file=item.key, result=CheckOutcome.HOLDS, detail=detail)
        for artifact in item.artifacts:
            check = "artifact: size, digest, header" if artifact.key not in unopened else "artifact: stored size and digest"
            if artifact.key in archived:
                detail = "moved into a tar that was not given; the coordinator has signed for it"
                yield CheckedFile(check=check, file=artifact.key, result=CheckOutcome.NOT_CHECKED, detail=detail)
            elif artifact.key not in broken:
                detail = f"{artifact.stored_size} bytes, SHA-256 {artifact.stored_sha256}"
                yield CheckedFile(check=check, file=artifact.key, result=CheckOutcome.HOLDS, detail=detail)
                if artifact.key in unopened:
                    inside = "artifact: what is inside, its digest and header"
                    detail = "sealed to others"
                    yield CheckedFile(check=inside, file=artifact.key, result=CheckOutcome.NOT_CHECKED, detail=detail)


def checks_of_rounds(
    rounds: Iterable[Verified[RoundRecord]], first: int | None, broken: AbstractSet[str]
) -> Iterator[CheckedFile]:
    """Yield for every round after round 0 whether its model was recomputed.

    Args:
        rounds: The rounds.
        first: The first round that was recomputed; None if none was asked for.
        broken: Keys of files that have a problem.
    """
    for item in rounds:
        number = item.record.round
        check = f"replay of round {number}"
        if number == 0 or item.key in broken:
            continue
        if item.record.restart is not None:
            detail = f"the global model is that of round {item.record.restart.round}: SHA-256 {item.artifact.content_sha256}"
            yield CheckedFile(check=check, file=item.key, result=CheckOutcome.HOLDS, detail=detail)
            continue
        if item.record.relayed is not None and item.record.relayed.sum is None:
            detail = "the region has summed nothing, and the model is that of the federation above"
            yield CheckedFile(check=check, file=item.key, result=CheckOutcome.NOT_CHECKED, detail=detail)
            continue
        if first is None:
            yield CheckedFile(check=check, file=item.key, result=CheckOutcome.NOT_CHECKED, detail="only with --replay")
        elif number < first:
            detail = f"artifacts that it needs are archived; give their tar with --with; from round {first} on they are here"
            yield CheckedFile(check=check, file=item.key, result=CheckOutcome.NOT_CHECKED, detail=detail)
        else:
            what = "global model" if item.record.relayed is None else "mean that the region has sent above"
            detail = f"the {what} is the same, bit for bit: SHA-256 {item.artifact.content_sha256}"
            yield CheckedFile(check=check, file=item.key, result=CheckOutcome.HOLDS, detail=detail)


def checks_of_the_rest(problems: Iterable[Problem], unaccounted: Iterable[str]) -> Iterator[CheckedFile]:
    """Yield what does not hold, and every file that no verified record names."""
    for problem in problems:
        yield CheckedFile(check="what does not hold", file=problem.key, result=CheckOutcome.FAILS, detail=problem.message)
    for key in unaccounted:
        detail = "no verified record names this file; it is ignored"
        yield CheckedFile(check="file", file=key, result=CheckOutcome.NOT_CHECKED, detail=detail)
