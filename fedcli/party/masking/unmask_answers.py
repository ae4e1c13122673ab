"""The sites' answers to a closing: those that verify, and what they show of wrong shares and dealers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.errors import TrustError, UnreadableError
from fedcli.party.masking.masking_files import read_closing, read_opening, read_unmask
from fedcli.party.masking.unmasking import masked_sum, restored_secrets

if TYPE_CHECKING:
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import ClosingRecord, MaskedSum, OpeningRecord, UnmaskRecord
    from fedcli.party.party import Party


def read_answers(
    party: Party, opening: Verified[OpeningRecord], closing: Verified[ClosingRecord]
) -> dict[str, Verified[UnmaskRecord]]:
    """Return the answers to a closing that verify, by site; others are told of."""
    answers = {}
    for site in closing.record.sites:
        try:
            unmask = read_unmask(party.folder, site, opening, closing)
        except (TrustError, UnreadableError) as error:
            party.environment.progress.event(f"round {opening.record.round}: the answer of {site} is not used: {error}")
            continue
        if unmask is not None:
            answers[site] = unmask
    return answers


def evidence(party: Party, number: int) -> MaskedSum | None:
    """Return what the answers to the open round's closing show of wrong shares and dealers; None where they show nothing."""
    try:
        opening = read_opening(party.folder, number)
        closing = read_closing(party.folder, opening) if opening is not None else None
        if opening is None or closing is None:
            return None
        answers = read_answers(party, opening, closing)
        restored = restored_secrets(party.folder, opening, closing, answers)
    except (TrustError, UnreadableError) as error:
        party.environment.progress.event(f"round {number}: nobody is named for it: {error}")
        return None
    shown = masked_sum(opening, closing, answers, restored)
    return shown if shown.refused_shares or shown.culprits else None
