"""`fedcli` and `python -m fedcli`."""

from __future__ import annotations

from fedcli.cli import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
