"""What an SFTP server answers, or does not, as a user should read it."""

from __future__ import annotations

import errno

from fedcli.errors import StoreError, UnreadableError
from fedcli.text.visible_text import visible


def broken(address: str, key: str, error: Exception, silence: int | None) -> StoreError:
    """Return the error of a connection that was lost, or on which the server was silent for some seconds."""
    reason = visible(str(error)) or "no reason given"
    what = f"no answer for {silence} s" if silence is not None else f"the connection was lost: {reason}"
    hint = "run the same command again: nothing is half written; a slow link needs a longer timeout in workspace.toml"
    return StoreError(f"{key or 'list'}: {what}, from the drop folder {address}", hint=hint)


def refused(address: str, key: str, error: Exception, *, reading: bool) -> StoreError:
    """Return what the server, or this machine's disk, has answered about a key.

    Args:
        address: The drop folder.
        key: The key; empty for the drop folder itself.
        error: The answer.
        reading: Whether the key was read, and everything else can be.
    """
    kind, what = UnreadableError if reading else StoreError, key or getattr(error, "filename", None) or "list"
    number = error.errno if isinstance(error, OSError) else None
    answer = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    hint = ""
    if number == errno.EACCES:
        answer, hint = "permission denied", "check what this account may read and write; fedcli access sshd shows how"
    elif number is None and not reading:
        hint = "the server does not say why: its disk or quota may be full, or the folder may not be writable"
    return kind(f"{what}: {visible(answer)}, in the drop folder {address}", hint=hint)
