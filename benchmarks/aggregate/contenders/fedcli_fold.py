"""fedcli's fold, the inputs' digests not checked; it hashes φ(t) while it writes it, and flushes it to the disk."""

from collections.abc import Callable
from pathlib import Path

from fedcli import plan, tensors
from fedcli.aggregation.crew import Crew
from fedcli.aggregation.fold import fold
from fedcli.aggregation.rules import rule_of
from fedcli.aggregation.update import Update
from fedcli.operations.folding import num_threads


def work(
    base: str,
    updates: list[tuple[str, int]],
    target: str,
    threads: int | None = None,
    sha256: Callable[[str], str | None] = lambda _: None,
) -> None:
    """Compute φ(t) from files."""
    with Path(base).open("rb") as file:
        layout = tensors.read_layout(file)
    named = [
        Update(site=f"s{number:04d}", path=Path(path), weight=weight, sha256=sha256(path))
        for number, (path, weight) in enumerate(updates)
    ]
    with Crew(threads or num_threads()) as crew:
        fold(rule_of(plan.Aggregation()), layout, Update(site="coordinator", path=Path(base)), named, Path(target), crew=crew)
