"""`fedcli` and `python -m fedcli`."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys

from fedcli.errors import MachineError

_OUTPUT_ERRORS = {errno.EPIPE, errno.ENOSPC, errno.EIO}


def main() -> None:
    """Run the command line."""
    gc.disable()  # while what stays until the end is made: looking through it for garbage takes a tenth of a second
    from fedcli.cli import command_line  # noqa: PLC0415

    app = command_line(sys.argv[1:])
    gc.freeze()
    gc.enable()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of another character set shows the code of what it lacks
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="fedcli")
    except SystemExit as end:
        reader_is_gone = isinstance(end.__context__, BrokenPipeError)  # typer's exit code is 1 then
        sys.exit(0 if reader_is_gone else _flushed(end.code))
    except OSError as error:
        if error.errno not in _OUTPUT_ERRORS:
            raise
        sys.exit(_unwritten(error))


def _flushed(code: str | int | None) -> str | int | None:
    """Return the exit code once all output is written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return code or _unwritten(error)
    return code


def _unwritten(error: OSError) -> int:
    """Say that the output cannot be written, unless its reader has gone; return the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is flushed to nowhere
    if error.errno == errno.EPIPE:
        return 0
    print(f"fedcli: the output cannot be written: {error.strerror}", file=sys.stderr)  # noqa: T201 - the console may be the cause
    return MachineError.exit_code


if __name__ == "__main__":
    main()
