"""Tables and figures that are made one by one: if one fails, it is named, and the others are kept.

Records come from peers. Their checks refuse what a table or a figure cannot show; this is for what they do not foresee.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from fedcli.errors import FedcliError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(slots=True)
class Attempts:
    """Makes the parts of a report, and remembers which failed.

    Attributes:
        failures: The name of each part that failed, and why.
    """

    failures: list[str] = field(default_factory=list)

    def make(self, name: str, make: Callable[[], T], otherwise: T) -> T:
        """Return a part, or what takes its place if it cannot be made; our own errors are for the caller."""
        try:
            return make()
        except FedcliError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a record of one party causes must not stop the report for all
            self.failures.append(f"{name}: {type(error).__name__}: {error}"[:200])
            return otherwise
