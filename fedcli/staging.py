"""A folder that either is complete or does not exist.

Files are written into a sibling folder whose name begins with a dot and flushed to disk; then the sibling is renamed. An existing
folder is replaced by two renames; if the machine fails between them, the next run restores the old one.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fedcli import disk
from fedcli.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path


@contextmanager
def replacing(out: Path, *, known: Collection[str], what: str) -> Iterator[Path]:
    """Yield an empty folder that replaces `out` if the block ends without an error.

    Args:
        out: The final folder.
        known: Names of files that the folder to be replaced may contain.
        what: What such a folder is, in words.

    Raises:
        DataError: `out` contains other files, or writing fails.
    """
    partial, replaced = (out.with_name(f".{out.name}.{state}") for state in ("partial", "replaced"))
    try:
        if replaced.exists() and not out.exists():
            replaced.rename(out)
        _refuse_foreign(out, known, what)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        for path in (*partial.rglob("*"), partial):
            disk.sync(path)
        shutil.rmtree(replaced, ignore_errors=True)
        if out.exists():
            out.rename(replaced)
        partial.rename(out)
        disk.sync(out.parent)
    except OSError as error:
        msg = f"{out}: cannot be written: {error.strerror or error}"
        raise DataError(msg) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(replaced, ignore_errors=True)


def _refuse_foreign(out: Path, known: Collection[str], what: str) -> None:
    if not out.exists():
        return
    foreign = sorted(path.name for path in out.iterdir() if path.name not in known)
    if foreign:
        msg = f"{out}: the folder contains files that do not belong to {what}: {', '.join(foreign[:5])}"
        raise DataError(msg, hint=f"choose a folder that is new, empty or {what}")
