"""The egress review at a real terminal, and what cron is told."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import threading
from typing import TYPE_CHECKING

from fedcli.exchange import layout
from tests.fixtures.command import COMMAND, run, succeed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.federation import Federation

UPDATE = layout.update("north", 1)


def answered(answer: str, *arguments: str | Path) -> tuple[int, str, str]:
    """Run a command at a terminal on which a person answers; return its exit code, its stdout and what the terminal shows."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []

    def watch() -> None:
        while True:
            try:
                shown.append(os.read(ours, 1 << 16))
            except OSError:  # the process has closed its side
                return

    os.write(ours, f"{answer}\n".encode())
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160"}
    command = [*COMMAND, *map(str, arguments)]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True) as process:
        os.close(theirs)
        watcher = threading.Thread(target=watch)
        watcher.start()
        assert process.stdout is not None
        out = process.stdout.read()
    watcher.join()
    os.close(ours)
    return process.returncode, out, b"".join(shown).decode()


def test_a_person_says_no_and_later_yes(begun: Federation) -> None:
    command = ("train-round", "-C", begun.site("north"), "--review", "--json")
    code, out, shown = answered("n", *command)
    assert (code, json.loads(out)["error"]) == (7, "ApprovalError")
    for text in ("About to be published by north: its update of round 1", "Weight differences by layer group", "kappa", UPDATE,
                 "sites/north/dataset/0001.json", "Publish this?", "the update of round 1 is held"):  # fmt: skip
        assert text in shown, (text, shown)
    assert not (begun.drop / UPDATE).exists()
    review = f"fedcli train-round -C {begun.site('north')} --review"
    first, idle = (run("train-round", "-C", begun.site("north")) for _ in range(2))
    assert (first.returncode, first.stdout) == (0, "")
    assert first.stderr.endswith(f": {review}\n")
    assert (idle.returncode, idle.stdout, idle.stderr) == (0, "", "")
    code, out, shown = answered("y", *command)
    found = json.loads(out)
    assert (code, found["status"], found["steps"]) == (0, "published", None)
    assert "About to be published by north" in shown
    assert (begun.drop / UPDATE).exists()
    log = [json.loads(line) for line in (begun.site("north") / "sent.log").read_text().splitlines()]
    assert {line["key"]: line["command"] for line in log}[UPDATE] == "train-round"


def test_cron_hears_once_what_to_type(begun: Federation) -> None:
    settings = begun.site("north") / "workspace.toml"
    settings.write_text(settings.read_text().replace('review = "auto"', 'review = "ask"'))
    first = run("train-round", "-C", begun.site("north"))
    assert (first.returncode, first.stdout) == (0, "")
    assert "\nnorth: the update of round 1 is trained, and held for review\n" in f"\n{first.stderr}"
    second = run("train-round", "-C", begun.site("north"))
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    found = succeed("train-round", "-C", begun.site("north"))
    assert found["status"] == "waiting"
    assert found["message"].endswith(f"`fedcli train-round -C {begun.site('north')} --review` shows it and asks")
    assert not (begun.drop / UPDATE).exists()
