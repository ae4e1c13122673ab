"""Killed at every request that changes something on a remote store: nothing torn is visible, and the next run converges."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from fedcli import wire
from fedcli.errors import ConflictError
from fedcli.exchange import layout
from fedcli.exchange.store import open_store
from tests.fixtures.files import file_with, pattern
from tests.fixtures.killing import EVERY, chosen, run_dying
from tests.fixtures.places import on_s3, on_sftp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fixtures.places import Place

KEY = "sites/north/round-0001/update.json"
SIZE = {"sftp": (1 << 20) + 1, "s3": (17 << 20) + 1}
"""Of an artifact: five writes of SFTP; three parts of S3."""


@pytest.fixture(params=["sftp", "s3"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def new_place(request: pytest.FixtureRequest, kind: str) -> Callable[[], Place]:
    """Make empty places on a server."""
    server = request.getfixturevalue({"sftp": "sshd", "s3": "s3"}[kind])
    return partial(on_sftp if kind == "sftp" else on_s3, server)


def publish(place: Place, data: bytes) -> None:
    open_store(place.address, place.options).publish(KEY, data)


def put(place: Place, key: str, source: Path) -> None:
    open_store(place.address, place.options).put_artifact(key, source)


def die(
    new_place: Callable[[], Place],
    folder: Path,
    work: Callable[[Place], Callable[[], object]],
    key: str,
    data: bytes,
    most: int,
) -> tuple[int, list[bool]]:
    """Do some work undisturbed, and then killed at its points, each time at a new place, and then again.

    Args:
        new_place: Makes an empty place.
        folder: For what the processes say.
        work: Returns what to do at a place.
        key: The only file of it.
        data: That file's bytes.
        most: At how many of them at most.

    Returns:
        How many points there are, and at which of them the file was there.
    """
    place = new_place()
    total = run_dying(0, work(place), folder / "calm", place.environment)
    assert total is not None
    seen = []
    for number in chosen(total, most):
        place = new_place()
        store = place.store()
        assert run_dying(number, work(place), folder / str(number), place.environment) is None
        listed = store.list("")
        assert listed in {(), (key,)}
        seen.append(listed != ())
        if listed:
            assert store.fetch(key, folder / f"{number}-before", len(data)).sha256 == wire.sha256(data)
        with place.acting():
            work(place)()
        assert store.list("") == (key,)
        assert store.fetch(key, folder / f"{number}-after", len(data)).sha256 == wire.sha256(data)
    return total, seen


@pytest.mark.parametrize("most", [EVERY, pytest.param(5, id="few")])
def test_a_killed_publisher_leaves_nothing_torn_and_converges(
    kind: str, new_place: Callable[[], Place], tmp_path: Path, most: int
) -> None:
    data = pattern(5000)
    total, seen = die(new_place, tmp_path, lambda place: partial(publish, place, data), KEY, data, most)
    assert total >= {"sftp": 14, "s3": 3}[kind]  # folders, open, write, close, rename; one put
    assert seen == sorted(seen)
    assert set(seen) == {False, True}


@pytest.mark.parametrize("most", [EVERY, pytest.param(5, id="few")])
def test_a_publisher_killed_against_a_taken_name_changes_nothing(
    new_place: Callable[[], Place], tmp_path: Path, most: int
) -> None:
    def attempt(number: int) -> int | None:
        place = new_place()
        place.store().publish(KEY, b"theirs")
        met = run_dying(number, partial(publish_in_vain, place, b"mine"), tmp_path / str(number), place.environment)
        assert place.store().list("") == (KEY,)
        assert place.store().read(KEY, 100) == b"theirs"
        return met

    total = attempt(0)
    assert total is not None
    assert total >= 3
    assert {attempt(number) for number in chosen(total, most)} == {None}


def publish_in_vain(place: Place, data: bytes) -> None:
    with pytest.raises(ConflictError):
        publish(place, data)


@pytest.mark.parametrize("most", [EVERY, pytest.param(5, id="few")])
def test_a_killed_upload_leaves_nothing_torn_and_converges(
    kind: str, new_place: Callable[[], Place], tmp_path: Path, most: int
) -> None:
    data = pattern(SIZE[kind])
    key = layout.artifact(KEY, wire.sha256(data))
    source = file_with(tmp_path, data)
    total, seen = die(new_place, tmp_path, lambda place: partial(put, place, key, source), key, data, most)
    assert total >= {"sftp": 22, "s3": 14}[kind]
    assert seen == sorted(seen)
    assert set(seen) == {False, True}
