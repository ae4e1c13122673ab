"""The federations of the operations' tests serve here too."""

from __future__ import annotations

from tests.operations.conftest import begun_once, finished_once, prepared, trained_once

__all__ = ["begun_once", "finished_once", "prepared", "trained_once"]
