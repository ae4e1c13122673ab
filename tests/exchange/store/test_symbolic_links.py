"""No link below the root of a drop folder is followed, by a reader or by a writer; what is listed says so."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import FedcliError, MissingError, StoreError, UnreadableError
from fedcli.exchange.store import LocalStore
from fedcli.exchange.store.listing import Listing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fedcli.exchange.store import Store
    from tests.fixtures.servers import Sshd

KEY = "sites/north/round-0001/update.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """A drop folder, where it lies on this machine, and a folder that is not in it."""

    store: Store
    root: Path
    outside: Path


@pytest.fixture
def locally(tmp_path: Path) -> Linked:
    for name in ("drop", "outside"):
        (tmp_path / name).mkdir()
    return Linked(store=LocalStore(tmp_path / "drop"), root=tmp_path / "drop", outside=tmp_path / "outside")


@pytest.fixture
def over_sftp(sshd: Sshd) -> Iterator[Linked]:
    below, outside = sshd.folder("north"), sshd.root / "sites/north" / secrets.token_hex(4)
    outside.mkdir()
    yield Linked(store=sshd.store("north", below), root=sshd.root / below, outside=outside)
    for folder in (sshd.root / below, outside):  # no other test expects links on this server
        shutil.rmtree(folder)


@pytest.fixture(params=["locally", "over_sftp"])
def linked(request: pytest.FixtureRequest) -> Linked:
    made: Linked = request.getfixturevalue(request.param)
    path = made.outside / "round-0001/update.json"
    path.parent.mkdir()
    path.write_bytes(b"outside")
    made.store.publish("sites/valley/a.json", b"{}")
    return made


TARGETS: dict[str, Callable[[Linked], tuple[str, str]]] = {  # where the link is, and where it leads
    "a file elsewhere": lambda linked: (KEY, str(linked.outside / "round-0001/update.json")),
    "a round elsewhere": lambda linked: ("sites/north/round-0001", str(linked.outside / "round-0001")),
    "all of a site elsewhere": lambda linked: ("sites/north", str(linked.outside)),
    "another site": lambda _: ("sites/north", "valley"),
    "the drop folder itself": lambda _: ("sites/north", "../.."),
    "itself": lambda _: ("sites/north", "north"),
    "nothing": lambda _: (KEY, "/nowhere"),
    "an endless device": lambda _: (KEY, "/dev/zero"),
    "a device that waits": lambda _: (KEY, "/dev/tty"),
    "the memory of a process": lambda _: (KEY, "/proc/self/mem"),
    "a file of the kernel": lambda _: (KEY, "/proc/self/environ"),
    "a folder of the kernel": lambda _: ("sites/north", "/proc/self/task"),
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_link_is_no_file_and_hides_nobody_elses(
    linked: Linked, target: Callable[[Linked], tuple[str, str]], tmp_path: Path
) -> None:
    place, leads_to = target(linked)
    (linked.root / place).parent.mkdir(parents=True, exist_ok=True)
    (linked.root / place).symlink_to(leads_to)
    assert linked.store.stat(KEY) is None
    assert linked.store.local_path(KEY) is None
    for attempt in (lambda: linked.store.read(KEY, 100), lambda: linked.store.fetch(KEY, tmp_path / "copy", 100)):
        with pytest.raises(MissingError):
            attempt()
    listings = linked.store.list_each(("sites/north/", "sites/valley/"), 100)
    assert listings["sites/north/"] == Listing(fault=f"{place}: a link, which is not followed")
    assert listings["sites/valley/"] == Listing(keys=("sites/valley/a.json",))
    with pytest.raises(UnreadableError, match=f"^{place}: a link, which is not followed, in the drop folder"):
        linked.store.list("")
    assert "north" not in linked.store.names("sites/", 10) or place != "sites/north"


@pytest.mark.parametrize("place", ["sites/north", "sites/north/round-0001"])
def test_nothing_is_written_through_a_link(locally: Linked, place: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    (locally.root / place).parent.mkdir(parents=True, exist_ok=True)
    (locally.root / place).symlink_to(locally.outside)
    for write in (
        lambda: locally.store.publish(KEY, b"x"),
        lambda: locally.store.put_artifact(f"{KEY[:-5]}.safetensors", source),
    ):
        with pytest.raises(StoreError, match="a link, which is not followed"):
            write()
    assert list(locally.outside.iterdir()) == []


def test_the_root_itself_may_be_a_link(locally: Linked, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(locally.root)
    store = LocalStore(tmp_path / "link")
    store.publish(KEY, b"x")
    assert store.read(KEY, 10) == b"x"
    assert store.list("") == (KEY,)
    assert store.local_path(KEY) == tmp_path / "link" / KEY


def test_a_pipe_or_a_folder_in_a_files_place_is_no_file(linked: Linked) -> None:
    (linked.root / KEY).parent.mkdir(parents=True)
    os.mkfifo(linked.root / KEY)
    (linked.root / "sites/north/dataset/0001.json").mkdir(parents=True)
    for key in (KEY, "sites/north/dataset/0001.json"):
        assert linked.store.stat(key) is None
        with pytest.raises(FedcliError):
            linked.store.read(key, 100)
    assert linked.store.list_each(("sites/north/",), 100) == {"sites/north/": Listing()}
