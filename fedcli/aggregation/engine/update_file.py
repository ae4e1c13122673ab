"""The file of one update, read and hashed part by part."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from fedcli import disk, tensors
from fedcli.aggregation.update import UpdateError
from fedcli.tensors import TensorError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.aggregation.update import Update
    from fedcli.tensors import Layout


class UpdateFile:
    """A file of a given layout; every error about it names the site.

    Args:
        update: The update.
        layout: What the file must hold.
        keep_open: Whether the file stays open after its header was read.

    Attributes:
        descriptor: The descriptor of the file if it stays open; else None.
        hasher: Takes the bytes of the file in their order; None if the update names no digest.
    """

    def __init__(self, update: Update, layout: Layout, *, keep_open: bool) -> None:
        self.update = update
        self.hasher = hashlib.sha256() if update.sha256 else None
        self.descriptor: int | None = None
        self._layout = layout
        self._keep_open = keep_open

    def close(self) -> None:
        """Close the file if it is open."""
        if self.descriptor is not None:
            os.close(self.descriptor)

    def check_header(self) -> None:
        """Compare the header with that of the layout.

        Raises:
            UpdateError: They differ, or the file cannot be read.
        """
        header = bytearray(len(self._layout.header))
        self.read(memoryview(header), 0)
        with self._naming_the_site():
            if header != self._layout.header:
                with disk.open_regular(self.update.path) as file:
                    raise TensorError(self._difference(file) or "its header changed while it was read")
        if self.hasher is not None:
            self.hasher.update(header)

    def read(self, part: memoryview, offset: int) -> None:
        """Fill memory with the bytes from an offset on.

        Raises:
            UpdateError: The file cannot be read.
        """
        view = part.cast("B")
        with self._naming_the_site():
            descriptor = self._open() if self.descriptor is None else self.descriptor
            try:
                while len(view):
                    count = os.preadv(descriptor, [view], offset)
                    if not count:
                        msg = f"cut off after {offset} bytes, expected {self._layout.size}"
                        raise TensorError(msg)
                    view, offset = view[count:], offset + count
            finally:
                if self.descriptor is None:
                    os.close(descriptor)

    def wrong_digest(self) -> str:
        """Return the reason to refuse the update if another digest than its own was hashed; else an empty text."""
        return "" if self.hasher is None else self._compare(self.hasher.hexdigest())

    def wrong_now(self) -> str:
        """Return the reason to refuse the update if the file now has another digest than its own; else an empty text."""
        if self.update.sha256 is None:
            return ""
        with self._naming_the_site(), disk.open_regular(self.update.path) as file:
            return self._compare(disk.measure_open(file).sha256)

    def _compare(self, digest: str) -> str:
        update, expected = self.update, self.update.sha256 or ""
        if digest == expected:
            return ""
        return f"{update.path.name} of {update.site}: SHA-256 {digest[:12]}, expected {expected[:12]}, which its record names"

    @contextmanager
    def _naming_the_site(self) -> Iterator[None]:
        site = self.update.site
        try:
            yield
        except TensorError as error:
            raise UpdateError({site: f"the update of {site}: {error}"}) from error
        except OSError as error:
            raise UpdateError({site: f"the update of {site} cannot be read: {error.strerror}"}) from error

    def _open(self) -> int:
        """Open the file if it is a regular file of the right size, and return its descriptor."""
        descriptor = os.open(self.update.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(descriptor)  # a peer may have put a pipe there, for which a reader would wait
        if not stat.S_ISREG(status.st_mode) or status.st_size != self._layout.size:
            try:
                difference = ""
                if stat.S_ISREG(status.st_mode):  # its header tells more than its size
                    with os.fdopen(descriptor, "rb", closefd=False) as file:
                        difference = self._difference(file)
            finally:
                os.close(descriptor)
            raise TensorError(difference or f"{status.st_size} bytes, expected {self._layout.size}")
        if self._keep_open:
            self.descriptor = descriptor
            disk.read_sequentially(descriptor)
        return descriptor

    def _difference(self, file: BinaryIO) -> str:
        """Return how the header of a file differs from the layout; an empty text if it does not."""
        difference = self._layout.difference(tensors.read_layout(file))
        return difference and f"not the federation's model: {difference}"
