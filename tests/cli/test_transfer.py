"""export, import, archive and verify --with as their users run them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fedcli.exchange.store import LocalStore
from tests.fixtures.command import imported_by, run, succeed
from tests.fixtures.history import complete_history
from tests.fixtures.signing import signer_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.federation import Federation

COORDINATOR = signer_of("coordinator").verify_key.fingerprint

EXPORT = {
    "command", "status", "message", "file", "sha256", "size", "since", "round", "records", "artifacts", "left_out", "verified",
}  # fmt: skip
IMPORT = {"command", "status", "message", "file", "records", "artifacts", "known", "round", "verified"}
ARCHIVE = {"command", "status", "message", "file", "sha256", "before", "moved", "left"}


def test_there_and_back_with_json(tmp_path: Path) -> None:
    drop, other, tar = tmp_path / "drop", tmp_path / "other", tmp_path / "a.tar"
    drop.mkdir()
    other.mkdir()
    complete_history().publish(LocalStore(drop))
    sent = succeed("export", tar, drop, "--coordinator-key", COORDINATOR)
    assert sent.keys() == EXPORT
    assert (sent["status"], sent["verified"], sent["size"]) == ("done", True, tar.stat().st_size)
    received = succeed("import", tar, other, "--coordinator-key", COORDINATOR)
    assert received.keys() == IMPORT
    assert (received["status"], received["records"], received["known"]) == ("published", 10, 0)
    assert succeed("import", tar, other)["status"] == "done"
    assert run("verify", other, "--coordinator-key", COORDINATOR).returncode == 0


def test_what_cannot_be_ends_with_its_familys_exit_code(tmp_path: Path) -> None:
    drop, other = tmp_path / "drop", tmp_path / "other"
    drop.mkdir()
    other.mkdir()
    complete_history().publish(LocalStore(drop))
    (tmp_path / "file").write_bytes(b"not a tar")
    for arguments, code in (
        (("export", tmp_path / "a.tar", drop, "--since", "9"), 2),
        (("export", tmp_path / "file", drop), 2),
        (("export", tmp_path / "a.tar"), 3),
        (("export", tmp_path / "a.tar", tmp_path / "nowhere"), 5),
        (("export", tmp_path / "a.tar", other), 6),
        (("import", tmp_path / "nothing.tar", other), 5),
        (("import", tmp_path / "file", other), 6),
        (("archive", tmp_path / "a.tar", "--before", "1", "-C", tmp_path), 3),
        (("verify", drop, "--with", tmp_path / "file"), 6),
    ):
        done = run(*arguments, "--json", folder=tmp_path)
        found = json.loads(done.stdout)
        assert (done.returncode, found["status"], found["exit_code"]) == (code, "error", code), (arguments, done.stderr)
    assert list(other.iterdir()) == []
    assert not (tmp_path / "a.tar").exists()


def test_an_archive_and_what_verify_says_of_it(finished: Federation) -> None:
    tar = finished.root / "a.tar"
    moved = succeed("archive", tar, "--before", "2", "-C", finished.coordinator)
    assert moved.keys() == ARCHIVE
    assert (moved["status"], moved["moved"], moved["left"], moved["before"]) == ("published", 2, [], 2)
    key = ("--replay", "--coordinator-key", finished.fingerprint)
    without = succeed("verify", finished.drop, *key)
    assert (without["status"], without["replayable_from"], without["archived"], without["replayed"]) == ("verified", 2, 2, 1)
    within = succeed("verify", finished.drop, *key, "--with", tar)
    assert (within["replayable_from"], within["archived"], within["replayed"]) == (1, 0, 2)
    shown = run("verify", finished.drop, *key)
    assert "replayable from round 2" in shown.stdout
    assert "2 more archived" in shown.stdout


def test_none_of_them_imports_torch(finished: Federation) -> None:
    tar = finished.root / "a.tar"
    for arguments in (
        ("export", tar, finished.drop),
        ("import", tar, finished.drop),
        ("archive", finished.root / "b.tar", "--before", "2", "-C", finished.coordinator),
    ):
        assert not {"torch", "matplotlib", "pydicom"} & imported_by(*arguments), arguments
