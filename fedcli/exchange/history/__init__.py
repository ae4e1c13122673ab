"""The verified records of a drop folder, from which the report, `status` and the choice of models are made.

`party.history.history_reader` fills a `History`; the functions here are pure.
"""

from __future__ import annotations

from fedcli.exchange.history.federation_history import History, Problem, reference_to, shared_kinds

__all__ = ["History", "Problem", "reference_to", "shared_kinds"]
