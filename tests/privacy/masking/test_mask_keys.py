"""Keys of masks: both sites of a pair have the same, nobody else has it, and keys that everybody knows are refused by name."""

from __future__ import annotations

import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from fedcli.errors import TrustError
from fedcli.privacy.masking.mask_keys import WeakKeyError, check_public_key, pair_mask, public_key_of, self_mask
from tests.privacy.masking.masked_round import OPENING

FIELD = 2**255 - 19
LOW_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]
"""All encodings of points of low order, but for the bit that X25519 ignores (RFC 7748, section 6.1; cr.yp.to/ecdh.html)."""
KEYS = st.binary(min_size=32, max_size=32)


@given(first=KEYS, second=KEYS)
def test_both_of_a_pair_have_one_key_and_opposite_signs(first: bytes, second: bytes) -> None:
    lower = pair_mask(first, "north", "south", public_key_of(second), OPENING)
    higher = pair_mask(second, "south", "north", public_key_of(first), OPENING)
    assert lower.key == higher.key
    assert (lower.adds, higher.adds) == (True, False)


def test_each_key_is_of_one_pair_one_round_and_one_use() -> None:
    private, peer = secrets.token_bytes(32), public_key_of(secrets.token_bytes(32))
    keys = {
        pair_mask(private, "a", "b", peer, OPENING).key,
        pair_mask(private, "a", "c", peer, OPENING).key,
        pair_mask(private, "a", "b", peer, "0" * 64).key,
        self_mask(private, "a", OPENING).key,
        self_mask(private, "b", OPENING).key,
        self_mask(private, "a", "0" * 64).key,
    }
    assert len(keys) == 6


def test_the_lower_name_is_lower_in_bytes() -> None:
    """A hyphen sorts before digits, and digits before letters."""
    peer = public_key_of(secrets.token_bytes(32))
    for lower, higher in (("a-b", "a0"), ("a", "a-"), ("z9", "za")):
        assert pair_mask(secrets.token_bytes(32), lower, higher, peer, OPENING).adds
        assert not pair_mask(secrets.token_bytes(32), higher, lower, peer, OPENING).adds


@pytest.mark.parametrize("ignored_bit", [0, 0x80])
@pytest.mark.parametrize("key", LOW_ORDER)
def test_a_key_of_low_order_is_refused_and_its_owner_named(key: str, ignored_bit: int) -> None:
    weak = bytearray.fromhex(key)
    weak[31] |= ignored_bit
    with pytest.raises(ValueError, match="shared key"):  # that it is weak
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(bytes(weak)))
    with pytest.raises(WeakKeyError, match="masking key of south is") as caught:
        check_public_key("south", bytes(weak))
    assert caught.value.owner == "south"
    assert isinstance(caught.value, TrustError)
    with pytest.raises(WeakKeyError, match="masking key of south is"):
        pair_mask(secrets.token_bytes(32), "north", "south", bytes(weak), OPENING)


def test_only_the_encoding_that_follows_from_the_private_key_is_taken() -> None:
    key = public_key_of(secrets.token_bytes(32))
    check_public_key("south", key)
    other = key[:31] + bytes([key[31] | 0x80])
    reduced = (9).to_bytes(32, "little")
    check_public_key("south", reduced)
    for encoding in (other, (9 + FIELD).to_bytes(32, "little")):
        with pytest.raises(WeakKeyError, match="masking key of south is not canonical"):
            check_public_key("south", encoding)
    for length in (31, 33):
        with pytest.raises(WeakKeyError, match=f"has {length} bytes, expected 32"):
            check_public_key("south", bytes(length))


def test_a_site_has_no_mask_with_itself() -> None:
    private = secrets.token_bytes(32)
    with pytest.raises(ValueError, match="north has no pair mask with itself"):
        pair_mask(private, "north", "north", public_key_of(private), OPENING)
