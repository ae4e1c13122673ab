"""Boxes and answers: what is dealt comes back; wrong shares name holder and dealer, wrong secrets convict the dealer."""

from __future__ import annotations

import secrets
from dataclasses import replace

import numpy as np
import pytest

from fedcli.errors import TrustError
from fedcli.privacy.masking import shamir
from fedcli.privacy.masking.mask_keys import public_key_of
from fedcli.privacy.masking.restored_secrets import WrongDealer, WrongShare, restore
from fedcli.privacy.masking.share_boxes import (
    Dealing,
    RoundSecrets,
    SecretKind,
    WrongBoxError,
    deal,
    digest,
    new_secrets,
    opened_shares,
)
from tests.privacy.masking.masked_round import MaskedRound, fixed_random

SITES = ("a", "b", "c", "d", "e")


@pytest.fixture
def dealt() -> MaskedRound:
    deltas = {site: {"weight": np.ones(2, np.float32)} for site in SITES}
    return MaskedRound(deltas=deltas, weights=dict.fromkeys(SITES, 1))


def forged(dealt: MaskedRound, dealer: str, shared: RoundSecrets) -> None:
    """Let a dealer share other secrets than those that it publishes the key and the digest of."""
    honest, false = dealt.dealings[dealer].commitments[0], deal([shared], len(SITES), fixed_random(9))
    lie = replace(false.commitments[0], public_key=honest.public_key, seed_digest=honest.seed_digest)
    dealt.dealings[dealer] = Dealing(commitments=(lie,), boxes=false.boxes)


def test_the_secrets_of_survivors_and_dropped_come_back(dealt: MaskedRound) -> None:
    restored = dealt.restored("abcd", "bcde")
    assert restored.complete
    assert restored.secrets == {site: dealt.secrets[site].seed for site in "abcd"} | {"e": dealt.secrets["e"].private_key}
    assert restored.wrong_shares == ()


def test_never_both_secrets_of_one_site_are_in_an_answer(dealt: MaskedRound) -> None:
    answer = dealt.answers("abcd", "b")["b"]
    assert len(answer) == len(SITES)
    shares = opened_shares(dealt.dealings["e"].boxes[1], "e", "b", 2, dealt.dealings["e"].commitments)[0]
    assert answer["e"] == shares.private_key != shares.seed


def test_a_wrong_share_is_left_out_and_names_holder_and_dealer(dealt: MaskedRound) -> None:
    answers = dealt.answers(SITES, SITES)
    answers["b"]["d"] = answers["b"]["d"][:-1] + bytes([answers["b"]["d"][-1] ^ 1])
    answers["c"]["a"] = answers["c"]["a"][1:]
    restored = restore(SITES, dealt.kinds(SITES), dealt.commitments, answers)
    assert restored.wrong_shares == (WrongShare(holder="c", dealer="a"), WrongShare(holder="b", dealer="d"))
    assert restored.complete
    assert restored.secrets["d"] == dealt.secrets["d"].seed


def test_a_share_of_the_other_secret_is_a_wrong_share(dealt: MaskedRound) -> None:
    """A holder that answers with the share of e where that of b was asked for, for whatever reason."""
    answers = dealt.answers(SITES, SITES)
    answers["b"]["d"] = dealt.answers("abce", "b")["b"]["d"]
    restored = restore(SITES, dealt.kinds(SITES), dealt.commitments, answers)
    assert restored.wrong_shares == (WrongShare(holder="b", dealer="d"),)


def test_too_many_wrong_or_missing_shares_are_counted_by_dealer(dealt: MaskedRound) -> None:
    answers = dealt.answers(SITES, "bcde")
    answers["b"]["d"] = bytes(33)
    del answers["c"]["d"], answers["c"]["a"]
    restored = restore(SITES, dealt.kinds(SITES), dealt.commitments, answers)
    assert restored.lacking == {"a": 1, "d": 2}
    assert not restored.complete
    assert restored.secrets.keys() == {"b", "c", "e"}
    answers["stranger"] = answers["b"]
    assert restore(SITES, dealt.kinds(SITES), dealt.commitments, answers).lacking == {"a": 1, "d": 2}


def test_another_seed_than_the_published_one_convicts_the_dealer(dealt: MaskedRound) -> None:
    forged(dealt, "c", replace(dealt.secrets["c"], seed=secrets.token_bytes(32)))
    restored = dealt.restored(SITES, SITES)
    assert restored.wrong_dealers == (WrongDealer(dealer="c", fault="its seed is not the one of the published digest"),)
    assert not restored.complete
    assert restored.secrets.keys() == {"a", "b", "d", "e"}
    assert dealt.restored("abde", "abde").complete  # its private key is the published one


def test_another_private_key_than_the_published_one_convicts_the_dealer(dealt: MaskedRound) -> None:
    forged(dealt, "c", replace(dealt.secrets["c"], private_key=secrets.token_bytes(32)))
    assert dealt.restored(SITES, SITES).complete
    fault = "its private key is not that of the published public key"
    assert dealt.restored("abde", "abde").wrong_dealers == (WrongDealer(dealer="c", fault=fault),)


def test_shares_of_no_polynomial_convict_the_dealer(dealt: MaskedRound) -> None:
    """Each share has the published digest, but they do not restore 32 bytes, or not the published ones."""
    honest, box = dealt.dealings["c"].commitments[0], dealt.dealings["c"].boxes
    shares = [(shamir.PRIME + 5 - position).to_bytes(33) for position in range(1, 6)]
    lie = replace(honest, seed_shares=tuple(map(digest, shares)))
    dealt.dealings["c"] = Dealing(
        commitments=(lie,), boxes=tuple(share + content[33:] for share, content in zip(shares, box, strict=True))
    )
    (convicted,) = dealt.restored(SITES, SITES).wrong_dealers
    assert convicted.dealer == "c"
    assert "not those of a secret of 32 bytes" in convicted.fault


def test_the_shares_of_the_lowest_positions_decide(dealt: MaskedRound) -> None:
    """Of a dealer whose shares disagree, everybody restores the same."""
    honest, boxes = dealt.dealings["c"].commitments[0], dealt.dealings["c"].boxes
    odd = bytes(33)
    lie = replace(honest, seed_shares=(*honest.seed_shares[:4], digest(odd)))
    dealt.dealings["c"] = Dealing(commitments=(lie,), boxes=(*boxes[:4], odd + boxes[4][33:]))
    assert dealt.restored(SITES, SITES).secrets["c"] == dealt.secrets["c"].seed
    assert dealt.restored(SITES, "bcde").wrong_dealers[0].dealer == "c"


def test_a_box_holds_the_shares_of_all_rounds_in_a_fixed_order() -> None:
    random = fixed_random(3)
    of_rounds = [new_secrets(random) for _ in range(4)]
    dealing = deal(of_rounds, 7, random)
    assert [len(box) for box in dealing.boxes] == [4 * 66] * 7
    opened = [
        opened_shares(box, "north", "south", position, dealing.commitments) for position, box in enumerate(dealing.boxes, 1)
    ]
    for number, of_round in enumerate(of_rounds):
        published = dealing.commitments[number]
        assert published.public_key == public_key_of(of_round.private_key)
        assert published.seed_digest == digest(of_round.seed)
        for kind, secret in ((SecretKind.SEED, of_round.seed), (SecretKind.PRIVATE_KEY, of_round.private_key)):
            shares = {position: shares[number].of(kind) for position, shares in enumerate(opened, 1)}
            assert shamir.combine({position: shares[position] for position in (1, 3, 4, 6, 7)}) == secret
            begin = 66 * number + 33 * (kind is SecretKind.PRIVATE_KEY)
            assert all(box[begin : begin + 33] == shares[position] for position, box in enumerate(dealing.boxes, 1))
            assert all(digest(share) == published.share_digest(kind, position) for position, share in shares.items())


def test_a_wrong_box_names_its_dealer_and_its_holder() -> None:
    random = fixed_random(4)
    dealing = deal([new_secrets(random), new_secrets(random)], 3, random)
    box = dealing.boxes[1]
    opened_shares(box, "north", "south", 2, dealing.commitments)
    for changed, fault in (
        (box[:-1], "has 131 bytes, expected 132 for 2 rounds"),
        (box + b"\0", "has 133 bytes"),
        (b"", "has 0 bytes"),
        (dealing.boxes[0], "holds another share of the seed than the one published, in round 1 of 2"),
        (box[66:] + box[:66], "holds another share of the seed than the one published, in round 1 of 2"),
        (box[:99] + dealing.boxes[2][99:], "holds another share of the private key than the one published, in round 2 of 2"),
    ):
        with pytest.raises(WrongBoxError, match="the box of shares from north for south " + fault) as caught:
            opened_shares(changed, "north", "south", 2, dealing.commitments)
        assert (caught.value.dealer, caught.value.holder) == ("north", "south")
        assert isinstance(caught.value, TrustError)


@pytest.mark.parametrize("num_members", [4, 5, 7, 10])
def test_two_closings_uncover_a_site_with_so_many_accomplices_and_not_with_one_fewer(num_members: int) -> None:
    """The coordinator shows one closing to half of the honest sites and another one to the others; c = 2T - K members help it."""
    names = tuple("abcdefghij"[:num_members])
    deltas = {site: {"weight": np.ones(2, np.float32)} for site in names}
    dealt = MaskedRound(deltas=deltas, weights=dict.fromkeys(names, 1))
    enough = 2 * shamir.threshold(num_members) - num_members
    for count in (enough, enough - 1):
        accomplices, honest = names[:count], names[count:]
        victim = honest[0]
        survived = dealt.restored(names, (*accomplices, *honest[::2]))
        dropped = dealt.restored([site for site in names if site != victim], (*accomplices, *honest[1::2]))
        uncovered = survived.secrets.get(victim) == dealt.secrets[victim].seed and victim in dropped.secrets
        assert uncovered is (count == enough)


def test_whoever_opens_the_boxes_of_enough_members_has_both_secrets_of_everybody(dealt: MaskedRound) -> None:
    needed = shamir.threshold(len(SITES))
    for survivors in (SITES, ()):
        assert dealt.restored(survivors, SITES[:needed]).complete
        assert dealt.restored(survivors, SITES[: needed - 1]).secrets == {}
