"""fedcli's fold, φ(t) flushed to the disk. Nothing is hashed, neither updates nor φ(t): the other rows verify nothing either."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from fedcli import plan, tensors
from fedcli.aggregation.engine import output
from fedcli.aggregation.fold import fold
from fedcli.aggregation.rules import rule_of
from fedcli.aggregation.update import Update
from fedcli.party.aggregation_input import num_threads


class _NoDigest:
    def update(self, data: memoryview) -> None:
        """Leave the bytes alone."""

    def hexdigest(self) -> str:
        """Return nothing."""
        return ""


def work(
    base: str,
    updates: list[tuple[str, int]],
    target: str,
    threads: int | None = None,
    sha256: Callable[[str], str] | None = None,
) -> None:
    """Compute φ(t) from files; with `sha256`, which returns a file's digest, all is hashed as in earnest."""
    if sha256 is None:
        output.hashlib = SimpleNamespace(sha256=_NoDigest)  # this process does nothing else
    with Path(base).open("rb") as file:
        layout = tensors.read_layout(file)
    named = [
        Update(site=f"s{number:04d}", path=Path(path), weight=weight, sha256=sha256(path) if sha256 else None)
        for number, (path, weight) in enumerate(updates)
    ]
    rule, first = rule_of(plan.Aggregation()), Update(site="coordinator", path=Path(base))
    fold(rule, layout, first, named, Path(target), threads=threads or num_threads())
