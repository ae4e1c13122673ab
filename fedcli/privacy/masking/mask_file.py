"""The file of prepared masks: what a site publishes about its secrets of a run of rounds, and a box of shares for each member.

Canonical safetensors with five tensors of U8, for R rounds and K members:

    boxes           (K, 1136 + 66 R)   by position: what HPKE has made of a member's shares
    key_shares      (R, K, 32)         SHA-256 of each member's share of e
    public_keys     (R, 32)            E
    seed_digests    (R, 32)            SHA-256 of b
    seed_shares     (R, K, 32)         SHA-256 of each member's share of b

HPKE is that of sealed files; its info is the JSON, without spaces, of [scheme, federation, dealer, holder, record key].
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedcli import tensors
from fedcli.privacy.masking.mask_keys import KEY_BYTES
from fedcli.privacy.masking.shamir import SECRET_BYTES, SHARE_BYTES
from fedcli.privacy.masking.share_boxes import RoundCommitments
from fedcli.privacy.sealing import WRAPPED_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.disk import Measured
    from fedcli.tensors import Layout

SCHEME = "fedcli-masks@1"
_DIGEST_BYTES = 32
_WRAPPING_BYTES = WRAPPED_BYTES - SECRET_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedMasks:
    """What a file of prepared masks holds.

    Attributes:
        commitments: By round.
        boxes: The encrypted shares of each member, by position.
    """

    commitments: tuple[RoundCommitments, ...]
    boxes: tuple[bytes, ...]


def box_info(federation: str, dealer: str, holder: str, record: str) -> bytes:
    """Return what HPKE binds a box of shares to.

    Args:
        federation: SHA-256 of the federation's first record.
        dealer: Who makes the box.
        holder: Whose it is.
        record: The key of the dealer's masks record.
    """
    return json.dumps([SCHEME, federation, dealer, holder, record], separators=(",", ":")).encode()


def masks_layout(num_members: int, num_rounds: int) -> Layout:
    """Return the layout of the file for K members and a run of rounds."""
    digests = (num_rounds, num_members, _DIGEST_BYTES)
    return tensors.layout(
        [
            ("boxes", "U8", (num_members, _WRAPPING_BYTES + 2 * SHARE_BYTES * num_rounds)),
            ("key_shares", "U8", digests),
            ("public_keys", "U8", (num_rounds, KEY_BYTES)),
            ("seed_digests", "U8", (num_rounds, _DIGEST_BYTES)),
            ("seed_shares", "U8", digests),
        ]
    )


def write_masks(path: Path, masks: PublishedMasks) -> Measured:
    """Write the file, and return its size and digest."""
    rounds = masks.commitments
    return tensors.write(
        path,
        {
            "boxes": _array(masks.boxes),
            "key_shares": np.stack([_array(item.key_shares) for item in rounds]),
            "public_keys": _array([item.public_key for item in rounds]),
            "seed_digests": _array([item.seed_digest for item in rounds]),
            "seed_shares": np.stack([_array(item.seed_shares) for item in rounds]),
        },
    )


def read_masks(path: Path) -> PublishedMasks:
    """Read a file whose layout was checked."""
    held = tensors.read(path)
    return PublishedMasks(
        commitments=tuple(
            RoundCommitments(
                public_key=held["public_keys"][number].tobytes(),
                seed_digest=held["seed_digests"][number].tobytes(),
                seed_shares=tuple(share.tobytes() for share in held["seed_shares"][number]),
                key_shares=tuple(share.tobytes() for share in held["key_shares"][number]),
            )
            for number in range(len(held["public_keys"]))
        ),
        boxes=tuple(box.tobytes() for box in held["boxes"]),
    )


def _array(rows: Sequence[bytes]) -> NDArray[np.uint8]:
    """Return rows of the same number of bytes."""
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
