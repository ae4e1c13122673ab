"""Shamir's sharing: T shares restore the secret, and fewer say nothing about it."""

from __future__ import annotations

import secrets
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcli.privacy.masking import shamir
from tests.privacy.masking.masked_round import fixed_random

SECRETS = st.binary(min_size=32, max_size=32) | st.sampled_from([bytes(32), b"\xff" * 32])


@given(secret=SECRETS, numbers=st.tuples(st.integers(1, 30), st.integers(1, 30)), data=st.data())
def test_any_so_many_shares_restore_the_secret(secret: bytes, numbers: tuple[int, int], data: st.DataObject) -> None:
    needed, num_shares = sorted(numbers)
    shares = shamir.split(secret, num_shares, needed, secrets.token_bytes)
    assert all(len(share) == 33 for share in shares)
    positions = data.draw(st.permutations(range(1, num_shares + 1)))[:needed]
    assert shamir.combine({position: shares[position - 1] for position in positions}) == secret


@pytest.mark.parametrize("num_members", range(3, 11))
def test_every_choice_of_a_threshold_of_shares_restores_the_secret(num_members: int) -> None:
    secret, needed = secrets.token_bytes(32), shamir.threshold(num_members)
    shares = dict(enumerate(shamir.split(secret, num_members, needed, secrets.token_bytes), 1))
    for chosen in combinations(shares, needed):
        assert shamir.combine({position: shares[position] for position in chosen}) == secret


def test_threshold_and_losses_are_those_of_the_design() -> None:
    for num_members in range(3, 1001):
        needed = shamir.threshold(num_members)
        assert needed == 2 * num_members // 3 + 1
        assert shamir.tolerated_losses(num_members) == -(-num_members // 3) - 1
        assert 2 * needed - num_members > num_members / 3  # two such groups share more than a third: an honest member
    assert [shamir.tolerated_losses(number) for number in (3, 4, 5, 6, 7, 10)] == [0, 1, 1, 1, 2, 3]


def test_with_one_share_less_every_secret_is_possible() -> None:
    """For each other secret there is a last share that makes it of the same T - 1 shares."""
    shares = dict(enumerate(shamir.split(b"a" * 32, 5, 4, fixed_random(1)), 1))
    known = {position: shares[position] for position in (1, 2, 3)}
    points = {0: int.from_bytes(b"b" * 32)} | {position: int.from_bytes(share) for position, share in known.items()}
    value = 0
    for position, point in points.items():
        term = point
        for other in points.keys() - {position}:
            term = term * (5 - other) * pow(position - other, -1, shamir.PRIME) % shamir.PRIME
        value += term
    fitting = (value % shamir.PRIME).to_bytes(33)
    assert fitting != shares[5]
    assert shamir.combine(known | {5: fitting}) == b"b" * 32
    assert shamir.combine(known | {5: shares[5]}) == b"a" * 32


def test_the_field_is_a_prime_field_above_all_secrets() -> None:
    assert all(pow(base, shamir.PRIME - 1, shamir.PRIME) == 1 for base in (2, 3, 5, 7, 11, 13, 17))
    assert shamir.PRIME == 2**256 + 297


def test_a_share_that_is_none_is_refused() -> None:
    shares = dict(enumerate(shamir.split(b"a" * 32, 3, 3, fixed_random(2)), 1))
    with pytest.raises(ValueError, match="positions from 1 and 33 bytes"):
        shamir.combine(shares | {3: shares[3][1:]})
    with pytest.raises(ValueError, match="positions from 1"):
        shamir.combine({0: shares[1]})
    with pytest.raises(ValueError, match="positions from 1"):
        shamir.combine({})
    with pytest.raises(ValueError, match="not those of a secret"):
        shamir.combine(shares | {3: shamir.PRIME.to_bytes(33)})
    with pytest.raises(ValueError, match="not those of a secret"):  # the value at 0 is 2**256
        shamir.combine({1: (2**256).to_bytes(33)})
    for secret, num_shares, needed in ((b"a" * 31, 3, 2), (b"a" * 32, 3, 4), (b"a" * 32, 3, 0)):
        with pytest.raises(ValueError, match="cannot split"):
            shamir.split(secret, num_shares, needed, secrets.token_bytes)
