"""What the tests of the exchange share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.exchange.histories import Chronicle, write_chronicle
from tests.exchange.servers import running_azurite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.exchange.store import StoreOptions


@pytest.fixture(scope="session")
def chronicle() -> Chronicle:
    """A valid history; its records are values, which no test can change for another."""
    return write_chronicle()


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreOptions]:
    """How Azure's emulator is reached."""
    with running_azurite(tmp_path_factory.mktemp("azurite")) as options:
        yield options
