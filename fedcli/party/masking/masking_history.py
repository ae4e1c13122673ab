"""The records of masked rounds in a whole history: read with it, and compared with the round records that name them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fedcli.errors import MissingError, TrustError, UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.masking.masking_ledger import verify_closing, verify_masks, verify_opening, verify_unmask
from fedcli.party.masking.unmasking import masked_sum, restored_secrets, unmasked_model
from fedcli.wire import SHORT_DIGEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcli.aggregation.update import Update
    from fedcli.exchange.checks import Signed, Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.records import ClosingRecord, MaskedSum, OpeningRecord, RoundRecord, UnmaskRecord
    from fedcli.party.folder import Folder
    from fedcli.party.history.records_read import Reading
    from fedcli.tensors import Layout


def read_masked_rounds(reading: Reading, history: History) -> None:
    """Read the openings, closings and answers of a drop folder, and the masks that sites have prepared.

    An opening of an earlier round that does not verify, and that no round record names, is passed over: an amendment by the
    recovery key may have come after it.
    """
    if not any(item.record.plan.aggregation.masking for item in history.federations):
        return
    for number in layout.numbers(reading.listed.get(layout.COORDINATOR, ()), "coordinator/round-{}/opening.json"):
        if 1 <= number <= len(history.rounds) and not (reading.newest and number < len(history.rounds) - 1):
            _read_steps(reading, number, history)
    for site in sorted(reading.folder.ledger.bounds.sites or ()):
        _read_masks(reading, site, history)
        for number in layout.numbers(reading.listed[site], f"{layout.prefix(site)}round-{{}}/unmask.json"):
            _read_unmask(reading, site, number, history)


def _read_steps(reading: Reading, number: int, history: History) -> None:
    """Read the opening and the closing of a round."""
    ledger = reading.folder.ledger
    named = number == len(history.rounds) or history.rounds[number].record.masked is not None
    verify = partial(verify_opening, ledger, number)
    if not named and not _verifies(reading, layout.opening(number), verify):
        return
    for opening in reading.attempt(layout.opening(number), verify):
        history.openings[number] = opening
        if layout.closing(number) in reading.listed[layout.COORDINATOR]:
            for closing in reading.attempt(layout.closing(number), partial(verify_closing, ledger, opening)):
                history.closings[number] = closing


def _verifies(reading: Reading, key: str, verify: Callable[[Signed], object]) -> bool:
    try:
        verify(reading.folder.read(key))
    except (TrustError, MissingError, UnreadableError):
        return False
    return True


def _read_unmask(reading: Reading, site: str, number: int, history: History) -> None:
    """Read a survivor's answer; what another site answers counts for nothing."""
    opening, closing = history.openings.get(number), history.closings.get(number)
    if opening is not None and closing is not None and site in closing.record.sites:
        for unmask in reading.attempt(
            layout.unmask(site, number), partial(verify_unmask, reading.folder.ledger, site, opening, closing)
        ):
            history.unmasks[site, number] = unmask


def _read_masks(reading: Reading, site: str, history: History) -> None:
    """Read the masks that openings name, however old they are, and the newest ones."""
    digests = {item.record.masks_of(site) for item in history.openings.values()} - {""}
    keys = layout.signed_as(reading.listed[site], digests)
    named = [number for key in keys for number in layout.numbers((key,), f"{layout.prefix(site)}masks/{{}}.json")]
    for number, key in reading.series(site, "masks/{}.json", named):
        for masks in reading.attempt(key, partial(verify_masks, reading.folder.ledger, site, number)):
            history.masks[site, masks.digest] = masks


def check_masked_rounds(reading: Reading, history: History) -> None:
    """Note every masked round whose record differs from its opening, its closing or the answers that it names."""
    for verified in history.rounds:
        if verified.record.masked is None:
            continue
        try:
            _check_record(history, verified.record, verified.record.masked)
        except TrustError as error:
            reading.note(verified.key, f"{verified.key}: {error}")


def _check_record(history: History, record: RoundRecord, masked: MaskedSum) -> None:
    opening, closing, answers = _named(history, record, masked)
    for item in opening.record.participants:
        if (item.site, item.masks) not in history.masks:
            msg = (
                f"{layout.prefix(item.site)}masks/: no valid masks record {item.masks[:SHORT_DIGEST]}, which {opening.key} names"
            )
            raise TrustError(msg)
    if record.restart is not None:
        return
    expected = closing.record
    stated = tuple((item.site, item.update) for item in record.contributions)
    lists = {
        "contributions": (tuple((item.site, item.update) for item in expected.survivors), stated),
        "absent": (expected.absent, record.absent),
        "excused": (expected.excused, record.excused),
        "rejected": (expected.rejected, record.rejected),
    }
    for what, (wanted, found) in lists.items():
        if wanted != found:
            msg = f"{what} differ from those of {closing.key}"
            raise TrustError(msg)
    if strangers := [site for site in answers if site not in expected.sites]:
        msg = f"the answer of {strangers[0]} is used, which is no survivor"
        raise TrustError(msg)


def _named(
    history: History, record: RoundRecord, masked: MaskedSum
) -> tuple[Verified[OpeningRecord], Verified[ClosingRecord], dict[str, Verified[UnmaskRecord]]]:
    """Return the records that a masked round names.

    Raises:
        TrustError: One is missing, does not verify, or is another one.
    """
    number = record.round
    opening, closing = history.openings.get(number), history.closings.get(number)
    if opening is None or opening.digest != masked.opening:
        msg = f"{layout.opening(number)}: missing, or not the opening {masked.opening[:SHORT_DIGEST]} that the round names"
        raise TrustError(msg)
    if closing is None or closing.digest != masked.closing:
        msg = f"{layout.closing(number)}: missing, or not the closing {masked.closing[:SHORT_DIGEST]} that the round names"
        raise TrustError(msg)
    answers = {}
    for item in masked.answers:
        unmask = history.unmasks.get((item.site, number))
        if unmask is None or unmask.digest != item.unmask:
            key = layout.unmask(item.site, number)
            msg = f"{key}: missing, or not the answer {item.unmask[:SHORT_DIGEST]} that the round names"
            raise TrustError(msg)
        answers[item.site] = unmask
    return opening, closing, answers


def replay_masked(folder: Folder, history: History, record: RoundRecord, base: Update, layout_: Layout) -> str:
    """Return SHA-256 of the model that a masked round's updates and answers make; an empty text for a restart.

    Raises:
        SealedError: A file is sealed to others.
        TrustError: A file does not hold, or the answers show something else than the record says.
    """
    if record.masked is None:
        raise AssertionError(record.round)
    opening, closing, answers = _named(history, record, record.masked)
    restored = restored_secrets(folder, opening, closing, answers)
    if masked_sum(opening, closing, answers, restored) != record.masked:
        msg = "the answers show other wrong shares or dealers than the record names"
        raise TrustError(msg)
    if record.restart is not None:
        return ""
    if not restored.complete:
        msg = "the answers do not restore every secret"
        raise TrustError(msg)
    updates = [history.updates[item.site, record.round] for item in record.contributions]
    return unmasked_model(folder, opening, restored, updates, base, layout_, None).sha256
