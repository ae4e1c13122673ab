"""What every store must do, run unchanged over each; then what is the local store's own.

A further store joins by its name in `PLACES`, and what makes an empty `Place` on a server.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcli import wire
from fedcli.disk import CHUNK_BYTES, Measured
from fedcli.errors import ConflictError, MachineError, MissingError, StoreError, TrustError
from fedcli.exchange import layout
from fedcli.exchange.store import LocalStore, open_store
from fedcli.exchange.store.listing import Listing
from tests.fixtures.files import file_with, pattern
from tests.fixtures.killing import killed_everywhere
from tests.fixtures.places import Place, on_azure, on_s3, on_sftp
from tests.fixtures.racing import race_data, race_key, run_race

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fedcli.exchange.store import Store
    from tests.fixtures.history import HandmadeHistory

PLACES = ["local", "sftp", "s3", pytest.param("az", marks=pytest.mark.slow)]
PLACES_ON_SERVERS = {"sftp": (on_sftp, "sshd"), "s3": (on_s3, "s3"), "az": (on_azure, "azurite")}
RACES = {"s3": (6, 6), "az": (6, 12)}
"""Of each kind of store, how many processes race for how many keys: fewer where one request after the other is slow."""
KEY = "sites/north/round-0001/update.json"


@pytest.fixture
def local_place(tmp_path: Path) -> Place:
    (tmp_path / "drop").mkdir()
    return Place(address=str(tmp_path / "drop"))


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "local":
        yield request.getfixturevalue("local_place")
        return
    make, server = PLACES_ON_SERVERS[request.param]
    place = make(request.getfixturevalue(server))
    with place.acting():
        yield place


@pytest.fixture
def store(place: Place) -> Store:
    return place.store()


# ------------------------------------------------------------------------------------------------------ created once


@pytest.mark.parametrize("data", [b"{}\n", b"", pattern(3 * CHUNK_BYTES + 5)], ids=["small", "empty", "large"])
def test_a_record_is_created_once(store: Store, data: bytes) -> None:
    store.publish(KEY, data)
    store.publish(KEY, data)
    assert store.read(KEY, len(data)) == data
    for other in {data + b" ", data[:-1] + b"!", data[:-1], data[: len(data) // 2], b"other"} - {data}:
        with pytest.raises(ConflictError, match=f"{KEY}: "):
            store.publish(KEY, other)
    assert store.read(KEY, len(data)) == data
    assert store.stat(KEY) == len(data)
    assert store.list("") == (KEY,)


def test_a_conflict_changes_nothing_else(store: Store) -> None:
    store.publish(KEY, b"first")
    store.publish("sites/north/other.json", b"second")
    with pytest.raises(ConflictError):
        store.publish(KEY, b"second")
    assert [store.read(key, 100) for key in store.list("")] == [b"second", b"first"]
    store.publish(KEY, b"first")


def test_of_processes_that_publish_the_same_key_exactly_one_wins(place: Place) -> None:
    writers, keys = RACES.get(place.address.partition("://")[0], (8, 100))
    writer_of, store = run_race(place, writers, keys), place.store()
    for number in range(keys):
        assert store.read(race_key(number), 1 << 20) == race_data(writer_of[race_key(number)], number)
    assert store.list("") == tuple(sorted(writer_of))
    assert len(set(writer_of.values())) > 1, "the writers have not met"


# --------------------------------------------------------------------------------------------------------- artifacts


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 3])
def test_an_artifact_arrives_whole_and_may_be_put_twice(store: Store, tmp_path: Path, size: int) -> None:
    source = file_with(tmp_path, pattern(size))
    key = layout.artifact(KEY, wire.sha256(pattern(size)))
    store.put_artifact(key, source)
    store.put_artifact(key, source)
    assert store.list("") == (key,)
    assert store.stat(key) == size
    measured = store.fetch(key, tmp_path / "target", size)
    assert measured == Measured(size=size, sha256=wire.sha256(pattern(size)))
    assert (tmp_path / "target").read_bytes() == pattern(size)
    assert source.read_bytes() == pattern(size)


@dataclass(slots=True)
class Listener:
    """A `Progress` that remembers."""

    heard: list[list[Any]] = field(default_factory=list)

    def event(self, text: str) -> None:
        """Take no notice."""

    @contextmanager
    def track(self, label: str, total: int, unit: str) -> Iterator[Callable[[int, str], None]]:
        self.heard.append([label, total, unit, 0])

        def advance(units: int, _note: str) -> None:
            self.heard[-1][3] += units

        yield advance


def test_transfers_of_artifacts_are_told_byte_by_byte(place: Place, tmp_path: Path) -> None:
    listener = Listener()
    store = open_store(place.address, place.options, listener)
    size = 9 * CHUNK_BYTES + 7
    store.put_artifact("a/file.safetensors", file_with(tmp_path, pattern(size)))
    store.fetch("a/file.safetensors", tmp_path / "target", size)
    store.publish(KEY, b"{}")
    assert listener.heard == [
        ["sending file.safetensors", size, "bytes", size],
        ["fetching file.safetensors", size, "bytes", size],
    ]


def test_artifacts_can_be_removed_and_records_cannot(store: Store, tmp_path: Path, history: HandmadeHistory) -> None:
    history.publish(store)
    keys = store.list("")
    first, *others = [key for key in keys if layout.is_artifact(key)]
    store.remove_artifact(first)
    store.remove_artifact(first)
    store.remove_artifact("sites/nobody/round-0001/update-0123456789ab.safetensors")
    assert store.list("") == tuple(key for key in keys if key != first)
    assert store.stat(first) is None
    for key in (*(key for key in keys if not layout.is_artifact(key)), f"../{first}", "coordinator", "coordinator/", ""):
        with pytest.raises(TrustError):
            store.remove_artifact(key)
    for key in others:
        assert store.fetch(key, tmp_path / wire.sha256(key.encode()), 1 << 20).sha256 == wire.sha256(history.artifacts[key])
        store.remove_artifact(key)
    assert store.list("") == tuple(key for key in keys if not layout.is_artifact(key))
    store.put_artifact(first, file_with(tmp_path, history.artifacts[first]))
    assert store.stat(first) == len(history.artifacts[first])


def test_fetch_takes_no_more_than_the_limit(store: Store, tmp_path: Path) -> None:
    data = pattern(2 * CHUNK_BYTES)
    store.put_artifact("a/file", file_with(tmp_path, data))
    assert store.fetch("a/file", tmp_path / "exact", len(data)).size == len(data)
    for number, limit in enumerate([len(data) - 1, CHUNK_BYTES, 1, 0]):
        target = tmp_path / f"capped-{number}"
        with pytest.raises(StoreError, match=f"a/file: more than the {limit} bytes") as caught:
            store.fetch("a/file", target, limit)
        assert not isinstance(caught.value, MissingError)
        assert not target.exists() or target.stat().st_size <= limit


def test_fetch_writes_a_new_file_only(store: Store, tmp_path: Path) -> None:
    store.publish("a/file", b"new")
    target = file_with(tmp_path, b"precious", "target")
    with pytest.raises(MachineError, match=f"{target}: File exists"):
        store.fetch("a/file", target, 100)
    assert target.read_bytes() == b"precious"


def test_a_full_disk_of_this_machine_is_not_the_drop_folders(store: Store, tmp_path: Path) -> None:
    store.put_artifact("a", file_with(tmp_path, b"x" * 5000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # to this process the same as a disk without space
    try:
        with pytest.raises(MachineError, match=f"{tmp_path}/cut: File too large; .* MB are free in {tmp_path}") as caught:
            store.fetch("a", tmp_path / "cut", 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "make room" in caught.value.hint
    assert store.fetch("a", tmp_path / "copy", 10_000).size == 5000


def test_a_listing_changes_nothing_about_reading(place: Place) -> None:
    """Far stores read ahead what was listed; nobody can tell, in whatever order."""
    records = {f"sites/north/round-{number:04d}/{name}": b"%d %s" % (number, name.encode() * 30)
               for number in range(40) for name in ("update.json", "update.json.0123456789ab.sig")}  # fmt: skip
    records["sites/north/round-0007/update.json"] = b"x" * 70_000  # longer than what is read ahead
    records["sites/north/round-0009/update.json"] = b""
    for key, data in records.items():
        place.store().publish(key, data)
    reader = open_store(place.address, place.options)
    for prefix, keys in (
        ("", sorted(records)),
        ("sites/", sorted(records, reverse=True)),
        ("", sorted(records)[1::3]),
        ("", ["sites/north/round-0005/update.json"] * 3),
    ):
        assert reader.list(prefix) == tuple(sorted(records))
        for key in keys:
            assert reader.read(key, 100_000) == records[key], key
    with pytest.raises(StoreError, match=r"round-0003/update\.json: more than the 10 bytes"):
        reader.read("sites/north/round-0003/update.json", 10)
    with pytest.raises(MissingError):
        reader.read("sites/north/round-0003/other.json", 10)


def test_read_takes_no_more_than_the_limit(store: Store) -> None:
    store.publish(KEY, b"x" * 100)
    assert store.read(KEY, 100) == b"x" * 100
    for limit in (99, 1, 0):
        with pytest.raises(StoreError, match=f"{KEY}: more than the {limit} bytes") as caught:
            store.read(KEY, limit)
        assert not isinstance(caught.value, MissingError)


# ----------------------------------------------------------------------------------------------------- listing, missing


def test_what_was_written_is_listed_by_prefix(store: Store, tmp_path: Path) -> None:
    assert store.list("") == ()
    keys = (
        "coordinator/federation-0000.json",
        "coordinator/round-0000/round.json",
        "sites/north-2/x.json",
        KEY,
        "sites/north/x.json",
    )
    for key in reversed(keys):
        store.publish(key, key.encode())
        assert key in store.list("")
    store.put_artifact("sites/north/a.safetensors", file_with(tmp_path, b"a"))
    assert store.list("") == tuple(sorted((*keys, "sites/north/a.safetensors")))
    assert store.list("coordinator/") == keys[:2]
    assert store.list("sites/north/") == ("sites/north/a.safetensors", KEY, "sites/north/x.json")
    assert store.list("sites/north-2/") == ("sites/north-2/x.json",)
    assert store.list("sites/nor/") == ()
    assert store.list("sites/valley/") == ()
    assert store.list(f"{KEY}/") == ()


# ------------------------------------------------------------------------------------------------------------- listings


def test_a_listing_of_several_prefixes_stops_at_its_limit(store: Store) -> None:
    """The limit counts files, and folders where there are any; what is left out is the listed party's own."""
    few, many = ("sites/few/a.json", "sites/few/b.json"), tuple(f"sites/many/{number:02d}.json" for number in range(30))
    for key in (*few, *many):
        store.publish(key, b"{}")
    listings = store.list_each(("sites/many/", "sites/few/", "sites/none/"), 10)
    assert listings["sites/few/"] == Listing(keys=few)
    assert listings["sites/none/"] == Listing()
    assert len(listings["sites/many/"].keys) == 10
    assert set(listings["sites/many/"].keys) < set(many)
    assert listings["sites/many/"].fault == "sites/many: more than 10 files and folders, of which the others are ignored"
    assert store.list_each(("sites/many/",), 30) == {"sites/many/": Listing(keys=many)}


def test_a_listing_leaves_out_earlier_rounds_of_the_listed_parties_only(store: Store) -> None:
    names = (
        "dataset/0001.json",
        *(f"round-{number:04d}/update.json" for number in range(4)),
        "round-0001.json",
        "x/round-0000/a",
    )
    for prefix in ("coordinator/", "sites/north/"):
        for name in names:
            store.publish(f"{prefix}{name}", b"{}")
    left = ("dataset/0001.json", "round-0001.json", "round-0002/update.json", "round-0003/update.json", "x/round-0000/a")
    for prefix in ("coordinator/", "sites/north/"):
        assert store.list_each((prefix,), 20, from_round=2) == {prefix: Listing(keys=tuple(f"{prefix}{name}" for name in left))}
        assert len(store.list_each((prefix,), 20, from_round=0)[prefix].keys) == len(names)
        assert store.list_each((prefix,), 20, from_round=7)[prefix].keys == (
            f"{prefix}{left[0]}",
            f"{prefix}{left[1]}",
            f"{prefix}{left[-1]}",
        )


def test_the_names_of_folders_stop_one_after_the_limit(store: Store) -> None:
    assert store.names("sites/", 5) == ()
    for number in range(9):
        store.publish(f"sites/site-{number}/a/b.json", b"{}")
    store.publish("sites/file.json", b"{}")
    assert store.names("sites/", 9) == tuple(f"site-{number}" for number in range(9))
    assert len(store.names("sites/", 5)) == 6


@pytest.mark.parametrize(
    "key", ["nothing", "nothing/there.json", "sites", "sites/north", f"{KEY}/below", "sites/north/round-0001/update"]
)
def test_a_missing_key_is_missing(store: Store, tmp_path: Path, key: str) -> None:
    store.publish(KEY, b"{}")
    with pytest.raises(MissingError, match=f"{key}: not in the drop folder"):
        store.read(key, 100)
    with pytest.raises(MissingError, match=f"{key}: not in the drop folder"):
        store.fetch(key, tmp_path / "target", 100)
    assert not (tmp_path / "target").exists()
    assert store.stat(key) is None


# -------------------------------------------------------------------------------------------------------------- keys

NO_KEYS = [
    "", ".", "..", "/", "/etc/passwd", "../up", "a/../../up", "a/..", "a//b", "a/", "./a", "a/./b", "a/.hidden", ".hidden", "~",
    "-a", "_a", "A", "a/B", "a b", "a\\b", "a\0b", "a\nb", "a\n", "\na", "\u00e4", "\uff41", "\u0663", "~root/x", "c:", "a:b",
    "a*", "a?b", "file://a", "%2e%2e/a", "a" * 129, "/".join("abcdefghi"),
]  # fmt: skip


@pytest.mark.parametrize("key", NO_KEYS)
def test_a_key_that_could_escape_is_refused_everywhere(store: Store, tmp_path: Path, key: str) -> None:
    source = file_with(tmp_path, b"x")
    before = sorted(tmp_path.rglob("*"))
    attempts: list[Callable[[], object]] = [
        lambda: store.publish(key, b"x"),
        lambda: store.put_artifact(key, source),
        lambda: store.fetch(key, tmp_path / "target", 100),
        lambda: store.read(key, 100),
        lambda: store.stat(key),
    ]
    if key and not layout.is_key(key.rstrip("/")):  # the empty prefix is the whole drop folder
        attempts.append(lambda: store.list(f"{key}/"))
    for attempt in attempts:
        with pytest.raises(TrustError, match="is not a key of a drop folder"):
            attempt()
    assert sorted(tmp_path.rglob("*")) == before
    assert store.list("") == ()


def test_the_longest_keys_are_keys(store: Store) -> None:
    for key in ("a" * 128, "/".join("abcdefgh"), "0._-"):
        store.publish(key, b"x")
        assert store.read(key, 1) == b"x"


@given(key=st.text(alphabet="ab./\\\n\0A~-_ \u00e9\u0663", max_size=10))
def test_whatever_the_key_nothing_is_written_outside(key: str) -> None:
    with tempfile.TemporaryDirectory() as outer:
        root = Path(outer) / "one" / "two" / "drop"
        local = LocalStore(root)
        root.mkdir(parents=True)
        try:
            local.publish(key, b"x")
        except TrustError:
            assert not layout.is_key(key)
        else:
            assert local.list("") == (key,)
        files = [path for path in Path(outer).rglob("*") if path.is_file()]
        assert all(path.is_relative_to(root) for path in files)
        assert len(files) == layout.is_key(key)


# ------------------------------------------------------------------------------------------------------------- probe


def test_probe_accepts_the_place_and_leaves_nothing(store: Store) -> None:
    store.probe("coordinator/")
    store.probe("coordinator/")
    assert store.list("") == ()


def test_the_address_opens_the_same_place(place: Place) -> None:
    place.store().publish(KEY, b"x")
    other = open_store(place.address, place.options)
    assert other.read(KEY, 1) == b"x"
    assert other.address == place.store().address == place.address


# ---------------------------------------------------------------------------------------- local: what is not writable


@pytest.mark.parametrize("below", ["file/drop", "file"])
def test_local_a_place_that_cannot_be_written_says_so(tmp_path: Path, below: str) -> None:
    source = file_with(tmp_path, b"x", "file")
    local = LocalStore(tmp_path / below)
    for attempt in (
        lambda: local.publish(KEY, b"x"),
        lambda: local.put_artifact("a", source),
        lambda: local.probe("coordinator/"),
    ):
        with pytest.raises(StoreError, match=f"in the drop folder {tmp_path / below}") as caught:
            attempt()
        assert not isinstance(caught.value, MissingError)
    with pytest.raises(StoreError, match="the drop folder is not there"):
        local.list("")
    assert local.stat(KEY) is None
    assert source.read_bytes() == b"x"


def test_local_a_folder_that_is_not_mounted_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the drop folder is not there") as caught:
        LocalStore(tmp_path / "drop").list("")
    assert "mounted" in caught.value.hint


def failing(number: int) -> Callable[..., Any]:
    """Return a system call that always fails in one way."""

    def call(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK])
def test_local_probe_refuses_a_file_system_without_hard_links(
    local_place: Place, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", failing(number))
    with pytest.raises(StoreError) as caught:
        local_place.store().probe("coordinator/")
    assert "no hard links" in caught.value.hint
    assert not isinstance(caught.value, ConflictError)
    assert all(path.is_dir() for path in Path(local_place.address).rglob("*"))


def test_local_probe_refuses_a_file_system_whose_links_overwrite(local_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def overwrite(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(os, "link", overwrite)
    with pytest.raises(StoreError, match="an existing file can be created again") as caught:
        local_place.store().probe("coordinator/")
    assert caught.value.hint
    assert local_place.store().list("") == ()


@pytest.mark.parametrize("call", ["link", "fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_local_a_failing_disk_leaves_nothing_behind(
    local_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    monkeypatch.setattr(os, call, failing(number))
    with pytest.raises(StoreError, match=os.strerror(number)):
        local_place.store().publish(KEY, b"x")
    if call == "fsync":
        with pytest.raises(StoreError, match=os.strerror(number)):
            local_place.store().put_artifact("a", file_with(tmp_path, b"x"))
    monkeypatch.undo()
    assert local_place.store().list("") == ()
    assert all(path.is_dir() for path in Path(local_place.address).rglob("*"))
    local_place.store().publish(KEY, b"x")


# --------------------------------------------------------------------------------- local: what else lies in the folder


def test_local_a_name_that_is_no_text_is_none_of_ours(local_place: Place) -> None:
    Path(os.fsdecode(os.fsencode(local_place.address) + b"/\xff\xfe")).mkdir()
    local_place.store().publish(KEY, b"x")
    assert local_place.store().list("") == (KEY,)


def test_local_stale_temporaries_are_swept_after_a_day(local_place: Place) -> None:
    folder = Path(local_place.address) / "sites/north"
    folder.mkdir(parents=True)
    hours = {"old": 25, "young": 23, "new": 0}
    for name, age in hours.items():
        path = file_with(folder, b"torn", f".fedcli-{name}")
        os.utime(path, times=(time.time() - age * 3600,) * 2)
    file_with(folder, b"somebody's", ".other")
    os.utime(folder / ".other", times=(0, 0))
    assert local_place.store().list("") == ()
    local_place.store().publish("sites/north/x.json", b"x")
    assert local_place.store().list("") == ("sites/north/x.json",)
    assert sorted(path.name for path in folder.iterdir()) == [".fedcli-new", ".fedcli-young", ".other", "x.json"]


def test_local_a_stale_folder_in_a_temporary_files_place_stops_no_publication(local_place: Place) -> None:
    folder = Path(local_place.address) / "sites/north"
    (folder / ".fedcli-old").mkdir(parents=True)
    os.utime(folder / ".fedcli-old", times=(0, 0))
    local_place.store().publish("sites/north/x.json", b"x")
    assert local_place.store().list("") == ("sites/north/x.json",)


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o750, 0o640), (0o755, 0o644), (0o700, 0o600), (0o777, 0o644)])
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_local_the_drop_folders_mode_decides_who_may_read(
    tmp_path: Path, local_place: Place, folder_mode: int, file_mode: int, umask: int
) -> None:
    root = Path(local_place.address)
    root.mkdir(exist_ok=True)
    root.chmod(folder_mode)
    before = os.umask(umask)
    try:
        local_place.store().publish("sites/north/x.json", b"x")
        local_place.store().put_artifact("sites/north/update-0123456789ab.safetensors", file_with(tmp_path, b"bytes"))
    finally:
        os.umask(before)
    modes = {stat.S_IMODE((root / key).stat().st_mode) for key in local_place.store().list("")}
    assert modes == {file_mode}
    sites, writable = root / layout.SITES, folder_mode & 0o022 != 0
    assert stat.S_IMODE(sites.stat().st_mode) == (folder_mode | 0o1000 if writable else folder_mode), "others can join"
    assert {stat.S_IMODE(path.stat().st_mode) for path in sites.rglob("*") if path.is_dir()} == {folder_mode & 0o755}


def test_local_a_new_drop_folder_is_for_its_group(tmp_path: Path) -> None:
    """As `fedcli access` prescribes."""
    before = os.umask(0)
    try:
        LocalStore(tmp_path / "above" / "drop").publish("sites/north/x.json", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "above" / "drop").stat().st_mode) == 0o750


def test_local_names_that_cannot_be_keys_are_left_out(local_place: Place) -> None:
    folder = Path(local_place.address)
    for name in (".DS_Store", "Thumbs.db", "sites/north/update (1).json", "sites/NORTH/update.json", "sites/north/.sync/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    local_place.store().publish(KEY, b"x")
    assert local_place.store().list("") == (KEY,)
    assert local_place.store().list("sites/") == (KEY,)


def test_local_names_that_cannot_be_keys_count_too(local_place: Place) -> None:
    folder = Path(local_place.address) / "sites/north"
    folder.mkdir(parents=True)
    for number in range(20):
        (folder / f"JUNK {number}").touch()
    assert local_place.store().list_each(("sites/north/",), 20) == {"sites/north/": Listing()}
    (listing,) = local_place.store().list_each(("sites/north/",), 19).values()
    assert listing.fault.startswith("sites/north: more than 19 files and folders")


def test_local_a_pipe_or_a_loop_in_a_files_place_is_no_file(local_place: Place, tmp_path: Path) -> None:
    """A peer on the same machine cannot make a reader wait for ever."""
    folder = Path(local_place.address)
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "zero").symlink_to("/dev/zero")
    failures: list[BaseException] = []

    def read_all() -> None:
        for key in ("pipe", "loop", "zero"):
            for attempt in (
                lambda key=key: local_place.store().read(key, 100),
                lambda key=key: local_place.store().fetch(key, tmp_path / "target", 100),
                lambda key=key: local_place.store().publish(key, b"x"),
            ):
                try:
                    attempt()
                except StoreError as error:
                    failures.append(error)
            assert local_place.store().stat(key) is None

    reader = threading.Thread(target=read_all, daemon=True)
    reader.start()
    reader.join(20)
    assert not reader.is_alive()
    assert len(failures) == 9
    assert not (tmp_path / "target").exists()


# --------------------------------------------------------------------------- local: killed at every point of writing


def test_local_a_killed_publisher_leaves_nothing_torn_and_converges(tmp_path: Path) -> None:
    data = pattern(5000)

    def publish(folder: Path) -> None:
        LocalStore(folder / "drop").publish(KEY, data)

    folders = killed_everywhere(tmp_path, publish)
    assert len(folders) >= 8  # folders, open, write, fsync, link, fsync of the folder, unlink
    visible = [(folder / "drop" / KEY).exists() for folder in folders]
    assert visible == sorted(visible)
    assert set(visible) == {False, True}
    for folder, there in zip(folders, visible, strict=True):
        local = LocalStore(folder / "drop")
        (folder / "drop").mkdir(exist_ok=True)
        assert local.list("") == ((KEY,) if there else ())
        if there:
            assert local.read(KEY, len(data)) == data
        publish(folder)
        assert local.list("") == (KEY,)
        assert local.read(KEY, len(data)) == data


def test_local_a_publisher_killed_against_a_taken_name_changes_nothing(tmp_path: Path) -> None:
    def taken(folder: Path) -> None:
        (folder / "drop" / KEY).parent.mkdir(parents=True)
        (folder / "drop" / KEY).write_bytes(b"theirs")

    def publish(folder: Path) -> None:
        with pytest.raises(ConflictError):
            LocalStore(folder / "drop").publish(KEY, b"mine")

    folders = killed_everywhere(tmp_path, publish, taken)
    assert len(folders) >= 5
    for folder in folders:
        assert LocalStore(folder / "drop").list("") == (KEY,)
        assert LocalStore(folder / "drop").read(KEY, 100) == b"theirs"
        publish(folder)


def test_local_a_killed_upload_leaves_nothing_torn_and_converges(tmp_path: Path) -> None:
    data = pattern(2 * CHUNK_BYTES + 1)
    source = file_with(tmp_path, data)
    key = layout.artifact(KEY, wire.sha256(data))

    def put(folder: Path) -> None:
        LocalStore(folder / "drop").put_artifact(key, source)

    folders = killed_everywhere(tmp_path, put)
    visible = [(folder / "drop" / key).exists() for folder in folders]
    assert visible == sorted(visible)
    assert set(visible) == {False, True}
    for folder, there in zip(folders, visible, strict=True):
        local = LocalStore(folder / "drop")
        if there:
            assert local.fetch(key, folder / "before", len(data)).sha256 == wire.sha256(data)
        put(folder)
        assert local.list("") == (key,)
        assert local.fetch(key, folder / "after", len(data)).sha256 == wire.sha256(data)


def test_a_local_path_is_that_of_a_file_and_of_nothing_else(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.publish("coordinator/round-0000/round.json", b"{}")
    assert store.local_path("coordinator/round-0000/round.json") == tmp_path / "coordinator/round-0000/round.json"
    assert store.local_path("coordinator/round-0001/round.json") is None
    assert store.local_path("coordinator/round-0000") is None
    os.mkfifo(tmp_path / "coordinator/pipe.json")
    assert store.local_path("coordinator/pipe.json") is None
    with pytest.raises(TrustError):
        store.local_path("../outside.json")
