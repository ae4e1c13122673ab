"""The secrets that remove a round's masks, restored from the members' answers; and whoever dealt or answered wrongly.

Of each dealer the share whose SHA-256 is not the published one is left out: holder and dealer are named, since nobody else knows
which of them it was. Of the others those of the T lowest positions are combined, so that everybody restores the same. A
secret that its dealer has not published convicts the dealer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.privacy.masking import shamir
from fedcli.privacy.masking.share_boxes import digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedcli.privacy.masking.share_boxes import RoundCommitments, SecretKind


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongShare:
    """An answer that is not the share whose digest was published: either of the two is at fault.

    Attributes:
        holder: Who answered.
        dealer: Whose secret it is a share of.
    """

    holder: str
    dealer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongDealer:
    """A dealer whose shares restore another secret than the one that it has published something about.

    Attributes:
        dealer: The site.
        fault: In a few words.
    """

    dealer: str
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredSecrets:
    """What the answers tell.

    Attributes:
        secrets: By dealer.
        wrong_shares: Sorted by dealer, then by position.
        wrong_dealers: Sorted.
        lacking: The dealers of whom fewer than T shares are there, with the number that is missing; sorted.
    """

    secrets: dict[str, bytes]
    wrong_shares: tuple[WrongShare, ...]
    wrong_dealers: tuple[WrongDealer, ...]
    lacking: dict[str, int]

    @property
    def complete(self) -> bool:
        """Whether all masks can be removed."""
        return not self.wrong_dealers and not self.lacking


def restore(
    members: Sequence[str],
    kinds: Mapping[str, SecretKind],
    commitments: Mapping[str, RoundCommitments],
    answers: Mapping[str, Mapping[str, bytes]],
) -> RestoredSecrets:
    """Restore one secret of each participant: a survivor's seed, a dropped site's private key.

    Args:
        members: The K members among whom the secrets were shared, in any order.
        kinds: Which secret of each participant is restored.
        commitments: What each participant has published for the round.
        answers: The shares, by holder, then by dealer.
    """
    ordered = sorted(members, key=str.encode)
    secrets: dict[str, bytes] = {}
    wrong_shares: list[WrongShare] = []
    wrong_dealers: list[WrongDealer] = []
    lacking: dict[str, int] = {}
    for dealer in sorted(kinds, key=str.encode):
        kind, published = kinds[dealer], commitments[dealer]
        shares: dict[int, bytes] = {}
        for position, holder in enumerate(ordered, 1):
            if (share := answers.get(holder, {}).get(dealer)) is None:
                continue
            if digest(share) == published.share_digest(kind, position):
                shares[position] = share
            else:
                wrong_shares.append(WrongShare(holder=holder, dealer=dealer))
        if (missing := shamir.threshold(len(ordered)) - len(shares)) > 0:
            lacking[dealer] = missing
            continue
        secret, fault = _combined(shares, len(ordered), kind, published)
        if fault:
            wrong_dealers.append(WrongDealer(dealer=dealer, fault=fault))
        else:
            secrets[dealer] = secret
    return RestoredSecrets(secrets=secrets, wrong_shares=tuple(wrong_shares), wrong_dealers=tuple(wrong_dealers), lacking=lacking)


def _combined(shares: Mapping[int, bytes], num_members: int, kind: SecretKind, published: RoundCommitments) -> tuple[bytes, str]:
    """Return the secret of the shares of the lowest positions, and what is wrong with it."""
    used = {position: shares[position] for position in sorted(shares)[: shamir.threshold(num_members)]}
    try:
        secret = shamir.combine(used)
    except ValueError as error:
        return b"", str(error)
    return secret, published.fault_of(kind, secret)
