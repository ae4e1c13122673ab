"""The files of an archive with links, loops and folders that cannot be listed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import DataError
from fedcli.imaging.archive.archive_listing import ArchiveListing, listing_of
from fedcli.imaging.rejection import Reason
from tests.fixtures.files import UNPRIVILEGED

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Return an archive with two folders of two files."""
    folder = tmp_path / "archive"
    for name in ("m/a", "m/b", "z/a", "z/b"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


FILES = ("m/a", "m/b", "z/a", "z/b")


def summary(listing: ArchiveListing) -> tuple[tuple[str, ...], dict[str, Reason]]:
    return listing.files, {item.file: item.reason for item in listing.left_out}


@pytest.mark.parametrize(
    ("link", "target"), [("again", "m"), ("m/loop", ".."), ("m/self", "."), ("file", "z/a"), ("m/c", "a"), ("all", "../archive")]
)
def test_what_is_listed_already_is_named_and_not_listed_again(link: str, target: str, archive: Path) -> None:
    (archive / link).symlink_to(target)
    assert summary(listing_of(archive)) == (FILES, {link: Reason.LINK})


def test_links_out_of_the_archive_are_followed_once(archive: Path) -> None:
    other = archive.parent / "other"
    other.mkdir()
    (other / "x").touch()
    (other / "back").symlink_to(archive)
    for name, target in (("a-file", other / "x"), ("folder", other), ("twin", other)):
        (archive / name).symlink_to(target)
    left_out = dict.fromkeys(("a-file", "folder/back", "twin"), Reason.LINK)
    assert summary(listing_of(archive)) == (("folder/x", *FILES), left_out)


def test_two_links_to_one_file_are_read_once(archive: Path) -> None:
    (archive.parent / "x").touch()
    (archive / "k").symlink_to("../x")
    (archive / "l").symlink_to("../x")
    assert summary(listing_of(archive)) == (("k", *FILES), {"l": Reason.LINK})


def test_links_that_lead_nowhere_are_files_that_cannot_be_read(archive: Path) -> None:
    (archive / "k").symlink_to("nowhere")
    (archive / "l").symlink_to("l")
    assert summary(listing_of(archive)) == (("k", "l", *FILES), {})


def test_a_link_into_a_hidden_folder_names_the_file(archive: Path) -> None:
    (archive / ".git").mkdir()
    (archive / ".git" / "object").touch()
    (archive / ".git" / "config").touch()
    (archive / "k").symlink_to(".git/object")
    assert summary(listing_of(archive)) == ((".git/config", "k", *FILES), {".git/object": Reason.LINK})


def test_a_folder_that_cannot_be_listed_costs_only_itself(archive: Path) -> None:
    (archive / "m").chmod(0)
    program = (
        "import sys, pathlib; from fedcli.imaging.archive.archive_listing import listing_of; "
        "listing = listing_of(pathlib.Path(sys.argv[1])); "
        "print(*listing.files, *((item.file, item.reason.value) for item in listing.left_out))"
    )
    command = [*UNPRIVILEGED, sys.executable, "-c", program, str(archive)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (archive / "m").chmod(0o700)
    assert printed == "z/a z/b ('m', 'folder cannot be listed')\n"


def test_an_archive_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder cannot be read"):
        listing_of(tmp_path / "missing")
