"""What the tests of the exchange share."""

from __future__ import annotations

import pytest

from tests.exchange.histories import Chronicle, write_chronicle


@pytest.fixture(scope="session")
def chronicle() -> Chronicle:
    """A valid history; its records are values, which no test can change for another."""
    return write_chronicle()
