"""Many files on the workers of a Dask cluster: the same work as `pool`, in the same order, to the same bytes.

Every worker must see the archive under the same path, and run the same versions of the packages that determine the bytes. If a
task ends its worker, the scheduler tries it again as often as it is configured to (`distributed.scheduler.allowed-failures`), and
then gives it up together with whatever was in progress beside it. Each such task is run once more by itself, and is lost if it
ends a worker again.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from fedcli.errors import UsageError
from fedcli.imaging.archive.cache import versions

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
        items: The arguments.
        address: The scheduler's address.
        lost: The result for a task that ends its worker again and again.
        patience: Seconds to wait for the scheduler and for its first worker.

    Raises:
        UsageError: Dask is not installed, the scheduler cannot be reached, or its workers have other versions.
    """
    with _connected(address, patience) as client:
        ahead = _AHEAD * _checked(client, address, patience)
        futures: deque[Any] = deque()
        following = iter(items)
        try:
            for item in items:
                futures.extend(client.submit(task, other, pure=False) for other in islice(following, ahead - len(futures)))
                result = _result(client, task, item, futures, lost)
                futures.popleft()
                yield result
        finally:
            client.cancel(list(futures))


def _connected(address: str, patience: float) -> Client:
    try:
        from distributed import Client  # noqa: PLC0415 - optional, and takes a second
    except ImportError as error:
        msg = f"--cluster {address} needs Dask, which is not installed"
        raise UsageError(msg, hint='pip install "fedcli[cluster]"') from error
    try:
        return Client(address, timeout=patience, set_as_default=False)
    except (OSError, ValueError) as error:
        msg = f"--cluster {address}: no Dask scheduler answers there within {patience:g} seconds: {error}"
        raise UsageError(msg, hint="use the address that `dask scheduler` prints, tcp://HOST:8786") from error


def _result(client: Client, task: Callable[[Item], Result], item: Item, futures: deque[Any], lost: Result) -> Result:
    """Return the result of the first future; a task that was given up runs once more, by itself."""
    from distributed import KilledWorker  # noqa: PLC0415 - optional, and takes a second

    try:
        result: Result = futures[0].result()
    except KilledWorker:
        for future in futures:
            future.exception()  # wait for it: it may be the one that ended the worker
        try:
            result = client.submit(task, item, pure=False).result()
        except KilledWorker:
            return lost
    return result


def _checked(client: Client, address: str, patience: float) -> int:
    """Return the number of worker threads, after a check of every worker's versions."""
    try:
        client.wait_for_workers(1, timeout=patience)
    except TimeoutError as error:
        msg = f"--cluster {address}: the scheduler has no worker"
        raise UsageError(msg, hint=f"run dask worker --nthreads 1 {address} on every machine that sees the archive") from error
    ours = versions()
    for worker, theirs in client.run(versions).items():
        if theirs != ours:
            differ = sorted(f"{name} {theirs.get(name)} (here {ours[name]})" for name in ours if theirs.get(name) != ours[name])
            msg = f"--cluster {address}: worker {worker} has other versions: {', '.join(differ)}"
            raise UsageError(msg, hint="install the same versions everywhere, so that the bytes are the same")
    return sum(client.nthreads().values())
