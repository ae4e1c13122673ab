"""`fedcli` and `python -m fedcli`."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line."""
    gc.disable()  # while what stays until the end is made: looking through it for garbage takes a tenth of a second
    from fedcli.cli import command_line  # noqa: PLC0415

    app = command_line(sys.argv[1:])
    gc.freeze()
    gc.enable()
    app()


if __name__ == "__main__":
    main()
