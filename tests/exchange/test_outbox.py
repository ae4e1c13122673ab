"""The outbox: whenever a command dies, the next run ends with the same bytes published and the same state installed."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from fedcli import wire
from fedcli.disk import Measured
from fedcli.errors import ConflictError, StoreError
from fedcli.exchange import layout, signatures
from fedcli.exchange.outbox import Publication
from fedcli.exchange.store import LocalStore
from tests.fixtures.killing import killed_everywhere
from tests.fixtures.outbox_entries import DATASET, NAME, SIGNER, UPDATE, contents, draft_of, outbox_of

if TYPE_CHECKING:
    from pathlib import Path


def silent(_key: str, _file: Measured) -> None:
    """Listen to nothing."""


def expected_of(attempt: str, scratch: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return what an attempt publishes, and the state that it installs; nothing is committed for it."""
    _, (dataset, update) = draft_of(outbox_of(scratch), attempt)
    published = {publication.key: publication.data for publication in (dataset, update)}
    published |= {
        layout.signature(publication.key, publication.digest): SIGNER.sign(publication.data) for publication in (dataset, update)
    }
    published |= {key: path.read_bytes() for key, path in update.artifacts}
    names = ("best.safetensors", "selection.json")
    texts = (f"best model of the {attempt}", f"selection of the {attempt}")
    return published, {f"{NAME}/{name}": text.encode() for name, text in zip(names, texts, strict=True)}


def test_an_entry_is_published_in_order_and_its_state_installed(tmp_path: Path) -> None:
    outbox, store = outbox_of(tmp_path), LocalStore(tmp_path / "drop")
    draft, publications = draft_of(outbox, "first")
    assert outbox.pending() == ()
    assert outbox.commit(draft, publications, SIGNER) == NAME
    assert outbox.pending() == (NAME,)
    assert not (tmp_path / "drop").exists()
    assert not (tmp_path / "state").exists()
    sent: dict[str, Measured] = {}
    outbox.publish(NAME, store, sent.__setitem__)
    dataset, update = publications
    assert list(sent) == [
        layout.signature(DATASET, dataset.digest),
        DATASET,
        update.artifacts[0][0],
        layout.signature(UPDATE, update.digest),
        UPDATE,
    ]
    published, state = expected_of("first", tmp_path / "scratch")
    assert contents(tmp_path / "drop") == published
    assert sent == {key: Measured(size=len(data), sha256=wire.sha256(data)) for key, data in published.items()}
    assert contents(tmp_path / "state") == state
    assert outbox.pending() == ()
    assert list((tmp_path / "outbox").iterdir()) == []
    for publication in publications:
        signature = store.read(layout.signature(publication.key, publication.digest), 2048)
        assert signatures.verify(signature, publication.data, [SIGNER.verify_key]) == SIGNER.verify_key


def test_what_is_sealed_is_flushed_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power failure a committed entry is whole: every file of it, and every folder that names them."""
    flushed: set[tuple[int, int]] = set()

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        flushed.add((status.st_dev, status.st_ino))

    outbox = outbox_of(tmp_path)
    draft, publications = draft_of(outbox, "first")
    for path in draft.state.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())  # who writes the state flushes its files
    monkeypatch.setattr(os, "fsync", fsync)
    outbox.commit(draft, publications, SIGNER)
    entry = tmp_path / "outbox" / NAME
    paths = [entry.parent, entry, entry / "state", *(path for path in entry.iterdir() if path.is_file())]
    assert len(paths) == 3 + 5 + 1
    assert {(path.stat().st_dev, path.stat().st_ino) for path in paths} <= flushed


def test_pending_entries_are_in_order_and_drafts_are_none(tmp_path: Path) -> None:
    outbox = outbox_of(tmp_path)
    assert outbox.pending() == ()
    for name in ("round-0002", "model-0001-local", "round-0001"):
        outbox.commit(outbox.draft(name), (Publication(key=f"a/{name}.json", data=b"{}"),), SIGNER)
    outbox.draft("round-0003")
    assert outbox.pending() == ("model-0001-local", "round-0001", "round-0002")


def test_an_entry_with_a_note_is_held_until_it_is_released(tmp_path: Path) -> None:
    outbox, store = outbox_of(tmp_path), LocalStore(tmp_path / "drop")
    draft, publications = draft_of(outbox, "first")
    assert outbox.commit(draft, publications, SIGNER, note=b"look at it") == NAME
    assert (outbox.pending(), outbox.held(), outbox.note(NAME)) == ((), (NAME,), b"look at it")
    published, state = expected_of("first", tmp_path / "scratch")
    assert {key: path.read_bytes() for key, path in outbox.files(NAME)} == published
    outbox.draft("model-0001-local")
    outbox.release(NAME)
    assert (outbox.pending(), outbox.held()) == ((NAME,), ())
    outbox.publish(NAME, store, silent)
    assert (contents(tmp_path / "drop"), contents(tmp_path / "state")) == (published, state)


def test_killed_while_sealing_a_held_entry_nothing_of_it_is_ever_pending(tmp_path: Path) -> None:
    def hold(folder: Path) -> None:
        outbox = outbox_of(folder)
        outbox.commit(*draft_of(outbox, "first"), SIGNER, note=b"look at it")

    folders = killed_everywhere(tmp_path, hold)
    assert len(folders) > 20
    assert {outbox_of(folder).held() for folder in folders} == {(), (NAME,)}
    assert {outbox_of(folder).pending() for folder in folders} == {()}


def test_an_entry_may_hold_state_alone(tmp_path: Path) -> None:
    outbox = outbox_of(tmp_path)
    draft, _ = draft_of(outbox, "first")
    outbox.commit(draft, (), SIGNER)
    outbox.publish(NAME, LocalStore(tmp_path / "drop"), silent)
    assert contents(tmp_path / "state") == expected_of("first", tmp_path / "scratch")[1]
    assert not (tmp_path / "drop").exists()
    assert outbox.pending() == ()


def test_the_next_draft_drops_whatever_was_interrupted(tmp_path: Path) -> None:
    outbox = outbox_of(tmp_path)
    outbox.commit(outbox.draft("round-0002"), (), SIGNER)
    for leftover in (f".{NAME}", ".round-0007", ".gone-round-0003"):
        (tmp_path / "outbox" / leftover / "state").mkdir(parents=True)
        (tmp_path / "outbox" / leftover / "state" / "model").write_bytes(b"torn")
    assert outbox.pending() == ("round-0002",)
    draft = outbox.draft(NAME)
    assert list(draft.folder.iterdir()) == []
    assert sorted(path.name for path in (tmp_path / "outbox").iterdir()) == [f".{NAME}", "round-0002"]


def test_what_cannot_be_removed_stops_no_draft(tmp_path: Path) -> None:
    """A file that is no folder, and a folder with a file that the system does not let go, here by its flag."""
    outbox = outbox_of(tmp_path)
    for leftover in (f".{NAME}", ".gone-round-0003"):
        (tmp_path / "outbox" / leftover).mkdir(parents=True)
    (tmp_path / "outbox/.DS_Store").write_bytes(b"not a folder")
    held = tmp_path / "outbox" / f".{NAME}" / "state"
    held.mkdir()
    (held / "model").write_bytes(b"torn")
    subprocess.run(["chattr", "+i", held / "model"], check=False)
    try:
        draft = outbox.draft(NAME)
        assert list(draft.folder.iterdir()) == []
        assert outbox.pending() == ()
        outbox.commit(draft, (), SIGNER)
        assert outbox.pending() == (NAME,)
    finally:
        for path in (tmp_path / "outbox").rglob("model"):
            subprocess.run(["chattr", "-i", path], check=False)


def test_a_conflict_leaves_the_entry_to_the_caller(tmp_path: Path) -> None:
    outbox, store = outbox_of(tmp_path), LocalStore(tmp_path / "drop")
    store.publish(UPDATE, b"from the second machine")
    draft, publications = draft_of(outbox, "first")
    outbox.commit(draft, publications, SIGNER)
    committed = contents(tmp_path / "outbox")
    for _ in range(2):
        with pytest.raises(ConflictError, match=f"{UPDATE}: "):
            outbox.publish(NAME, store, silent)
        assert outbox.pending() == (NAME,)
        assert contents(tmp_path / "outbox") == committed
        assert store.read(UPDATE, 100) == b"from the second machine"
        assert not (tmp_path / "state").exists()
    outbox.discard(NAME)
    assert outbox.pending() == ()
    assert list((tmp_path / "outbox").iterdir()) == []
    assert not (tmp_path / "state").exists()


def test_a_store_that_fails_leaves_the_entry_for_the_next_run(tmp_path: Path) -> None:
    outbox, store = outbox_of(tmp_path), LocalStore(tmp_path / "drop")
    (tmp_path / "drop").write_bytes(b"no folder yet: the share is not mounted")
    outbox.commit(*draft_of(outbox, "first"), SIGNER)
    with pytest.raises(StoreError):
        outbox.publish(NAME, store, silent)
    assert outbox.pending() == (NAME,)
    assert not (tmp_path / "state").exists()
    (tmp_path / "drop").unlink()
    outbox.publish(NAME, store, silent)
    published, state = expected_of("first", tmp_path / "scratch")
    assert (contents(tmp_path / "drop"), contents(tmp_path / "state")) == (published, state)


def test_work_that_is_done_anew_takes_the_place_of_its_earlier_state(tmp_path: Path) -> None:
    """The drop folder lost what was published (a restored backup, say): the round is trained again under its old name."""
    outbox = outbox_of(tmp_path)
    for attempt in ("first", "second"):
        outbox.commit(*draft_of(outbox, attempt), SIGNER)
        outbox.publish(NAME, LocalStore(tmp_path / f"drop of the {attempt}"), silent)
        assert contents(tmp_path / "state") == expected_of(attempt, tmp_path / "scratch")[1]
        assert list((tmp_path / "outbox").iterdir()) == []


def run(workspace: Path, attempt: str) -> None:
    """Run a command as all commands run: finish what the outbox holds, then work, unless the record is there."""
    outbox, store = outbox_of(workspace), LocalStore(workspace / "drop")
    for name in outbox.pending():
        outbox.publish(name, store, silent)
    if store.stat(UPDATE) is None:
        outbox.publish(outbox.commit(*draft_of(outbox, attempt), SIGNER), store, silent)


def test_killed_anywhere_the_next_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    folders = killed_everywhere(tmp_path, lambda folder: run(folder, "first"))
    assert len(folders) > 60
    expected = {attempt: expected_of(attempt, tmp_path / "scratch") for attempt in ("first", "second")}
    stages: list[str] = []
    for folder in folders:
        published = contents(folder / "drop")
        committed = bool(outbox_of(folder).pending())
        attempt = "first" if committed or published else "second"
        assert published.items() <= expected["first"][0].items(), "torn"
        if UPDATE in published:
            assert published == expected["first"][0], "the record is the commit: it comes last"
        assert committed or published in ({}, expected["first"][0])
        before = (folder / "state" / NAME).stat().st_ino if (folder / "state" / NAME).exists() else None
        assert before is None or UPDATE in published
        stages.append("installed" if before else "committed" if committed else "drafted")

        run(folder, "second")
        assert (contents(folder / "drop"), contents(folder / "state")) == expected[attempt]
        assert before in {None, (folder / "state" / NAME).stat().st_ino}, "installed twice"
        assert outbox_of(folder).pending() == ()

        run(folder, "third")
        assert (contents(folder / "drop"), contents(folder / "state")) == expected[attempt]
        outbox_of(folder).draft("round-0002")
        assert [path.name for path in (folder / "outbox").iterdir()] == [".round-0002"]
    assert stages == sorted(stages, key=["drafted", "committed", "installed"].index)
    assert set(stages) == {"drafted", "committed", "installed"}


def test_killed_while_discarding_the_entry_is_whole_or_gone(tmp_path: Path) -> None:
    def committed(folder: Path) -> None:
        outbox = outbox_of(folder)
        outbox.commit(*draft_of(outbox, "first"), SIGNER)

    folders = killed_everywhere(tmp_path, lambda folder: outbox_of(folder).discard(NAME), committed)
    assert len(folders) >= 8
    for folder in folders:
        if outbox_of(folder).pending():
            outbox_of(folder).publish(NAME, LocalStore(folder / "drop"), silent)
            assert contents(folder / "drop") == expected_of("first", tmp_path / "scratch")[0]
        else:
            outbox_of(folder).draft("round-0002")
            assert [path.name for path in (folder / "outbox").iterdir()] == [".round-0002"]
