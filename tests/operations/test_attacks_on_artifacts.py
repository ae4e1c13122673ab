"""Artifacts that were changed, or that their own site made up and signed: each is refused for its own reason.

On both roads: where the drop folder is elsewhere the artifact is copied and hashed, where it lies on this machine it is folded in
place. What a site makes up here holds NaN in every number: had a tensor been read, the reason would name it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedcli import tensors, wire
from fedcli.aggregation.fold import fold
from fedcli.aggregation.rules import rule_of
from fedcli.aggregation.update import UpdateError
from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.records import Role
from fedcli.party.aggregation_input import base_of, layout_of, update_of
from fedcli.party.party import Party
from fedcli.plan import Aggregation, Limits
from fedcli.workspace import WorkspaceRole
from tests.fixtures.records import artifact, file_of
from tests.fixtures.tampering import artifact_path, first_float, rewrite
from tests.operations.attacked import refused, sent, taken_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.fixtures.federation import Federation

Model = dict[str, "NDArray[Any]"]
KEY = layout.update("valley", 1)
NUM_FLIPS = 1000


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    return sent(tmp_path)


def refused_on_both_roads(federation: Federation, said: str) -> None:
    """Expect valley to be refused for one reason, by whoever copies its artifact and by whoever folds it in place."""
    for reason in (taken_in(federation)[0].rejected["valley"].reason, refused(federation)):
        assert said in reason
        assert "NaN" not in reason


# ------------------------------------------------------------------------------------------------- changed by the store


def test_a_swapped_artifact(federation: Federation) -> None:
    other = artifact_path(federation, layout.update("north", 1)).read_bytes()
    assert len(other) == artifact_path(federation, KEY).stat().st_size
    artifact_path(federation, KEY).write_bytes(other)
    received, _ = taken_in(federation)
    assert f"expected by {KEY}" in received.rejected["valley"].reason
    assert "of valley: SHA-256" in refused(federation)


@pytest.mark.parametrize("size", [0, 7, -1, 1, 1 << 40], ids=["empty", "cut in the header", "cut", "longer", "a terabyte"])
def test_a_truncated_or_oversize_artifact(federation: Federation, size: int) -> None:
    path = artifact_path(federation, KEY)
    whole = path.stat().st_size
    found = size if size in {0, 7, 1 << 40} else whole + size
    with path.open("r+b") as file:
        file.truncate(found)  # a terabyte of nothing: whoever read it would not come back
    received, asked = taken_in(federation)
    assert [key for key in asked if key.startswith("sites/valley")] == []
    said = f"{path.relative_to(federation.drop)}: {found} bytes, expected {whole} bytes, named by {KEY}"
    assert received.rejected["valley"].reason == refused(federation) == said


def test_a_missing_artifact(federation: Federation) -> None:
    path = artifact_path(federation, KEY)
    path.unlink()
    refused_on_both_roads(federation, f"{path.relative_to(federation.drop)}: missing")


# --------------------------------------------------------------------------------------------------- made by the site


def send_file(federation: Federation, content: bytes) -> None:
    """Replace valley's artifact by any bytes, under a record that names and signs them."""
    named = artifact(KEY, Role.UPDATE, content)
    (federation.drop / named.key).write_bytes(content)
    rewrite(federation, KEY, artifacts=[wire.plain(named)])


def nan_model(federation: Federation) -> Model:
    return {
        name: np.full(value.shape, np.nan, np.float32) if value.dtype == np.float32 else value
        for name, value in federation.model(0).items()
    }


def without_one(model: Model) -> Model:
    return {name: value for name, value in model.items() if name != first_float(model)}


OTHER_MODELS: dict[str, tuple[Callable[[Model], Model], str]] = {
    "extra": (lambda model: model | {"backdoor": np.full(3, np.nan, np.float32)}, "1 extra tensors, first backdoor"),
    "missing": (without_one, "1 missing tensors, first "),
    "misshapen": (lambda model: model | {first_float(model): model[first_float(model)].reshape(-1)}, "expected F32 ["),
    "retyped": (lambda model: model | {first_float(model): model[first_float(model)].astype(np.float64)}, "found F64 ["),
    "retyped in as many bytes": (
        lambda model: model | {first_float(model): model[first_float(model)].view(np.int32)},
        "found I32 [",
    ),
    "another network": (lambda _: {"w": np.full(9, np.nan, np.float32)}, "missing tensors, first "),
}


@pytest.mark.parametrize(("change", "said"), OTHER_MODELS.values(), ids=OTHER_MODELS)
def test_other_tensors(federation: Federation, change: Callable[[Model], Model], said: str) -> None:
    send_file(federation, file_of(change(nan_model(federation))))
    refused_on_both_roads(federation, "not the federation's model: ")
    refused_on_both_roads(federation, said)


def header_of(entries: object) -> bytes:
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def lying(federation: Federation, change: Callable[[list[dict[str, Any]]], None]) -> bytes:
    """Return the honest file with offsets that lie; its numbers are NaN."""
    content = file_of(nan_model(federation))
    length = 8 + int.from_bytes(content[:8], "little")
    entries = json.loads(content[8:length])
    change(list(entries.values()))
    return header_of(entries) + content[length:]


def overlap(entries: list[dict[str, Any]]) -> None:
    entries[1]["data_offsets"] = entries[0]["data_offsets"]


def past_the_end(entries: list[dict[str, Any]]) -> None:
    entries[-1]["data_offsets"] = [1 << 40, (1 << 40) + 4]


def negative(entries: list[dict[str, Any]]) -> None:
    entries[0]["data_offsets"] = [-8, 0]


@pytest.mark.parametrize("change", [overlap, past_the_end, negative])
def test_a_header_whose_offsets_lie(federation: Federation, change: Callable[[list[dict[str, Any]]], None]) -> None:
    send_file(federation, lying(federation, change))
    refused_on_both_roads(federation, "the safetensors header is not canonical: order, offsets or padding differ")


def test_a_header_of_100_megabytes_of_json(federation: Federation) -> None:
    """Signed, within the plan's size cap, and valid JSON: the header's own cap refuses it before a byte of it is read."""
    content = (100_000_000).to_bytes(8, "little") + b'{"a":[' + b"1," * 49_999_995 + b"1]} "
    assert len(content) == 100_000_008
    assert len(content) < Limits().model_mb * 10**6
    send_file(federation, content)
    refused_on_both_roads(federation, f"the safetensors header claims 100000000 bytes, expected 1 to {tensors.MAX_HEADER_BYTES}")


def test_no_header_at_all(federation: Federation) -> None:
    send_file(federation, b"PK\x03\x04 a pickle in a zip, as torch.save writes it")
    refused_on_both_roads(federation, "the safetensors header claims ")


# --------------------------------------------------------------------------------------------------------- every flip


def test_1000_random_flips_of_an_artifact_are_all_detected(federation: Federation) -> None:
    """By whoever copies it, and by whoever folds it in place: there the header has its own reason, or the digest tells."""
    with Party.at_work(federation.coordinator, WorkspaceRole.COORDINATOR, federation.environment) as party:
        base = base_of(party.folder, 1)
        expected, rule = layout_of(base), rule_of(Aggregation())
        verified = party.folder.update("valley", 1)
        assert verified is not None
        update = update_of(party.folder, verified, party.plan, expected)
        original = update.path.read_bytes()
        generator = np.random.default_rng(8)
        for position in generator.choice(len(original) * 8, NUM_FLIPS, replace=False).tolist():
            flipped = bytearray(original)
            flipped[position // 8] ^= 1 << position % 8
            update.path.write_bytes(flipped)
            with pytest.raises(TrustError, match=f"expected by {KEY}"):
                party.folder.artifacts.fetch(verified, verified.artifact, expected)
            with pytest.raises(UpdateError, match=r"of valley: SHA-256|the update of valley: ") as caught:
                fold(rule, expected, base, [update], federation.root / "never")
            assert list(caught.value.reasons) == ["valley"]
        update.path.write_bytes(original)
        assert fold(rule, expected, base, [update], federation.root / "model").model.size == expected.size
        assert not (federation.root / "never").exists()
