"""Artifacts on their way: what a site sends is what the others decode, through a whole federation and under attack."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedcli import disk, encodings, packing, tensors, wire
from fedcli.errors import TrainingError, TrustError
from fedcli.exchange import layout
from fedcli.exchange.records import Role
from fedcli.exchange.store import LocalStore
from fedcli.party.folder import Folder
from fedcli.party.transfer.artifacts import DeltaFile
from fedcli.party.transfer.outgoing import describe, prepare_update
from fedcli.plan import Encoding, Network, Packing, Updates
from fedcli.results import Status
from fedcli.site.contribution import require_finite
from tests.fixtures.federation import PLAN, SITES, Federation, prepared_data
from tests.fixtures.history import HandmadeHistory, complete_history
from tests.fixtures.records import PLAN as HISTORY_PLAN
from tests.fixtures.records import model
from tests.fixtures.signing import changed, signer_of
from tests.fixtures.tampering import place

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.exchange.checks import Signed, Verified
    from fedcli.exchange.records import UpdateRecord

TRAVELS = [Updates(encoding=encoding, packing=packing) for encoding in Encoding for packing in Packing]
COMPACT = [travel for travel in TRAVELS if travel != Updates()]
EXPECTED = tensors.layout_of(model(0.0))
DELTA = model(0.123456)


def named(travel: Updates) -> str:
    return f"{travel.encoding}-{travel.packing}"


class Place:
    """A drop folder of a federation with the given plan, and its folder as a party sees it."""

    def __init__(self, root: Path, travel: Updates) -> None:
        self.root = root
        self.travel = travel
        self.history: HandmadeHistory = complete_history(replace(HISTORY_PLAN, updates=travel))
        self.history.publish(LocalStore(root / "drop"))
        self.folder = Folder(
            LocalStore(root / "drop"), coordinator=signer_of("coordinator").verify_key.fingerprint, cache=root / "cache"
        )
        self.folder.synchronise()

    def send(self, content: Path, stored: Path | None = None, **lies: Any) -> Verified[UpdateRecord]:
        """Let the first site publish an update of round 2 with these files."""
        held = self.history.updates["north", 2]
        artifact = describe(
            held.key,
            Role.UPDATE,
            disk.measure(content),
            stored=disk.measure(stored) if stored else None,
            travel=self.travel,
        )
        (self.root / "drop" / artifact.key).write_bytes((stored or content).read_bytes())
        signed: Signed = changed(held, "north", artifacts=[wire.plain(artifact) | lies])
        place(self.root / "drop", signed)
        update = self.folder.update("north", 2)
        assert update is not None
        return update


@pytest.mark.parametrize("travel", COMPACT, ids=named)
def test_what_is_sent_is_what_is_decoded(tmp_path: Path, travel: Updates) -> None:
    place = Place(tmp_path, travel)
    outgoing = prepare_update(tmp_path, DELTA, travel)
    assert outgoing.stored == disk.measure(outgoing.path)
    content = tmp_path / "content"
    if travel.packing is Packing.NONE:
        shutil.copy(outgoing.path, content)
    else:
        assert packing.unpack(outgoing.path, content, outgoing.content.size) == outgoing.content
    update = place.send(content, outgoing.path)
    delta = place.folder.artifacts.delta(update, EXPECTED)
    plain = travel == Updates()
    assert (delta.sha256 is None) is not plain
    arrays = tensors.read(delta.path)
    assert {name: value.tobytes() for name, value in arrays.items()} == {
        name: value.tobytes() for name, value in outgoing.delta.items()
    }
    assert place.folder.artifacts.fetch(update, update.artifact, EXPECTED).read_bytes() == content.read_bytes()
    assert place.folder.artifacts.delta(update, EXPECTED) == delta


def test_a_copy_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power failure, a name without its content would stand for the site's update."""
    place = Place(tmp_path, Updates(encoding=Encoding.INT8))
    update = place.send(prepare_update(tmp_path, DELTA, place.travel).path)
    flushed: list[int] = []
    monkeypatch.setattr(disk, "sync", lambda path: flushed.append(path.stat().st_ino))
    place.folder.artifacts.delta(update, EXPECTED)
    assert {path.stat().st_ino for path in kept(place)} == set(flushed)
    assert len(flushed) == 2, "the content, and its decoded tensors"


def test_nothing_is_copied_where_an_update_lies_plain_on_this_machine(tmp_path: Path) -> None:
    place = Place(tmp_path, Updates())
    update = place.folder.update("north", 1)
    assert update is not None
    path = tmp_path / "drop" / update.artifact.key
    assert place.folder.artifacts.delta(update, EXPECTED) == DeltaFile(path=path, sha256=update.artifact.stored_sha256)
    assert not (tmp_path / "cache").exists()
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(TrustError, match=r"bytes, expected \d+ bytes, named by"):
        place.folder.artifacts.delta(update, EXPECTED)
    path.unlink()
    with pytest.raises(TrustError, match="missing, expected"):
        place.folder.artifacts.delta(update, EXPECTED)


def test_only_what_must_is_left_in_the_outbox(tmp_path: Path) -> None:
    for travel in TRAVELS:
        folder = tmp_path / named(travel)
        folder.mkdir()
        outgoing = prepare_update(folder, DELTA, travel)
        assert list(folder.iterdir()) == [outgoing.path]


def packed_file(folder: Path, arrays: tensors.Arrays, encoding: Encoding = Encoding.INT8) -> tuple[Path, Path]:
    """Return the content and the packed file of some tensors."""
    for name in ("plain", "content", "packed"):
        (folder / name).unlink(missing_ok=True)
    tensors.write(folder / "plain", arrays)
    encodings.encode(folder / "plain", folder / "content", encoding)
    packing.pack(folder / "content", folder / "packed")
    return folder / "content", folder / "packed"


def kept(place: Place) -> list[Path]:
    return list((place.root / "cache").iterdir())


def test_content_that_is_longer_or_shorter_than_stated_is_refused(tmp_path: Path) -> None:
    place = Place(tmp_path, Updates(encoding=Encoding.INT8, packing=Packing.ZSTD))
    content, packed = packed_file(tmp_path, DELTA)
    size = content.stat().st_size
    for stated, match in (size - 1, "bytes longer than expected"), (size + 1, f"the packed content has {size} bytes"):
        update = place.send(content, packed, content_size=stated)
        with pytest.raises(TrustError, match=match):
            place.folder.artifacts.delta(update, EXPECTED)
        assert kept(place) == []


def test_content_of_another_digest_is_refused(tmp_path: Path) -> None:
    place = Place(tmp_path, Updates(encoding=Encoding.INT8, packing=Packing.ZSTD))
    content, packed = packed_file(tmp_path, DELTA)
    update = place.send(content, packed, content_sha256="0" * 64)
    with pytest.raises(TrustError, match=f"expected by {update.key}: {content.stat().st_size} bytes with 000000000000"):
        place.folder.artifacts.delta(update, EXPECTED)
    assert kept(place) == []


def test_a_copy_does_not_stand_for_another_artifact_that_names_the_same_content(tmp_path: Path) -> None:
    place = Place(tmp_path, Updates(encoding=Encoding.INT8, packing=Packing.ZSTD))
    content, packed = packed_file(tmp_path, DELTA)
    update = place.send(content, packed)
    place.folder.artifacts.delta(update, EXPECTED)
    (tmp_path / "garbage").write_bytes(b"whatever")
    again = place.send(content, tmp_path / "garbage")
    assert again.artifact.content_sha256 == update.artifact.content_sha256
    with pytest.raises(TrustError, match="not a packed file"):
        place.folder.artifacts.delta(again, EXPECTED)


def test_stored_bytes_of_another_digest_are_not_even_unpacked(tmp_path: Path) -> None:
    place = Place(tmp_path, Updates(encoding=Encoding.INT8, packing=Packing.ZSTD))
    content, packed = packed_file(tmp_path, DELTA)
    update = place.send(content, packed)
    stored = tmp_path / "drop" / update.artifact.key
    stored.write_bytes(b"x" * stored.stat().st_size)
    with pytest.raises(TrustError, match=r"with SHA-256 .* expected by"):
        place.folder.artifacts.delta(update, EXPECTED)
    assert kept(place) == []


def test_another_model_or_encoding_inside_is_refused(tmp_path: Path) -> None:
    place = Place(tmp_path, Updates(encoding=Encoding.INT8, packing=Packing.ZSTD))
    without = {name: value for name, value in DELTA.items() if name != "layer.bias"}
    update = place.send(*packed_file(tmp_path, without))
    with pytest.raises(TrustError, match=r"not the federation's model: 1 missing tensors, first layer\.bias"):
        place.folder.artifacts.delta(update, EXPECTED)
    assert kept(place) == []


@pytest.mark.parametrize("encoding", [Encoding.FLOAT32, Encoding.BFLOAT16])
def test_another_encoding_than_the_record_names_is_refused(tmp_path: Path, encoding: Encoding) -> None:
    place = Place(tmp_path, Updates(encoding=Encoding.INT8, packing=Packing.ZSTD))
    update = place.send(*packed_file(tmp_path, DELTA, encoding))
    with pytest.raises(TrustError, match="not the federation's model: "):
        place.folder.artifacts.delta(update, EXPECTED)


def test_a_value_that_the_encoding_cannot_hold_does_not_leave(tmp_path: Path) -> None:
    delta = {"w": np.full((1, 2), np.finfo(np.float32).max)}
    require_finite(prepare_update(tmp_path, delta, Updates()).delta)
    (tmp_path / "update").unlink()
    with pytest.raises(TrainingError, match="not finite in tensor w; nothing is published"):
        require_finite(prepare_update(tmp_path, delta, Updates(encoding=Encoding.BFLOAT16)).delta)


# ------------------------------------------------------------------------------------------------- a whole federation


@pytest.mark.parametrize("travel", COMPACT, ids=named)
def test_a_federation_goes_its_way_on_what_was_sent(tmp_path: Path, prepared: dict[str, Path], travel: Updates) -> None:
    federation = Federation(root=tmp_path / "f", prepared=prepared, plan=replace(PLAN, updates=travel)).begin()
    for number in (1, 2):
        federation.train()
        assert federation.aggregate().status is Status.PUBLISHED
        weighted_mean_by_hand(federation, number)
    result = federation.verify()
    assert (result.verified, result.replayed, result.problems) == (True, 2, ())
    folder = Folder(LocalStore(federation.drop), coordinator=federation.fingerprint, cache=tmp_path / "cache")
    folder.synchronise()
    for site in SITES:
        record = json.loads((federation.drop / layout.update(site, 1)).read_text())
        (artifact,) = record["artifacts"]
        assert (artifact["encoding"], artifact["packing"]) == (travel.encoding, travel.packing)
        update = folder.update(site, 1)
        assert update is not None
        delta = folder.artifacts.delta(update, layout_of_model(federation))
        assert record["norm"] == tensors.euclidean_norm(tensors.read(delta.path))


def layout_of_model(federation: Federation) -> tensors.Layout:
    with next((federation.drop / "coordinator/round-0000").glob("global-*")).open("rb") as file:
        return tensors.read_layout(file)


def weighted_mean_by_hand(federation: Federation, number: int) -> None:
    """Hold φ(t) against the mean of what the drop folder's files decode to."""
    model_of = [
        tensors.read(next((federation.drop / f"coordinator/round-{step:04d}").glob("global-*"))) for step in (number - 1, number)
    ]
    plain = layout_of_model(federation)
    total, sums = 0, {name: np.zeros(value.shape) for name, value in model_of[0].items()}
    for site in sorted(SITES):
        record = json.loads((federation.drop / layout.update(site, number)).read_text())
        (artifact,) = record["artifacts"]
        content, delta = federation.root / "by-hand", federation.root / "by-hand-decoded"
        for path in (content, delta):
            path.unlink(missing_ok=True)
        stored = federation.drop / artifact["key"]
        if artifact["packing"] == "zstd":
            packing.unpack(stored, content, artifact["content_size"])
        else:
            shutil.copy(stored, content)
        encodings.decode(content, delta, plain, Encoding(artifact["encoding"]))
        total += record["steps"]
        for name, value in tensors.read(delta).items():
            sums[name] += record["steps"] * value.astype(np.float64)
    for name, before in model_of[0].items():
        assert model_of[1][name].tobytes() == (before + sums[name] / total).astype(np.float32).tobytes()


@pytest.mark.slow
def test_densenet_in_int8_has_no_negative_variance(tmp_path: Path) -> None:
    """The paper's network, whose BatchNorm keeps running variances: after two rounds in int8 all are finite and none negative."""
    plan = replace(PLAN, network=Network(name="densenet121"), updates=Updates(encoding=Encoding.INT8, packing=Packing.ZSTD))
    plan = replace(plan, images=replace(plan.images, size=32))
    federation = Federation(root=tmp_path / "f", prepared=prepared_data(tmp_path / "data", plan), plan=plan).begin()
    for _ in range(2):
        federation.train()
        assert federation.aggregate().status is Status.PUBLISHED
    after = tensors.read(next((federation.drop / "coordinator/round-0002").glob("global-*")))
    before = tensors.read(next((federation.drop / "coordinator/round-0000").glob("global-*")))
    variances = [name for name in after if name.endswith("running_var")]
    assert len(variances) == 121
    for name in variances:
        assert (after[name] >= 0).all()
        assert not np.array_equal(after[name], before[name])
    assert all(np.isfinite(value).all() for value in after.values())
