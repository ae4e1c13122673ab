"""Look at a federation again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import FedcliError, StoreError, TrustError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from fedcli.operations.status.federation_state import StatusResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The outcome of one look.

    Attributes:
        moment: When.
        result: The state of the federation, as of the last look that succeeded.
        error: Why this look failed; null if it succeeded.
        changed: Whether result or error differ from the look before.
    """

    moment: datetime
    result: StatusResult
    error: FedcliError | None
    changed: bool


def watch(
    look: Callable[[], StatusResult], *, clock: Callable[[], datetime], sleep: Callable[[float], None], seconds: float
) -> Iterator[Look]:
    """Yield every look, without end.

    A first look that fails raises its error. A later one that cannot read the drop folder, or finds that it does not verify, is
    yielded with its error, and the next look follows: a network share comes back.

    Args:
        look: Reads the state of the federation.
        clock: Returns the current time.
        sleep: Waits for a number of seconds.
        seconds: Between two looks.

    Raises:
        FedcliError: The first look failed, or a later one for a reason that does not pass.
    """
    moment = clock()
    result = look()
    last = Look(moment=moment, result=result, error=None, changed=True)
    while True:
        yield last
        sleep(seconds)
        moment = clock()
        error: FedcliError | None = None
        try:
            result = look()
        except (StoreError, TrustError) as failure:
            error = failure
        changed = result != last.result or str(error or "") != str(last.error or "")
        last = Look(moment=moment, result=result, error=error, changed=changed)
