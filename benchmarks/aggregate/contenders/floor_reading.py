"""The floor without verification: all bytes read once."""

from pathlib import Path


def work(base: str, updates: list[tuple[str, int]], _target: str) -> None:
    """Read every file."""
    buffer = bytearray(1 << 20)
    for path in [base, *(path for path, _ in updates)]:
        with Path(path).open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
