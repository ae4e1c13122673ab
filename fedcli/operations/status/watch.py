"""Look at a federation again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import FedcliError, StoreError, TrustError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from fedcli.operations.status.standing import StatusResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look has found.

    Attributes:
        moment: When.
        result: The standing, as of the last look that succeeded.
        error: Why this look failed; null where it did not.
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

    A first look that fails is an error. After that a drop folder that cannot be read, or does not verify, is shown, and looking
    goes on: a share comes back.

    Args:
        look: Reads the standing.
        clock: The present moment.
        sleep: Waits that many seconds.
        seconds: Between two looks.

    Raises:
        FedcliError: The first look failed, or a later one for a reason that does not pass.
    """
    moment = clock()
    result = look()
    found = Look(moment=moment, result=result, error=None, changed=True)
    while True:
        yield found
        sleep(seconds)
        moment = clock()
        error: FedcliError | None = None
        try:
            result = look()
        except (StoreError, TrustError) as failure:
            error = failure
        changed = result != found.result or str(error or "") != str(found.error or "")
        found = Look(moment=moment, result=result, error=error, changed=changed)
