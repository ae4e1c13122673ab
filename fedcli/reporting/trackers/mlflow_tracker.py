"""A federation's figures on an MLflow server, or in a database of MLflow's: one experiment, with one run per party.

A run is found again by its tags. A figure that its run already has at its round is not logged again; whatever a killed command
has left out is added by the next one.
"""

from __future__ import annotations

import io
import logging
import math
import os
import re
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from fedcli.errors import StoreError, UsageError
from fedcli.exchange.layout import COORDINATOR
from fedcli.text.visible_text import visible
from fedcli.wire import SHORT_DIGEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from typing import Any, TypeVar

    from fedcli.reporting.trackers.tracked_history import TrackedFederation, TrackedValue

    T = TypeVar("T")

_FEDERATION, _PARTY, _HEAD, _VERIFICATION = (f"fedcli.{name}" for name in ("federation", "party", "head", "verification"))
_EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # it tells its makers who uses it
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""MLflow's own settings, where the environment says nothing."""
_MOST_METRICS, _MOST_OTHERS = 1000, 100
"""As many as MLflow takes at once."""
_LONGEST = 1000
_HINT = 'pip install "fedcli[mlflow]"'


def require_packages() -> None:
    """Raise a UsageError if MLflow's client, or what it needs for a database, is not installed."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        import alembic  # noqa: F401, PLC0415 - optional
        import mlflow.tracking  # noqa: F401, PLC0415
        import sqlalchemy  # noqa: F401, PLC0415
    except ImportError as error:
        msg = f"mlflow:URI needs {error.name}, which is not installed"
        raise UsageError(msg, hint=_HINT) from error


def write(federation: TrackedFederation, uri: str, shown: str) -> int:
    """Log what is not there yet; return how many figures and digests were.

    Args:
        federation: What to log.
        uri: MLflow's tracking URI.
        shown: How messages name it.

    Raises:
        StoreError: MLflow cannot be reached, or refuses what it is told.
        UsageError: The database needs a driver that is not installed.
    """
    require_packages()
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - optional
    from mlflow.tracking import MlflowClient  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        client = MlflowClient(tracking_uri=uri)
        with redirect_stdout(io.StringIO()):  # it prints the address of each run that has ended
            experiment = _experiment(client, federation)
            return sum(_write_run(client, experiment, federation, party) for party in federation.parties)
    except ImportError as error:
        msg = f"{shown} needs {error.name}, which is not installed"
        raise UsageError(msg, hint=f"pip install {error.name}") from error
    except (MlflowException, SQLAlchemyError) as error:
        reason = visible(str(error).partition("\n")[0]).replace(uri, shown.removeprefix("mlflow:"))
        msg = f"{shown}: {reason}"
        raise StoreError(msg, hint="once MLflow answers, the same command adds what is missing") from error


def _experiment(client: Any, federation: TrackedFederation) -> str:
    """Return the identifier of the federation's experiment, or of the one that the environment names."""
    plain = re.sub(r"[^\w .-]", "_", federation.name)
    name = os.environ.get(_EXPERIMENT) or f"{plain} {federation.federation[:SHORT_DIGEST]}"
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found is not None else client.create_experiment(name))


def _write_run(client: Any, experiment: str, federation: TrackedFederation, party: str) -> int:
    """Complete a party's run; its newest round is stated last, when all else is there."""
    from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415 - optional

    run = _run(client, experiment, federation, party)
    identity, had = run.info.run_id, run.data
    new = [Metric(item.metric, item.value, time, item.round) for item, time in _missing(client, run, federation, party)]
    for part in _parts(new, _MOST_METRICS):
        client.log_batch(identity, metrics=part)
    files = {item.key: item.sha256 for item in federation.files if item.party == party}
    new_files = [RunTag(key, digest) for key, digest in files.items() if had.tags.get(key) != digest]
    stated = {_HEAD: federation.head, _VERIFICATION: _cut(federation.statement)}
    if party == COORDINATOR:
        stated |= {f"plan.{item.name}": _cut(item.now) for item in federation.settings if item.now != item.first}
        first = {item.name: _cut(item.first) for item in federation.settings if item.first}
        params = [Param(key, value) for key, value in first.items() if key not in had.params]
        for part in _parts(params, _MOST_OTHERS):
            client.log_batch(identity, params=part)
    tags = [*new_files, *(RunTag(key, value) for key, value in stated.items() if had.tags.get(key) != value)]
    for part in _parts(tags, _MOST_OTHERS):
        client.log_batch(identity, tags=part)
    if federation.ended is not None and run.info.status != "FINISHED":
        client.set_terminated(identity, "FINISHED", _milliseconds(federation.ended))
    return len(new) + len(new_files)


def _run(client: Any, experiment: str, federation: TrackedFederation, party: str) -> Any:
    """Return a party's run, a new one if there is none."""
    wanted = {_FEDERATION: federation.federation, _PARTY: party}
    condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in wanted.items())
    runs = client.search_runs([experiment], condition)
    if runs:
        return min(runs, key=lambda run: run.info.run_id)  # two commands at once may have made two
    return client.create_run(experiment, start_time=_milliseconds(federation.began), tags=wanted, run_name=party)


def _missing(client: Any, run: Any, federation: TrackedFederation, party: str) -> Iterator[tuple[TrackedValue, int]]:
    """Yield the figures that a run does not have, each with its time: later than that of another figure in its place."""
    figures = [item for item in federation.values if item.party == party]
    newest: dict[tuple[str, int], tuple[int, float]] = {}
    for metric in sorted({item.metric for item in figures} & run.data.metrics.keys()):
        for logged in client.get_metric_history(run.info.run_id, metric):
            place, entry = (metric, logged.step), (logged.timestamp, logged.value)
            newest[place] = max(newest.get(place, entry), entry)
    for item in figures:
        time, value = newest.get((item.metric, item.round), (-1, math.nan))
        if not math.isclose(value, item.value, rel_tol=1e-12):
            yield item, max(_milliseconds(item.moment), time + 1)


def _parts(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    return (items[first : first + most] for first in range(0, len(items), most))


def _cut(text: str) -> str:
    shown = visible(text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


def _milliseconds(moment: datetime) -> int:
    return max(0, int(moment.timestamp() * 1000))
