"""The federations of the operations' tests serve here too."""

from __future__ import annotations

from tests.operations.conftest import begun, begun_once, finished, finished_once, prepared, trained, trained_once

__all__ = ["begun", "begun_once", "finished", "finished_once", "prepared", "trained", "trained_once"]
