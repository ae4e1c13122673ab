"""Attacks on masked rounds, on a federation of four sites that do not train: each refused, or shown to be harmless."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cryptography.exceptions import InvalidTag

from fedcli import tensors, wire
from fedcli.errors import ApprovalError, ConfigurationError, TrustError
from fedcli.exchange import layout
from fedcli.operations.init import InitRequest, init
from fedcli.party.amendment import amend_federation, first_round
from fedcli.party.masking.masked_update import round_masks
from fedcli.party.masking.masking_files import commitments_of, masks_records, published_masks, read_closing, read_opening
from fedcli.party.masking.unmask_answers import read_answers
from fedcli.party.masking.unmasking import restored_secrets
from fedcli.party.party import Party
from fedcli.plan import Images, Network
from fedcli.privacy.encryption_keys import DecryptionKey
from fedcli.privacy.masking.mask_file import box_info
from fedcli.privacy.masking.mask_keys import pair_mask, public_key_of
from fedcli.privacy.masking.mask_streams import MaskStreams
from fedcli.privacy.masking.masked_delta import masked_blocks
from fedcli.results import Status
from tests.fixtures.federation import Federation, Listener
from tests.fixtures.masked import FOUR, MASKED, approve_members, opened_model, replayed, send_masked, small_delta
from tests.fixtures.records import steps_of
from tests.fixtures.tampering import forge, rewrite
from tests.privacy.masking.masked_round import data_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

THREE = ("harbour", "north", "valley")


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Federation]:
    """The federation before each step of its first round."""
    folder = tmp_path_factory.mktemp("stages")
    begun = Federation(root=folder / "masks", prepared=dict.fromkeys(FOUR, folder / "none"), plan=MASKED).begin()
    approve_members(begun)
    stages = {"masks": begun}
    for before, step in (
        ("masks", "opening"),
        ("opening", "update"),
        ("update", "closing"),
        ("closing", "unmask"),
        ("unmask", "round"),
    ):
        stages[step] = stages[before].copy(folder / step)
        go_on(stages[step], before)
    return stages


def go_on(federation: Federation, step: str, number: int = 1) -> None:
    """Let everybody whose turn it is do a step of a round."""
    if step in {"opening", "closing", "round"}:
        federation.aggregate()
    elif step == "update":
        model = opened_model(federation, number - 1)
        for site in FOUR:
            send_masked(federation, site, number, small_delta(model, site, number))
    else:
        federation.train()


def test_an_update_that_the_closing_omits_stays_covered_and_is_late(stages: dict[str, Federation], tmp_path: Path) -> None:
    """The coordinator closes the round without coast, whose update is there, and gets coast's private key, but not its seed."""
    federation = stages["unmask"].copy(tmp_path / "f")
    survivors = json.loads((federation.drop / layout.closing(1)).read_bytes())["survivors"]
    rewrite(federation, layout.closing(1), survivors=[item for item in survivors if item["site"] != "coast"], absent=["coast"])
    federation.train()
    assert not (federation.drop / layout.unmask("coast", 1)).exists()
    uncovered, delta = without_pair_masks(federation, "coast")
    assert (uncovered != delta).mean() > 0.999
    assert abs(np.unpackbits((uncovered - delta).view(np.uint8)).mean() - 0.5) < 2 / np.sqrt(64 * delta.size)
    assert federation.aggregate().status is Status.PUBLISHED
    assert (federation.record(1).absent, [item.site for item in federation.record(1).contributions]) == (("coast",), list(THREE))
    for step in ("update", "closing", "unmask", "round"):
        go_on(federation, step, 2)
    assert [(item.site, item.round) for item in federation.record(2).late] == [("coast", 1)]
    assert replayed(federation, "coordinator") == 2


def without_pair_masks(federation: Federation, site: str) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return a dropped site's update less the masks that the answers reveal, and its words without any mask."""
    with Party.at_work(federation.coordinator, None, federation.environment) as party:
        opening = read_opening(party.folder, 1)
        assert opening is not None
        closing, update = read_closing(party.folder, opening), party.folder.update(site, 1)
        assert closing is not None
        assert update is not None
        keys = {name: item.public_key for name, item in commitments_of(party.folder, opening).items()}
        answers = read_answers(party, opening, closing)
        private = restored_secrets(party.folder, opening, closing, answers).secrets[site]
        assert public_key_of(private) == keys[site]
        data = party.folder.artifacts.fetch(update, update.artifact).read_bytes()
    words = np.frombuffer(data[8 + int.from_bytes(data[:8], "little") :], "<u8").copy()
    pairs = [pair_mask(private, site, peer, keys[peer], opening.digest) for peer in FOUR if peer != site]
    MaskStreams([replace(mask, adds=not mask.adds) for mask in pairs]).add_to(words)
    arrays = small_delta(opened_model(federation, 0), site, 1)
    blocks = b"".join(masked_blocks(data_of(arrays), tensors.layout_of(arrays), steps_of(site), len(FOUR), []))
    return words, np.frombuffer(blocks[8 + int.from_bytes(blocks[:8], "little") :], "<u8")


def test_an_answer_counts_for_no_other_closing_and_no_other_site(stages: dict[str, Federation], tmp_path: Path) -> None:
    federation = stages["round"].copy(tmp_path / "f")
    forge(federation, layout.unmask("north", 1), (federation.drop / layout.unmask("coast", 1)).read_bytes(), "coast")
    rewrite(federation, layout.closing(1), created="2026-11-24T09:00:00Z")
    federation.progress = listener = Listener()
    assert "0 of 4 sites have answered, and 3 are needed" in federation.aggregate().message
    unused = [event for event in listener.events if "is not used" in event]
    assert len(unused) == 4
    assert all("unmask.json: closing: expected" in event for event in unused if "the answer of north" not in event)
    assert any("the answer of north is not used" in event and "signed by" in event for event in unused)


def test_masks_of_an_earlier_roster_cover_no_round(stages: dict[str, Federation], tmp_path: Path) -> None:
    federation = stages["opening"].copy(tmp_path / "f")
    federation.amend(replace(MASKED, rounds=3))
    assert "masks of 0 of 4 sites; waiting for the masks of" in federation.aggregate().message
    approve_members(federation)
    stale = {site: federation.drop / layout.masks(site, 1) for site in FOUR}
    federation.train()
    federation.aggregate()
    opening = json.loads((federation.drop / layout.opening(1)).read_bytes())
    old = [{"site": site, "masks": wire.sha256(path.read_bytes())} for site, path in stale.items()]
    rewrite(federation, layout.opening(1), participants=[old[0], *opening["participants"][1:]])
    with (
        Party.at_work(federation.site("north"), None, federation.environment) as party,
        pytest.raises(TrustError, match="of coast does not cover the round"),
    ):
        round_masks(party, 1)


def other_key(federation: Federation) -> None:
    """The coordinator lists its own encryption key as north's."""
    with Party.at_work(federation.coordinator, None, federation.environment) as party:
        record = party.ledger.newest_federation
        members = tuple(
            replace(member, keys=(member.keys[0], record.coordinator[1])) if member.site == "north" else member
            for member in record.members
        )
        amend_federation(party, first_round(party, ["north"]), members=members)


def more_sites(federation: Federation) -> None:
    """The coordinator admits sites of its own, to have as many shares as it needs."""
    for name in ("ash", "birch", "cedar", "elder"):
        federation.prepared[name] = federation.root / "none"
        federation.join(name)


@pytest.mark.parametrize("change", [other_key, pytest.param(more_sites, marks=pytest.mark.slow)])
def test_another_roster_stops_every_site_until_its_operator_has_compared_it(
    stages: dict[str, Federation], tmp_path: Path, change: Callable[[Federation], None]
) -> None:
    federation = stages["masks"].copy(tmp_path / "f")
    federation.prepared = dict(federation.prepared)
    change(federation)
    with pytest.raises(ApprovalError, match="the members that train in round 1 are not approved"):
        federation.train("valley")
    if change is other_key:
        with pytest.raises(TrustError, match="lists for north the encryption key"):
            federation.train("north")
    assert not list(federation.drop.glob("sites/*/masks/*"))


def test_a_lost_workspace_prepares_other_keys(stages: dict[str, Federation], tmp_path: Path) -> None:
    federation = stages["update"].copy(tmp_path / "f")
    shutil.rmtree(federation.site("coast") / "state")
    assert "takes no part in round 1" in federation.train("coast")[0].message
    with Party.at_work(federation.coordinator, None, federation.environment) as party:
        after, before = (published_masks(party.folder, item) for item in masks_records(party.folder, "coast"))
    for name in ("public_key", "seed_digest"):
        assert not {getattr(item, name) for item in before.commitments} & {getattr(item, name) for item in after.commitments}


def test_a_box_of_shares_opens_in_no_other_slot() -> None:
    key, words = DecryptionKey.generate(), ("federation", "dealer", "holder", "sites/dealer/masks/0001.json")
    box = key.public.encrypt(b"shares", box_info(*words))
    assert key.decrypt(box, box_info(*words)) == b"shares"
    for position in range(len(words)):
        with pytest.raises(InvalidTag):
            key.decrypt(box, box_info(*("other" if number == position else word for number, word in enumerate(words))))


def test_a_plan_with_too_little_room_for_a_masked_update_is_refused(tmp_path: Path) -> None:
    plan = replace(MASKED, network=Network(), images=Images(size=224), limits=replace(MASKED.limits, model_mb=40))
    federation = Federation(root=tmp_path / "f", plan=plan)
    with pytest.raises(
        ConfigurationError, match=r"limits.model_mb = 40, expected at least 57: a masked update has 56,\d\d\d,\d\d\d"
    ):
        init(InitRequest(root=federation.coordinator, plan=plan, source=federation.source()), federation.environment)
