"""A file in the drop folder that an account may not read is told from one that is missing, and stops nothing but itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import MachineError, MissingError, StoreError, UnreadableError
from fedcli.exchange.store import LocalStore
from tests.fixtures.files import UNPRIVILEGED
from tests.fixtures.servers import READER, running_s3

if TYPE_CHECKING:
    from fedcli.exchange.store import Store
    from tests.fixtures.servers import Sshd

ROOT = Path(__file__).parent.parent.parent
KEYS = ("sites/north/a.json", "sites/north/b.json")


def is_unreadable(store: Store, key: str, target: Path) -> None:
    """Expect a key to be refused to whoever reads it, and everything else to be there."""
    for attempt in (lambda: store.read(key, 100), lambda: store.fetch(key, target, 100)):
        with pytest.raises(UnreadableError, match=f"^{key}: ") as caught:
            attempt()
        assert not isinstance(caught.value, MissingError)
        assert caught.value.hint
        assert store.address in str(caught.value)
    assert not target.exists() or target.stat().st_size == 0
    others = [other for other in KEYS if other != key]
    assert [store.read(other, 100) for other in others] == [other.encode() for other in others]


def local_is_unreadable(root: Path) -> None:
    """What the test of the local store runs without root's rights."""
    local = LocalStore(root)
    is_unreadable(local, KEYS[0], root / "target")
    with pytest.raises(UnreadableError):
        local.local_path(KEYS[0])
    assert local.list("sites/") == KEYS
    (root / "precious").mkdir(mode=0o500)
    with pytest.raises(MachineError, match="precious/target: Permission denied"):  # this machine's affair, not the drop folder's
        local.fetch(KEYS[1], root / "precious" / "target", 100)
    (root / "sites").chmod(0)
    with pytest.raises(UnreadableError):
        local.stat(KEYS[1])
    with pytest.raises(StoreError, match=f"^sites: permission denied, in the drop folder {root}"):
        local.list("")
    (root / "sites").chmod(0o755)


def test_local(tmp_path: Path) -> None:
    local = LocalStore(tmp_path)
    for key in KEYS:
        local.publish(key, key.encode())
    (tmp_path / KEYS[0]).chmod(0)
    program = f"import pathlib, tests.exchange.test_unreadable as test; test.local_is_unreadable(pathlib.Path({str(tmp_path)!r}))"
    done = subprocess.run(
        [*UNPRIVILEGED, sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_sftp(sshd: Sshd, tmp_path: Path) -> None:
    below = sshd.folder("north")
    store = sshd.store("north", below)
    for key in KEYS:
        store.publish(key, key.encode())
    (sshd.root / below / KEYS[0]).chmod(0)
    if os.geteuid() == 0 and not sshd.apart:
        pytest.skip("an account for every party needs useradd")
    is_unreadable(store, KEYS[0], tmp_path / "target")
    assert store.list("") == KEYS
    (sshd.root / below / "sites/north").chmod(0)
    with pytest.raises(UnreadableError):
        store.stat(KEYS[1])
    with pytest.raises(StoreError, match="sites/north: permission denied"):
        store.list("")
    (sshd.root / below / "sites/north").chmod(0o750)  # other tests list what is above it


def test_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s3").mkdir()
    with running_s3(tmp_path / "s3", unreadable=KEYS[0]) as server:
        writer = server.store("north", monkeypatch)
        for key in KEYS:
            writer.publish(key, key.encode())
        store = server.store(READER, monkeypatch)
        is_unreadable(store, KEYS[0], tmp_path / "target")
        with pytest.raises(UnreadableError, match=r"403 Forbidden, AccessDenied"):
            store.stat(KEYS[0])
        assert store.list("") == KEYS
