"""The files below a folder and in its zip archives, each once, whatever links lead to it.

Files that are there come before links, and hidden folders last: version control keeps files in them under other names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.errors import DataError
from fedcli.imaging.archive import zip_archive
from fedcli.imaging.archive.acceptance import RejectedFile
from fedcli.imaging.rejection import Reason, RejectedError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveListing:
    """What is below a folder, by paths relative to it, with '/', sorted.

    Attributes:
        files: The files to read.
        left_out: Folders that cannot be listed, and links to what is read under another path.
    """

    files: tuple[str, ...]
    left_out: tuple[RejectedFile, ...]


def listing_of(folder: Path) -> ArchiveListing:
    """List all files below a folder.

    Raises:
        DataError: The folder cannot be listed.
    """
    try:
        os.scandir(folder).close()
    except OSError as error:
        msg = f"{folder}: the folder cannot be read: {error.strerror}"
        raise DataError(msg) from error
    walk = _Walk(folder)
    walk.list_folder("")
    while walk.links or walk.hidden:
        while walk.links:
            walk.follow_links()
        hidden, walk.hidden = sorted(walk.hidden), []
        for path in hidden:
            walk.list_folder(path)
    files = sorted(file for path in walk.files for file in _files_of(folder, path))
    return ArchiveListing(files=tuple(files), left_out=tuple(sorted(walk.left_out, key=lambda item: item.file)))


def listing_of_zip(path: Path) -> ArchiveListing:
    """List the members of a zip archive, by paths relative to its folder."""
    return ArchiveListing(files=tuple(sorted(_files_of(path.parent, path.name))), left_out=())


def _files_of(folder: Path, file: str) -> Iterable[str]:
    """Return a file, or the members of a zip archive; one that cannot be listed is a file, so that reading it says why."""
    path = folder / file
    if not zip_archive.is_zip(path):
        return (file,)
    try:
        return [f"{file}/{name}" for name in zip_archive.members_of(path)]
    except RejectedError:
        return (file,)


class _Walk:
    def __init__(self, folder: Path) -> None:
        self.files: list[str] = []
        self.links: list[str] = []
        self.hidden: list[str] = []
        self.left_out: list[RejectedFile] = []
        self._folder = folder
        self._folders: set[str] = set()
        self._targets: set[str] = set()

    def list_folder(self, path: str) -> None:
        """List a folder and the folders in it, but not what links lead to."""
        waiting = [path]
        while waiting:
            path = waiting.pop()
            real = os.path.realpath(self._folder / path)
            if real in self._folders:
                self._leave_out(path, Reason.LINK)
                continue
            self._folders.add(real)
            try:
                with os.scandir(self._folder / path) as entries:
                    for entry in entries:
                        self._sort(entry, f"{path}/{entry.name}" if path else entry.name, real, waiting)
            except OSError:
                self._leave_out(path, Reason.UNLISTED)

    def _sort(self, entry: os.DirEntry[str], path: str, parent: str, waiting: list[str]) -> None:
        if entry.is_symlink():
            self.links.append(path)
        elif entry.is_dir(follow_symlinks=False):
            (self.hidden if entry.name.startswith(".") else waiting).append(path)
        elif self._targets and os.path.join(parent, entry.name) in self._targets:  # noqa: PTH118 - fast
            self._leave_out(path, Reason.LINK)
        else:
            self.files.append(path)

    def follow_links(self) -> None:
        """List what links lead to, folders first, unless it is listed already."""
        links, self.links = sorted(self.links), []
        files = []
        for path in links:
            if (self._folder / path).is_dir():
                self.list_folder(path)
            else:
                files.append(path)
        for path in files:
            real = Path(os.path.realpath(self._folder / path))
            if str(real) in self._targets or (str(real.parent) in self._folders and real.exists()):
                self._leave_out(path, Reason.LINK)
            else:
                self._targets.add(str(real))
                self.files.append(path)

    def _leave_out(self, path: str, reason: Reason) -> None:
        self.left_out.append(RejectedFile(file=path, reason=reason))
