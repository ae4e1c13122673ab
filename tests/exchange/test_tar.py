"""Tars of drop folders: the same bytes everywhere, and nothing but what may be in them."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcli import wire
from fedcli.disk import CHUNK_BYTES, Measured
from fedcli.errors import MissingError, StoreError, TrustError, UsageError
from fedcli.exchange import tar
from fedcli.exchange.overlay import Overlay
from fedcli.exchange.store import LocalStore
from fedcli.exchange.tar import Tar

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = {
    "coordinator/federation-0000.json": b"{}\n",
    "coordinator/round-0000/global-0123456789ab.safetensors": bytes(range(256)) * 3,
    "coordinator/round-0000/round.json": b"x" * 512,
    f"sites/{'a' * 63}/round-0001/update-0123456789ab.safetensors": b"",
}
KEYS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,40}(/[a-z0-9][a-z0-9._-]{0,40}){0,3}", fullmatch=True)


def write(path: Path, files: dict[str, bytes]) -> Measured:
    return tar.write(path, sorted(files.items()))


def read_all(path: Path) -> dict[str, bytes]:
    archive = Tar(path)
    return {key: archive.read(key, 1 << 20) for key in archive.list("")}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    write(tmp_path / "good.tar", FILES)
    return tmp_path / "good.tar"


# ---------------------------------------------------------------------------------------------------------------- bytes


@given(files=st.dictionaries(KEYS, st.binary(max_size=2000), max_size=8))
def test_what_was_written_is_read_and_any_tar_reads_it(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tar"
        measured = write(path, files)
        assert measured == Measured(size=path.stat().st_size, sha256=wire.sha256(path.read_bytes()))
        assert read_all(path) == files
        with tarfile.open(path) as other:
            contents = {member.name: other.extractfile(member) for member in other}
            assert {name: file.read() for name, file in contents.items() if file is not None} == files


@pytest.mark.parametrize("num_blocks", range(tarfile.RECORDSIZE // tarfile.BLOCKSIZE + 1))
def test_it_is_padded_to_a_whole_record_wherever_the_last_file_ends(tmp_path: Path, num_blocks: int) -> None:
    files = {"a": b"x" * tarfile.BLOCKSIZE * num_blocks}
    write(tmp_path / "a.tar", files)
    assert read_all(tmp_path / "a.tar") == files
    assert (tmp_path / "a.tar").stat().st_size % tarfile.RECORDSIZE == 0


def test_the_same_files_are_the_same_bytes_on_every_machine(tmp_path: Path, good: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(FILES["coordinator/round-0000/global-0123456789ab.safetensors"])
    members = [(key, source if key.endswith("9ab.safetensors") and data else data) for key, data in sorted(FILES.items())]
    assert tar.write(tmp_path / "b.tar", members).sha256 == wire.sha256(good.read_bytes())
    assert wire.sha256(good.read_bytes()) == "9823b2c5de627fee19ccdc14cd5feb0c020d959ec7cfa9a297bcfcec876f7463"


@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar program is installed")
def test_the_systems_tar_unpacks_it(tmp_path: Path, good: Path) -> None:
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "xf", good, "-C", tmp_path / "out"], check=True)
    unpacked = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {key: path.read_bytes() for key, path in unpacked.items()} == FILES


@pytest.mark.parametrize("key", FILES)
def test_headers_are_what_the_protocol_says_word_by_word(key: str, good: Path) -> None:
    cut = next((at for at, char in enumerate(key) if char == "/" and len(key) - at - 1 <= 100), 0) if len(key) > 100 else 0
    name, prefix = (key[cut + 1 :], key[:cut]) if cut else (key, "")
    size, time = f"{len(FILES[key]):011o}\0", "0" * 11 + "\0"
    fields = [
        (name, 100), ("0000644\0", 8), ("0000000\0", 8), ("0000000\0", 8), (size, 12), (time, 12), (" " * 8, 8),
        ("0", 1), ("", 100), ("ustar\0", 6), ("00", 2), ("", 32), ("", 32), ("", 8), ("", 8), (prefix, 155), ("", 12),
    ]  # fmt: skip
    header = bytearray(b"".join(text.encode().ljust(width, b"\0") for text, width in fields))
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    assert good.read_bytes().count(header) == 1


@pytest.mark.parametrize("key", ["a.safetensors", list(FILES)[-1]])
def test_a_file_of_nine_gigabytes_has_a_pax_header(tmp_path: Path, key: str) -> None:
    size = 9 << 30
    member = tarfile.TarInfo(key)
    member.size = size
    header = member.tobuf(tarfile.PAX_FORMAT)
    assert len(header) == 3 * 512
    path = tmp_path / "large.tar"
    with path.open("wb") as file:  # holes: nothing but the header takes room
        file.write(header)
        end = len(header) + size + 1024
        file.truncate(end + -end % tarfile.RECORDSIZE)
    assert Tar(path).stat(key) == size
    with path.open("r+b") as file:
        file.truncate(len(header) + size)
    with pytest.raises(TrustError, match="cut off"):
        Tar(path)


def test_nothing_is_overwritten(tmp_path: Path, good: Path) -> None:
    before = good.read_bytes()
    write(good, FILES)
    with pytest.raises(UsageError, match="exists already"):
        write(good, {"other.json": b""})
    assert good.read_bytes() == before
    with pytest.raises(StoreError, match="cannot be written"):
        write(tmp_path / "nowhere" / "a.tar", FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["good.tar"]


# -------------------------------------------------------------------------------------------------------------- hostile


def made(change: Callable[[tarfile.TarInfo], object] = lambda _: None, name: str = "b.json", **options: object) -> bytes:
    """Return a tar of two files as the standard library writes it, the second one changed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, **options) as out:  # type: ignore[call-overload]
        for key in ("a.json", name):
            member = tarfile.TarInfo(key)
            member.size = 3
            if key == name:
                change(member)
            out.addfile(member, io.BytesIO(b"{}\n" * 1000))
    return buffer.getvalue()


def setting(**values: object) -> Callable[[tarfile.TarInfo], object]:
    return lambda member: [setattr(member, name, value) for name, value in values.items()]


HOSTILE = {
    "symlink": made(setting(type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0)),
    "hard link": made(setting(type=tarfile.LNKTYPE, linkname="a.json", size=0)),
    "directory": made(setting(type=tarfile.DIRTYPE, size=0)),
    "character device": made(setting(type=tarfile.CHRTYPE, devmajor=1, devminor=3, size=0)),
    "block device": made(setting(type=tarfile.BLKTYPE, size=0)),
    "pipe": made(setting(type=tarfile.FIFOTYPE, size=0)),
    "contiguous": made(setting(type=tarfile.CONTTYPE)),
    "sparse": made(setting(type=tarfile.GNUTYPE_SPARSE)),
    "old regular": made(setting(type=tarfile.AREGTYPE)),
    "absolute": made(name="/b.json"),
    "parent": made(name="../b.json"),
    "parent within": made(name="a/../b.json"),
    "hidden": made(name=".b.json"),
    "upper case": made(name="B.json"),
    "dot": made(name="./b.json"),
    "not ASCII": made(name="b\u00e9.json"),
    "line break": made(name="b\n.json"),
    "twice": made(name="a.json"),
    "out of order": made(name="0.json"),
    "long name": made(name="b" * 129),
    "owner": made(setting(uid=1000)),
    "time": made(setting(mtime=1)),
    "mode": made(setting(mode=0o4755)),
    "owner's name": made(setting(uname="root")),
    "pax header of a file": made(setting(pax_headers={"path": "/etc/cron.d/x"})),
    "pax header of all": made(pax_headers={"comment": "x"}),
    "pax size of a small file": made(setting(pax_headers={"size": "3"})),
    "larger than the tar": made()[:-9216] + made(setting(size=3000))[1024:1536],
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_whatever_is_not_a_plain_file_under_a_key_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "hostile.tar").write_bytes(data)
    with pytest.raises(TrustError, match=r"hostile\.tar"):
        Tar(tmp_path / "hostile.tar")


def test_the_tar_that_the_hostile_ones_depart_from_is_good(tmp_path: Path) -> None:
    (tmp_path / "good.tar").write_bytes(made())
    assert read_all(tmp_path / "good.tar") == {"a.json": b"{}\n", "b.json": b"{}\n"}


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data[:-512],
        lambda data: data[: len(data) - len(data) % 1024 - 4096],
        lambda data: data[:512],
        lambda data: data[:700],
        lambda _: b"",
        lambda data: data + b"\0" * 512,
        lambda data: data + b"\0" * 10_240,
        lambda data: data[:-1] + b"x",
        lambda data: data[:1023] + b"x" + data[1024:],
        lambda data: b"x" + data,
    ],
)
def test_an_end_that_is_not_the_end_is_refused(tmp_path: Path, good: Path, change: Callable[[bytes], bytes]) -> None:
    (tmp_path / "cut.tar").write_bytes(change(good.read_bytes()))
    with pytest.raises(TrustError, match=r"cut\.tar"):
        Tar(tmp_path / "cut.tar")


@given(data=st.data())
@settings(max_examples=300)
def test_a_changed_byte_is_refused_or_shows_in_a_files_content(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tar"
        write(path, FILES)
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        try:
            content = read_all(path)
        except TrustError:
            return
        assert content.keys() == FILES.keys()
        assert sum(content[key] != FILES[key] for key in FILES) == 1


@given(data=st.binary(max_size=4000))
def test_no_bytes_make_it_stumble(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tar"
        path.write_bytes(data)
        with pytest.raises(TrustError):
            Tar(path)


# -------------------------------------------------------------------------------------------------------------- reading


def test_it_is_read_as_a_store_is(tmp_path: Path, good: Path) -> None:
    archive = Tar(good)
    (record, model, *_) = FILES
    assert archive.list("") == tuple(FILES)
    assert archive.list("coordinator/round-0000/") == tuple(FILES)[1:3]
    assert archive.stat(model) == 768
    assert archive.stat("nothing") is None
    assert archive.local_path(model) is None
    assert archive.read(record, 3) == b"{}\n"
    assert archive.fetch(model, tmp_path / "copy", 768) == Measured(size=768, sha256=wire.sha256(FILES[model]))
    assert (tmp_path / "copy").read_bytes() == FILES[model]
    for attempt in (lambda: archive.read(model, 767), lambda: archive.fetch(model, tmp_path / "capped", 767)):
        with pytest.raises(StoreError, match="more than the 767 bytes"):
            attempt()
    assert not (tmp_path / "capped").exists()
    for attempt in (lambda: archive.read("nothing", 9), lambda: archive.fetch("nothing", tmp_path / "capped", 9)):
        with pytest.raises(MissingError):
            attempt()
    with pytest.raises(StoreError, match="cannot be read"):
        Tar(tmp_path / "nowhere.tar")


def test_a_record_that_was_read_stays_as_it_was(good: Path) -> None:
    archive = Tar(good)
    key = next(iter(FILES))
    first = archive.read(key, 100)
    good.write_bytes(good.read_bytes().replace(b"{}\n", b"[]\n"))
    assert archive.read(key, 100) == first


def test_large_files_go_through_in_chunks(tmp_path: Path) -> None:
    content = b"".join(index.to_bytes(4, "big") for index in range(CHUNK_BYTES // 2))
    (tmp_path / "source").write_bytes(content)
    tar.write(tmp_path / "a.tar", [("a.safetensors", tmp_path / "source")])
    measured = Tar(tmp_path / "a.tar").fetch("a.safetensors", tmp_path / "copy", len(content))
    assert measured == Measured(size=len(content), sha256=wire.sha256(content))


# ------------------------------------------------------------------------------------------------------------- overlay


def test_an_overlay_is_one_folder(tmp_path: Path, good: Path) -> None:
    store = LocalStore(tmp_path / "drop")
    record, model, *_ = FILES
    store.publish(record, b"other")
    store.publish("sites/north/x.json", b"x")
    overlay = Overlay(store, Tar(good))
    assert overlay.list("") == tuple(sorted({*FILES, "sites/north/x.json"}))
    assert overlay.read(record, 9) == b"other"
    assert Overlay(Tar(good), store).read(record, 9) == b"{}\n"
    assert (overlay.stat(record), overlay.stat(model), overlay.stat("nothing")) == (5, 768, None)
    assert overlay.local_path(record) == tmp_path / "drop" / record
    assert overlay.local_path(model) is None
    assert Overlay(Tar(good), store).local_path(record) is None
    assert overlay.fetch(model, tmp_path / "copy", 768).size == 768
    with pytest.raises(MissingError, match=r"nothing: not in .*drop \+ .*good\.tar"):
        overlay.read("nothing", 9)
