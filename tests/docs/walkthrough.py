"""A page of the documentation, run word by word: its ```sh lines in a folder, and what they print against the ```text below.

Keys, digests, times and figures differ from run to run, so pasted output is compared by its shape (`shape`). A line of `…` on the
page stands for any number of lines.
"""

from __future__ import annotations

import difflib
import os
import pty
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*/*.md")])
_ASKING = ("fedcli join ", "fedcli admit ")
_SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_RULE = re.compile(r"^[┏┡└┠├][━─┳╇┴┼╋┻]+[┓┩┘┨┤]$\n?", re.MULTILINE)
_TERMINAL_CODE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_SHAPES = (
    (_RULE, ""),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r"\[y/N\]:( y$)?\s*", re.MULTILINE), "[y/N]\n"),  # the answer is echoed by the terminal, not by the command
    (_FINGERPRINT, "SHA256:KEY"),
    (re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{12})\b"), "DIGEST"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d"), "MOMENT"),
    (re.compile(r"<?\d+ (?:min|s|h)\b"), "DURATION"),
    (re.compile(r"[ ▁▂▃▄▅▆▇█]*[▁▂▃▄▅▆▇█][ ▁▂▃▄▅▆▇█]*"), " BARS "),
    (re.compile(r"(?:(?<![\w-])[-−+])?(?<![A-Za-z0-9])\d+(?:[,. ]\d+)*"), "N"),
    (re.compile(r"(?<= )—(?= )"), "N"),  # a figure that is undefined
    (re.compile(r"kappa is (?:N (?:higher|lower) than|the same as)"), "kappa is COMPARED WITH"),
    (re.compile(r"p (?:=|≤) N"), "p = N"),
    (re.compile(r"the difference (?:may be due to chance|is significant)"), "the difference IS JUDGED"),
    (re.compile(r"(?<=model: )(?:epoch N|the starting model)"), "WHICH"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Lines to type, and what the page says that they print: None where it says nothing."""

    lines: tuple[str, ...]
    printed: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the page that was run: its exit code, and all that it printed."""

    line: str
    code: int
    printed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """A page that is run.

    Attributes:
        folder: Where its lines run. The path must be short, because a long title of a table wraps.
        fingerprints: For each fingerprint on the page, the one that this run printed instead.
    """

    folder: Path
    fingerprints: dict[str, str] = field(default_factory=dict)

    def run(self, line: str) -> Step:
        """Run one line in a shell, as at a terminal, but without progress bars; a question is answered with yes."""
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",  # several threads on a busy machine wait for one another at every layer
            "FORCE_COLOR": "1",
            "TERM": "dumb",
            "COLUMNS": "160",
            "LINES": "50",  # without it rich takes a dumb terminal to be 80 columns wide
        }
        stdin, terminal = subprocess.DEVNULL, None
        if line.startswith(_ASKING):
            terminal, stdin = pty.openpty()
            os.write(terminal, b"y\n")
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.folder,
            env=environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if terminal is not None:
            os.close(stdin)
            os.close(terminal)
        return Step(line=line, code=done.returncode, printed=_TERMINAL_CODE.sub("", done.stdout))

    def check(self, block: Block, steps: list[Step]) -> None:
        """Compare what a block printed with what the page says; one fingerprint on the page is one in this run."""
        if block.printed is None:
            return
        printed = "".join(step.printed for step in steps).replace(str(self.folder), "…")
        expected, actual = shape(block.printed), shape(printed)
        difference = "\n".join(difflib.unified_diff(expected, actual, "the page", "this run", lineterm="", n=1))
        assert _fits(expected, actual), f"{block.lines}\n{difference}\n\n{printed}"
        for shown, met in zip(_FINGERPRINT.findall(block.printed), _FINGERPRINT.findall(printed), strict=True):
            assert self.fingerprints.setdefault(shown, met) == met, f"{shown} is the fingerprint of two keys"


def shell_blocks(page: Path) -> list[Block]:
    """Return the ```sh blocks of a page, continued lines joined, each with the ```text block that follows at once."""
    return [
        Block(lines=tuple(line for line in typed.replace("\\\n", " ").splitlines() if line.strip()), printed=printed or None)
        for typed, printed in _SHELL_BLOCK.findall(page.read_text(encoding="utf-8"))
    ]


def shape(printed: str) -> list[str]:
    """Return the lines of some output without what differs from run to run: figures, keys, times, and how wide a table is."""
    printed = re.sub(r"\s+…/", " …/", printed)  # a title that wraps at a path
    for pattern, replacement in _SHAPES:
        printed = pattern.sub(replacement, printed)
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return [line for line, before in zip(lines, ["", *lines], strict=False) if line != before]  # a table may have more such rows


def _fits(expected: list[str], actual: list[str]) -> bool:
    """Tell whether the lines are those expected, where a line of `…` stands for any number."""
    lines = [r"(?:.*\n)*?" if not line.strip("│… ") else re.escape(line) + r"\n" for line in expected]
    return re.fullmatch("".join(lines), "".join(f"{line}\n" for line in actual)) is not None
