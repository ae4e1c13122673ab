"""Many files over the workers of a Dask cluster: the same work as `pool`, in the same order, to the same bytes.

Every worker must see the archive under the same path, and run the same versions of what decides the bytes. A task that ends its
worker is tried again by the scheduler as often as it is configured to (`distributed.scheduler.allowed-failures`), and given up
with whatever was under way beside it. Each that is given up is therefore run once more by itself, and lost if that ends a worker
too.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from fedcli.errors import UsageError
from fedcli.imaging.versions import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from distributed import Client

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4
PATIENCE = 30.0


def in_order(
    task: Callable[[Item], Result], items: Sequence[Item], *, address: str, lost: Result, patience: float = PATIENCE
) -> Generator[Result]:
    """Yield `task(item)` for every item, in the order of the items.

    Args:
        task: Can be pickled; raises nothing.
        items: What to work on.
        address: The scheduler's address.
        lost: Stands for the result of a task that ends its worker again and again.
        patience: Seconds to wait for the scheduler and for its first worker.

    Raises:
        UsageError: Dask is not installed, the scheduler cannot be reached, or its workers have other versions.
    """
    try:
        from distributed import Client, KilledWorker  # noqa: PLC0415 - optional, and takes a second
    except ImportError as error:
        msg = f"--cluster {address} needs Dask, which is not installed"
        raise UsageError(msg, hint='pip install "fedcli[cluster]"') from error
    try:
        client = Client(address, timeout=patience, set_as_default=False)
    except (OSError, ValueError) as error:
        msg = f"--cluster {address}: no Dask scheduler answers there within {patience:g} seconds: {error}"
        raise UsageError(msg, hint="give the address that `dask scheduler` prints, tcp://HOST:8786") from error

    with client:
        ahead = _AHEAD * _checked(client, address, patience)
        futures: deque[Any] = deque()
        submitted = 0
        try:
            for item in items:
                for following in items[submitted : submitted + ahead - len(futures)]:
                    futures.append(client.submit(task, following, pure=False))
                    submitted += 1
                try:
                    result: Result = futures[0].result()
                except KilledWorker:
                    for other in futures:
                        other.exception()  # it is awaited: it may have been the one that ended the worker
                    try:
                        result = client.submit(task, item, pure=False).result()
                    except KilledWorker:
                        result = lost
                futures.popleft()
                yield result
        finally:
            client.cancel(list(futures))


def _checked(client: Client, address: str, patience: float) -> int:
    """Return the number of threads that work, after a look at the versions of each."""
    try:
        client.wait_for_workers(1, timeout=patience)
    except TimeoutError as error:
        msg = f"--cluster {address}: the scheduler has no worker"
        raise UsageError(msg, hint=f"dask worker --nthreads 1 {address}, on every machine that sees the archive") from error
    ours = versions()
    for worker, theirs in client.run(versions).items():
        if theirs != ours:
            differ = sorted(f"{name} {theirs.get(name)} (here {ours[name]})" for name in ours if theirs.get(name) != ours[name])
            msg = f"--cluster {address}: worker {worker} has other versions: {', '.join(differ)}"
            raise UsageError(msg, hint="install the same versions everywhere, so that the bytes are the same")
    return sum(client.nthreads().values())
