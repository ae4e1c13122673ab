"""Trackers: what they are told is what the signed records say, once, whenever the command runs and wherever it was killed."""

from __future__ import annotations

import csv
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fedcli.errors import StoreError, TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.history.global_scores import global_kappas
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.restart import RestartRequest, restart
from fedcli.operations.track import TrackRequest, track
from fedcli.party.source import Source
from fedcli.plan import About
from fedcli.reporting.trackers import csv_tracker, mlflow_tracker, tensorboard_tracker
from fedcli.reporting.trackers.tracked_history import TrackedFederation, tracked
from tests.fixtures.command import COMMAND, imported_by, run, succeed
from tests.fixtures.federation import Federation, begun_by_hand
from tests.fixtures.files import files_below
from tests.fixtures.servers import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.operations.track import TrackResult

STATEMENT = "verified"


def told(federation: Federation, *trackers: str) -> TrackResult:
    return track(TrackRequest(source=federation.source(), trackers=trackers), federation.environment)


def database(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """MLflow's tables, which take seconds to make."""
    folder = tmp_path_factory.mktemp("empty")
    mlflow_tracker.require_packages()
    MlflowClient(tracking_uri=database(folder)).search_experiments()
    return (folder / "mlflow.db").read_bytes()


@pytest.fixture
def server(tmp_path: Path, empty_database: bytes) -> str:
    """The URI of an empty database of MLflow's."""
    (tmp_path / "mlflow.db").write_bytes(empty_database)
    return database(tmp_path)


@pytest.fixture
def two_rounds(tmp_path: Path) -> Federation:
    """Three sites whose updates the test sends; two of three rounds are closed, the second without valley."""
    federation = begun_by_hand(tmp_path / "f", "harbour", "north", "valley")
    for number, absent in ((1, ""), (2, "valley")):
        for site in federation.by_hand:
            federation.clock.pass_hours(1)
            if site != absent:
                federation.send(site, number)
        federation.aggregate(**({absent: "its scanner is down"} if absent else {}))
    return federation


def in_mlflow(uri: str) -> tuple[dict[tuple[str, str, int], list[float]], dict[str, Any]]:
    """Return every figure by party, metric and round, oldest first, and the runs by party."""
    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([item.experiment_id for item in client.search_experiments()])
    figures: dict[tuple[str, str, int], list[float]] = {}
    for item in runs:
        for metric in item.data.metrics:
            for logged in sorted(client.get_metric_history(item.info.run_id, metric), key=lambda entry: entry.timestamp):
                figures.setdefault((item.data.tags["fedcli.party"], metric, logged.step), []).append(logged.value)
    assert len({item.data.tags["fedcli.party"] for item in runs}) == len(runs)
    return figures, {item.data.tags["fedcli.party"]: item for item in runs}


def in_tensorboard(folder: Path) -> dict[tuple[str, str, int], list[float]]:
    """Return every figure that TensorBoard's reader finds, by party, metric and round."""
    figures: dict[tuple[str, str, int], list[float]] = {}
    for place in folder.glob("*/*"):
        events = EventAccumulator(str(place), size_guidance={"scalars": 0}).Reload()
        for metric in events.Tags()["scalars"]:
            for event in events.Scalars(metric):
                figures.setdefault((place.name, metric, event.step), []).append(event.value)
    return figures


def in_csv(folder: Path) -> dict[tuple[str, str, int], list[float]]:
    (path,) = folder.glob("*/metrics.csv")
    figures: dict[tuple[str, str, int], list[float]] = {}
    with path.open(newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            figures.setdefault((row["party"], row["metric"], int(row["round"])), []).append(float(row["value"]))
    return figures


def of_site(federation: Federation, site: str, number: int) -> dict[str, float]:
    """Return what a site's update says, and what its round says of it, read from their files."""
    update, closed = federation.update(site, number), federation.record(number)
    (used,) = (item for item in closed.contributions if item.site == site)
    figures = {
        "received_kappa": update.received.kappa, "received_loss": update.received.loss,
        "trained_kappa": update.trained.kappa, "trained_loss": update.trained.loss, "training_loss": update.training_loss,
        "update_norm": update.norm, "steps": update.steps, "images": update.images, "patients": update.patients,
        "seconds": update.seconds, "contributed": 1.0, "weight": used.weight, "cosine": used.cosine,
    }  # fmt: skip
    return {name: float(value) for name, value in figures.items() if value is not None}


def test_all_three_trackers_hold_what_the_records_say(finished: Federation, tmp_path: Path, server: str) -> None:
    for site in ("north", "valley"):
        evaluate(EvaluateRequest(root=finished.site(site)), finished.environment)
    result = told(finished, f"csv:{tmp_path}/csv", f"tensorboard:{tmp_path}/runs", f"mlflow:{server}")
    assert (result.verified, result.round, result.problems) == (True, 2, ())
    assert [item.added for item in result.trackers] == [result.figures + result.files] * 3
    figures, runs = in_mlflow(server)
    assert {len(values) for values in figures.values()} == {1}
    for site in ("north", "valley"):
        for number in (1, 2):
            expected = of_site(finished, site, number)
            assert {name: figures[site, name, number] for name in expected} == {name: [it] for name, it in expected.items()}
    history = finished.history()
    for number, kappa in enumerate(global_kappas(history)):
        assert kappa is None or figures["coordinator", "validation_kappa", number] == [pytest.approx(kappa)]
    evaluation = history.evaluations["north"].record
    for score in evaluation.scores:
        name = "test_kappa/global" if score.model.party == "coordinator" else f"test_kappa/{score.model.kind}/{score.model.party}"
        assert figures["north", name, score.model.round] == [score.by_case.kappa.value]
    assert in_csv(tmp_path / "csv") == figures
    assert in_tensorboard(tmp_path / "runs") == {place: pytest.approx(values) for place, values in figures.items()}
    assert len(figures) == result.figures
    tags = runs["coordinator"].data.tags
    assert tags["fedcli.head"] == finished.verify(replay=False).head == result.head
    assert tags["fedcli.verification"].startswith("verified against the coordinator's key SHA256:")
    assert runs["coordinator"].data.params["training.rate"] == "0.001"
    assert runs["north"].info.status == "FINISHED"


def test_every_record_and_artifact_is_named_by_its_digest(two_rounds: Federation, tmp_path: Path, server: str) -> None:
    result = told(two_rounds, f"csv:{tmp_path}/csv", f"tensorboard:{tmp_path}/runs", f"mlflow:{server}")
    digests = {
        key: subprocess.run(["sha256sum", two_rounds.drop / key], capture_output=True, text=True, check=True).stdout[:64]
        for key in two_rounds.files()
        if not key.endswith(".sig") and "enrolment" not in key
    }
    _, runs = in_mlflow(server)
    tagged = {key: value for item in runs.values() for key, value in item.data.tags.items() if "/" in key}
    assert tagged == digests
    assert len(digests) == result.files
    (table,) = (tmp_path / "csv").glob("*/files.csv")
    with table.open(newline="", encoding="utf-8") as lines:
        assert {row["file"]: row["sha256"] for row in csv.DictReader(lines)} == digests
    shown = b""
    for place in (tmp_path / "runs").glob("*/*"):
        events = EventAccumulator(str(place)).Reload()
        shown += b"".join(event.tensor_proto.string_val[0] + b"\n" for event in events.Tensors("files"))
    assert {line.split()[1]: line.split()[0] for line in shown.decode().splitlines()} == digests


def test_again_changes_nothing_and_a_further_round_only_adds(two_rounds: Federation, tmp_path: Path, server: str) -> None:
    trackers = (f"csv:{tmp_path}/csv", f"tensorboard:{tmp_path}/runs", f"mlflow:{server}")
    told(two_rounds, *trackers)
    before, entries = files_below(tmp_path / "runs"), in_mlflow(server)[0]
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("[cr]*/*/**/*.*")}
    assert [item.added for item in told(two_rounds, *trackers).trackers] == [0, 0, 0]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert in_mlflow(server)[0] == entries
    two_rounds.clock.pass_hours(1)
    for site in two_rounds.by_hand:
        two_rounds.send(site, 3)
    two_rounds.clock.pass_hours(1)
    two_rounds.aggregate()
    added = [item.added for item in told(two_rounds, *trackers).trackers]
    # 3 updates × (10 figures, 2 digests) and × (contributed, weight, cosine); the round: 4 counts, 2 means, 2 digests
    assert added == [3 * 12 + 3 * 3 + 8] * 3
    after = files_below(tmp_path / "runs")
    assert before.keys() == after.keys()
    assert all(after[name].startswith(content) and len(after[name]) > len(content) for name, content in before.items())
    figures = in_mlflow(server)[0]
    assert {place: figures[place] for place in entries} == entries
    assert in_csv(tmp_path / "csv") == figures


def test_a_mean_is_told_once_every_site_had_its_say(begun: Federation, tmp_path: Path) -> None:
    begun.train("north")
    told(begun, f"csv:{tmp_path}/csv")
    assert not [place for place in in_csv(tmp_path / "csv") if place[1] == "validation_loss"]
    begun.train("valley")
    begun.aggregate()
    told(begun, f"csv:{tmp_path}/csv")
    assert {place for place in in_csv(tmp_path / "csv") if place[1] == "validation_loss"} == {
        ("coordinator", "validation_loss", 0)
    }


def test_who_was_absent_and_a_restart_are_told(two_rounds: Federation, tmp_path: Path) -> None:
    restart(RestartRequest(root=two_rounds.coordinator, number=1, reason="a bad round"), two_rounds.environment)
    told(two_rounds, f"csv:{tmp_path}/csv")
    figures = in_csv(tmp_path / "csv")
    assert [figures["valley", "contributed", number] for number in (1, 2)] == [[1], [0]]
    assert ("valley", "contributed", 3) not in figures
    assert (figures["coordinator", "absent", 2], figures["coordinator", "contributed", 2]) == ([1], [2])
    assert figures["coordinator", "restarted_from", 3] == [1]


# -------------------------------------------------------------------------------------------------------- after a kill


def content(federation: Federation) -> TrackedFederation:
    return tracked(federation.history(), STATEMENT)


def test_an_event_file_that_was_cut_anywhere_is_completed(two_rounds: Federation, tmp_path: Path) -> None:
    tensorboard_tracker.write(content(two_rounds), tmp_path / "runs")
    (path,) = (tmp_path / "runs").glob("*/north/*")
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        assert tensorboard_tracker.write(content(two_rounds), tmp_path / "runs") > 0
        assert path.read_bytes() == whole
    path.write_bytes(b"something else")
    tensorboard_tracker.write(content(two_rounds), tmp_path / "runs")
    assert path.read_bytes() == whole
    path.unlink()
    tensorboard_tracker.write(content(two_rounds), tmp_path / "runs")
    assert path.read_bytes() == whole


def rows(path: Path) -> int:
    """Return how many figures are in MLflow's database."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return int(connection.execute("select count(*) from metrics").fetchone()[0])


def test_a_command_that_is_killed_in_the_middle_is_completed(two_rounds: Federation, tmp_path: Path, server: str) -> None:
    command = ("track", two_rounds.drop, "--to", f"mlflow:{server}", "--coordinator-key", two_rounds.fingerprint)
    working = subprocess.Popen([*COMMAND, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while working.poll() is None and not rows(tmp_path / "mlflow.db"):
        time.sleep(0.001)
    os.kill(working.pid, signal.SIGKILL)
    assert working.wait() == -signal.SIGKILL
    result = told(two_rounds, f"mlflow:{server}")
    figures, runs = in_mlflow(server)
    assert {place: len(values) for place, values in figures.items()} == dict.fromkeys(figures, 1)
    assert len(figures) == result.figures
    assert len(runs) == 4
    assert sum("/" in key for item in runs.values() for key in item.data.tags) == result.files
    assert told(two_rounds, f"mlflow:{server}").trackers[0].added == 0


def test_a_figure_that_changes_later_is_told_once_more(two_rounds: Federation, tmp_path: Path, server: str) -> None:
    """As the mean of a round does whose missing site sends its update after all."""
    before = content(two_rounds)
    (mean,) = (item for item in before.values if (item.metric, item.round) == ("validation_kappa", 1))
    after = replace(before, values=tuple(replace(item, value=0.125) if item == mean else item for item in before.values))
    for _ in range(2):
        mlflow_tracker.write(before, server, "mlflow")
        tensorboard_tracker.write(before, tmp_path / "runs")
    for added in (1, 0):
        assert mlflow_tracker.write(after, server, "mlflow") == added
    tensorboard_tracker.write(after, tmp_path / "runs")
    assert in_mlflow(server)[0]["coordinator", "validation_kappa", 1] == [pytest.approx(mean.value), 0.125]
    assert in_tensorboard(tmp_path / "runs")["coordinator", "validation_kappa", 1] == [0.125]


# --------------------------------------------------------------------------------------------- what others have written


def test_text_of_others_is_neither_path_nor_formula_nor_link(tmp_path: Path, server: str) -> None:
    name = '=HYPERLINK("http://x")/../../../etc'
    about = About(contact="![](http://x/beacon.png) <img src=x> `x`")
    federation = begun_by_hand(tmp_path / "f", "north", name=name, about=about)
    told(federation, f"csv:{tmp_path}/csv", f"tensorboard:{tmp_path}/runs", f"mlflow:{server}")
    identity = federation.verify(replay=False).federation
    assert {path.parts[len(tmp_path.parts) + 1] for path in tmp_path.glob("[cr]*/**/*.*")} == {identity[:12]}
    with (tmp_path / "csv" / identity[:12] / "settings.csv").open(newline="", encoding="utf-8") as table:
        settings = {row["setting"]: row["first"] for row in csv.DictReader(table)}
    assert settings["name"].startswith("'=HYPERLINK")
    events = EventAccumulator(str(tmp_path / "runs" / identity[:12] / "coordinator")).Reload()
    (event,) = events.Tensors("settings")
    lines = event.tensor_proto.string_val[0].decode().split("\n")
    assert f"    about.contact = {about.contact}" in lines
    assert all(line.startswith("    ") for line in lines)  # Markdown's block of code
    _, runs = in_mlflow(server)
    experiment = MlflowClient(tracking_uri=server).get_experiment(runs["coordinator"].info.experiment_id)
    assert experiment.name == f"_HYPERLINK__http___x___.._.._.._etc {identity[:12]}"
    assert runs["coordinator"].data.params["name"] == name


def test_what_does_not_verify_is_left_out_and_named(two_rounds: Federation, tmp_path: Path) -> None:
    path = two_rounds.drop / layout.update("valley", 1)
    path.write_bytes(path.read_bytes().replace(b"0.4", b"0.9"))
    done = run("track", two_rounds.drop, "--to", f"csv:{tmp_path}/csv", "--coordinator-key", two_rounds.fingerprint)
    assert done.returncode == 0
    assert done.stdout.startswith("NOT verified: ")
    assert f"left out: {layout.update('valley', 1)}" in done.stdout
    figures = in_csv(tmp_path / "csv")
    assert ("valley", "received_kappa", 1) not in figures
    assert figures["north", "received_kappa", 1] == [0.4]
    unconfirmed = track(
        TrackRequest(source=Source(address=str(two_rounds.drop)), trackers=(f"csv:{tmp_path}/csv",)), two_rounds.environment
    )
    assert not unconfirmed.verified


def test_a_folder_without_a_federation_is_told_to_nobody(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    source = Source(address=str(tmp_path / "drop"))
    with pytest.raises(TrustError, match="contains no federation"):
        track(TrackRequest(source=source, trackers=(f"csv:{tmp_path}/csv",)), Federation(root=tmp_path).environment)
    assert not (tmp_path / "csv").exists()


# ---------------------------------------------------------------------------------------------------- the command line


@pytest.mark.parametrize("text", ["csv", "csv:", "wandb:x", "http://u:secret@host", ""])
def test_a_tracker_that_is_none_is_refused(text: str, two_rounds: Federation) -> None:
    with pytest.raises(UsageError, match="expected csv:DIR, tensorboard:DIR or mlflow:URI") as caught:
        told(two_rounds, text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("kind", "package"), [("mlflow", "mlflow"), ("mlflow", "alembic"), ("tensorboard", "tensorboard")])
def test_a_missing_package_is_named_before_anything_is_read(
    kind: str, package: str, two_rounds: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=f"needs {package}") as caught:
        told(two_rounds, f"csv:{tmp_path}/csv", f"{kind}:{tmp_path}/x")
    assert caught.value.hint == f'pip install "fedcli[{kind}]"'
    assert not (tmp_path / "csv").exists()


def test_a_server_that_does_not_answer_is_named_without_its_password(two_rounds: Federation) -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(StoreError) as caught:
        told(two_rounds, f"mlflow:http://somebody:secret@{address}")
    assert str(caught.value).startswith(f"mlflow:http://somebody:…@{address}: ")
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_named(two_rounds: Federation, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"nothing of the kind\n" * 100)
    with pytest.raises(StoreError, match="file is not a database"):
        told(two_rounds, f"mlflow:{database(tmp_path)}")


def test_json_keys_are_stable_and_nothing_else_is_printed(finished: Federation, tmp_path: Path, server: str) -> None:
    found = succeed("track", finished.drop, "--to", f"mlflow:{server}", "--to", f"csv:{tmp_path}/csv")
    assert list(found) == [
        "command", "status", "message", "federation", "head", "round", "figures", "files", "trackers", "verified", "statement",
        "problems",
    ]  # fmt: skip
    assert found["trackers"][0] == {"tracker": f"mlflow:{server}", "added": found["figures"] + found["files"]}
    assert found["statement"].startswith("consistent; ")


def test_torch_is_not_needed(two_rounds: Federation, tmp_path: Path) -> None:
    trackers = ("--to", f"tensorboard:{tmp_path}/runs", "--to", f"csv:{tmp_path}/csv")
    assert not imported_by("track", two_rounds.drop, *trackers) & {"torch", "tensorflow", "sklearn", "mlflow"}


def test_csv_lines_are_in_the_order_of_time(two_rounds: Federation, tmp_path: Path) -> None:
    csv_tracker.write(content(two_rounds), tmp_path)
    (path,) = tmp_path.glob("*/metrics.csv")
    with path.open(newline="", encoding="utf-8") as table:
        times = [row["time"] for row in csv.DictReader(table)]
    assert times == sorted(times)
    assert times[0].endswith("+00:00")
