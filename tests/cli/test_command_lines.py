"""Every command line that fedcli prints can be pasted: a federation is driven to its end by what it prints."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from fedcli import plan as plans
from fedcli.party.command_lines import store_words
from tests.fixtures.command import SMALL_PLAN, run, succeed
from tests.fixtures.places import Place, on_sftp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRAINING = "[training]\nrate = {rate}\nbatch_size = 8\n"
SITES = ("north", "valley")


@pytest.fixture(params=["here", "sftp"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return an empty place for a drop folder, for an account with no known hosts, keys or agent of its own."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    if request.param == "sftp":
        return on_sftp(request.getfixturevalue("sshd"))
    return Place(address=str(tmp_path / "drop"))


@dataclass(slots=True)
class Reader:
    """Somebody who pastes what fedcli prints into a terminal in a folder, and fills in what is in capitals.

    Attributes:
        folder: Where the commands run; the workspaces are below it.
        words: What the reader fills in.
        answers: What the reader answers when a command asks, as the option that gives the same answer without a terminal.
        pasted: The command lines so far, as they were printed.
    """

    folder: Path
    words: dict[str, str]
    answers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pasted: list[str] = field(default_factory=list)

    def paste(self, line: str, **words: str) -> list[str]:
        """Run a printed line, which must work; return the command lines that its commands print."""
        self.pasted.append(line)
        printed: list[str] = []
        for command in line.split(" && "):
            arguments = [self._filled_in(word, words) for word in shlex.split(command)]
            assert arguments.pop(0) == "fedcli"
            done = succeed(*arguments, *self.answers.get(arguments[0], ()), folder=self.folder)
            printed += quoted(done["message"])
        return printed

    def status(self, *arguments: str) -> dict[str, Any]:
        return succeed("status", *arguments, folder=self.folder)

    def own_turn(self, party: str) -> Iterator[str]:
        """Yield the commands that a party's own workspace tells it to type, which are complete."""
        for turn in self.status("-C", party)["turns"]:
            if turn["parties"] == [party]:
                assert not re.search(r"\b(WORKSPACE|FINGERPRINT|SITE)\b", turn["command"])
                yield turn["command"]

    def _filled_in(self, word: str, words: dict[str, str]) -> str:
        for capitals, value in {**self.words, **words}.items():
            word = re.sub(rf"\b{capitals}\b", value, word)
        return word


def quoted(text: str) -> list[str]:
    """Return the command lines of a message or a hint."""
    return re.findall(r"`(fedcli [^`]+)`", text)


def hint_of(*arguments: str, folder: Path) -> str:
    """Run a command that fails, and return its hint."""
    done = run(*arguments, "--json", folder=folder)
    assert done.returncode != 0
    hint: str = json.loads(done.stdout)["hint"]
    return hint


def write_plan(path: Path, rate: str) -> str:
    """Write a plan, and return its digest."""
    path.write_text(SMALL_PLAN + TRAINING.format(rate=rate))
    return plans.load(path).digest


def begin(reader: Reader, place: Place, archives: Path) -> None:
    """Begin a federation; its sites join as its status says, prepare their data, and are admitted as they say."""
    digest = write_plan(reader.folder / "plan.toml", "1e-3")
    reader.answers = {"join": ("--approve-plan", digest), "approve": ("--approve-plan", digest)}
    started = ("init", "-C", "coordinator", "--plan", "plan.toml", "--drop", place.address, *store_words(place.options))
    reader.words["FINGERPRINT"] = succeed(*started, folder=reader.folder)["coordinator"]
    (invitation,) = [turn["command"] for turn in reader.status("-C", "coordinator")["turns"]]
    for site in SITES:
        prepare, train = reader.paste(invitation, SITE=site, WORKSPACE=site)
        reader.paste(prepare, ARCHIVE=str(archives / site), LABELS=str(archives / site / "labels.csv"))
        (admit,) = reader.paste(train)
        key = (reader.folder / site / "key.pub").read_text().split()
        assert key[0] == "ssh-ed25519"
        reader.answers["admit"] = ("--fingerprint", enrolled(reader, site))
        reader.paste(admit, WORKSPACE="coordinator")


def enrolled(reader: Reader, site: str) -> str:
    """Return the fingerprint that the refusal to admit a site unasked shows, in a line that admits it."""
    (line,) = quoted(hint_of("admit", site, "-C", "coordinator", folder=reader.folder))
    return shlex.split(line)[-1]


@pytest.mark.slow
def test_a_federation_is_driven_to_its_end_by_what_it_prints(place: Place, prepared: dict[str, Path], tmp_path: Path) -> None:
    reader = Reader(folder=tmp_path, words={"TEXT": "its scanner is being moved", "LOGIN_KEY": str(place.options.ssh_key)})
    if "@" in place.address:
        reader.words["ACCOUNT"] = re.sub(r".*//(.*)@.*", r"\1", place.address)
    begin(reader, place, prepared["north"].parents[1] / "archives")

    (train,) = reader.own_turn("north")
    reader.paste(train)
    (without,) = quoted(succeed("aggregate", "-C", "coordinator", folder=tmp_path)["message"])
    reader.paste(without)  # round 1 goes on without valley

    digest = write_plan(tmp_path / "plan.toml", "2e-3")
    (approve,) = quoted(succeed("amend", "-C", "coordinator", "--plan", "plan.toml", "--yes", folder=tmp_path)["message"])
    reader.answers["approve"] = ("--approve-plan", digest)
    assert quoted(hint_of("train-round", "-C", "north", folder=tmp_path)) == ["fedcli approve -C north"]
    reader.paste(approve, WORKSPACE="north")
    for site in SITES:
        for line in reader.own_turn(site):
            reader.paste(line)
    (admit,) = quoted(succeed("rotate-key", "-C", "valley", folder=tmp_path)["message"])
    reader.answers["admit"] = ("--fingerprint", enrolled(reader, "valley"))
    reader.paste(admit, WORKSPACE="coordinator")
    (aggregate,) = reader.own_turn("coordinator")
    reader.paste(aggregate)
    (report,) = quoted(succeed("aggregate", "-C", "coordinator", folder=tmp_path)["message"])

    for site in SITES * 2:
        for line in reader.own_turn(site):
            for printed in reader.paste(line):
                reader.paste(printed)
    reader.paste(report)
    for arguments in (("-C", "north"), (place.address, *store_words(place.options))):
        last = reader.status(*arguments)
        assert last["message"].startswith("All rounds are done. Every site has evaluated: fedcli report ")
        reader.paste(last["turns"][0]["command"])
        assert succeed(*("verify", *arguments), folder=tmp_path)["consistent"]
    verbs = {shlex.split(line)[1] for line in reader.pasted}
    assert verbs == {"join", "prepare", "train-round", "admit", "aggregate", "approve", "finetune", "evaluate", "report"}
