"""What a site prepares for a run of rounds: secrets, what it publishes about them, and the shares that each member keeps.

For each round a dealer has a seed b and an X25519 private key e. It publishes the public key E, SHA-256 of b, and SHA-256 of
every member's share of b and of e. The members' positions are those of their names in bytewise order, from 1. The box of a
member holds, round after round, its share of b, then its share of e: 66 bytes for each round. The caller encrypts each box.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from fedcli.errors import TrustError
from fedcli.privacy.masking import shamir
from fedcli.privacy.masking.mask_keys import KEY_BYTES, public_key_of
from fedcli.privacy.masking.shamir import SECRET_BYTES, SHARE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class SecretKind(StrEnum):
    """The two secrets of a round, of which never both are restored: a survivor's seed, or a dropped site's private key."""

    SEED = "seed"
    PRIVATE_KEY = "private_key"


class WrongBoxError(TrustError):
    """A box does not hold the shares that its dealer has published the digests of.

    Attributes:
        dealer: Who made it.
        holder: Whose it is.
    """

    def __init__(self, dealer: str, holder: str, fault: str) -> None:
        super().__init__(f"the box of shares from {dealer} for {holder} {fault}", hint=f"{dealer} must prepare new masks")
        self.dealer = dealer
        self.holder = holder


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSecrets:
    """A dealer's secrets of a round; they stay in its workspace, and are erased with its masked update.

    Attributes:
        seed: b, 32 bytes.
        private_key: e, 32 bytes.
    """

    seed: bytes
    private_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundShares:
    """A member's shares of a dealer's secrets of a round, 33 bytes each."""

    seed: bytes
    private_key: bytes

    def of(self, kind: SecretKind) -> bytes:
        """Return the share of one of the secrets."""
        return self.seed if kind is SecretKind.SEED else self.private_key


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundCommitments:
    """What a dealer publishes about a round.

    Attributes:
        public_key: E, 32 bytes.
        seed_digest: SHA-256 of b, 32 bytes.
        seed_shares: SHA-256 of each member's share of b, 32 bytes each, by position.
        key_shares: The same of e.
    """

    public_key: bytes
    seed_digest: bytes
    seed_shares: tuple[bytes, ...]
    key_shares: tuple[bytes, ...]

    def share_digest(self, kind: SecretKind, position: int) -> bytes:
        """Return the digest of the share at a position, from 1."""
        return (self.seed_shares if kind is SecretKind.SEED else self.key_shares)[position - 1]

    def fault_of(self, kind: SecretKind, secret: bytes) -> str:
        """Return in a few words how a restored secret differs from what was published; empty if it does not."""
        if kind is SecretKind.SEED:
            return "" if digest(secret) == self.seed_digest else "its seed is not the one of the published digest"
        return "" if public_key_of(secret) == self.public_key else "its private key is not that of the published public key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dealing:
    """What a dealer has prepared.

    Attributes:
        commitments: By round.
        boxes: The plain content of every member's box, by position.
    """

    commitments: tuple[RoundCommitments, ...]
    boxes: tuple[bytes, ...]


def new_secrets(random: Callable[[int], bytes]) -> RoundSecrets:
    """Return a round's secrets, from a cryptographic source of random bytes."""
    return RoundSecrets(seed=random(SECRET_BYTES), private_key=random(KEY_BYTES))


def deal(secrets: Sequence[RoundSecrets], num_members: int, random: Callable[[int], bytes]) -> Dealing:
    """Share the secrets of a run of rounds among all members, the dealer included.

    Args:
        secrets: By round.
        num_members: K.
        random: Returns so many random bytes, from a cryptographic source.
    """
    needed = shamir.threshold(num_members)
    shares = [
        [shamir.split(secret, num_members, needed, random) for secret in (of_round.seed, of_round.private_key)]
        for of_round in secrets
    ]
    commitments = tuple(
        RoundCommitments(
            public_key=public_key_of(of_round.private_key),
            seed_digest=digest(of_round.seed),
            seed_shares=tuple(map(digest, seed_shares)),
            key_shares=tuple(map(digest, key_shares)),
        )
        for of_round, (seed_shares, key_shares) in zip(secrets, shares, strict=True)
    )
    boxes = (b"".join(kind[member] for kinds in shares for kind in kinds) for member in range(num_members))
    return Dealing(commitments=commitments, boxes=tuple(boxes))


def opened_shares(
    box: bytes, dealer: str, holder: str, position: int, commitments: Sequence[RoundCommitments]
) -> tuple[RoundShares, ...]:
    """Return the shares in a decrypted box, by round.

    Args:
        box: What it holds.
        dealer: Who made it.
        holder: Whose it is.
        position: The holder's, from 1.
        commitments: What the dealer has published, by round.

    Raises:
        WrongBoxError: The box has another length, or a share has another digest.
    """
    if len(box) != 2 * SHARE_BYTES * len(commitments):
        expected = f"{2 * SHARE_BYTES * len(commitments)} for {len(commitments)} rounds"
        raise WrongBoxError(dealer, holder, f"has {len(box)} bytes, expected {expected}")
    values = [box[begin : begin + SHARE_BYTES] for begin in range(0, len(box), SHARE_BYTES)]
    shares = tuple(RoundShares(seed=seed, private_key=key) for seed, key in zip(values[::2], values[1::2], strict=True))
    for number, (of_round, published) in enumerate(zip(shares, commitments, strict=True), 1):
        for kind in SecretKind:
            if digest(of_round.of(kind)) != published.share_digest(kind, position):
                what = f"another share of the {kind.replace('_', ' ')} than the one published"
                raise WrongBoxError(dealer, holder, f"holds {what}, in round {number} of {len(shares)}")
    return shares


def digest(data: bytes) -> bytes:
    """Return SHA-256 as 32 bytes."""
    return hashlib.sha256(data).digest()
