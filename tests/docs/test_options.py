"""Each command line on a page, in `--help` and in a message, has a command, options and arguments that fedcli has."""

from __future__ import annotations

import re
import shlex
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from typer.main import get_command

from fedcli.cli import COMMANDS, command_line
from tests.docs.walkthrough import PAGES, ROOT

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [name for names in COMMANDS.values() for name in names]
SOURCES = sorted(
    [*(ROOT / "fedcli").rglob("*.py"), *(ROOT / "fedcli").rglob("*.toml"), *ROOT.glob("*.def"), ROOT / "Containerfile"]
)
_BLOCK = re.compile(r"^```(?:sh|console|text)\n(.*?)^```$|((?:^    [^\n]*\n)+)", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`((?:python -m )?fedcli [^`]+)`")
_TYPED = re.compile(r"(?:^|(?<=[\s`]))fedcli (?=[a-z-])[^`\n]*", re.MULTILINE)
_END = {"|", "||", "&&", ";", ">", ">>", "<", "&"}


@cache
def command(name: str) -> Any:
    """Return a command as the command line's library knows it."""
    return get_command(command_line([name])).commands[name]


def lines_of(text: str) -> list[str]:
    """Return what a text says to type, from `fedcli` on; a line may have several commands."""
    parts = [first or second for first, second in _BLOCK.findall(text)]
    typed = "\n".join([*parts, *_INLINE.findall(re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))])
    return [part for line in _TYPED.findall(typed.replace("\\\n", " ")) for part in re.split(r"(?<=&&) (?=fedcli )", line)]


def printed_by(source: str) -> list[str]:
    """Return the command lines in a module's messages and in its example; a value that is filled in is one word."""
    typed = [*_INLINE.findall(source), *re.findall(r'^EXAMPLE = "Example: (.*)"$', source, re.MULTILINE)]
    return [re.sub(r"\{[^}]*\}", "X", line) for line in typed]


def problem(line: str) -> str | None:
    """Return what fedcli would refuse about a line whatever its files are; None where the line is only text."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words = list(lexer)[1:]
    words = words[: next((index for index, word in enumerate(words) if word in _END), len(words))]
    if not words or words[0] not in NAMES:
        return f"no command {words[0]}" if len(words) > 1 and words[1].startswith("-") else None
    target, rest = command(words[0]), words[1:]
    if hasattr(target, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in target.commands:
            return f"no command {words[0]} {rest[0]}"
        target, rest = target.commands[rest[0]], rest[1:]
    options = {name: option for option in target.params for name in (*option.opts, *option.secondary_opts) if name[0] == "-"}
    unknown = [word for word in rest if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in {*options, "-h", "--help"}]
    return f"no option {', '.join(unknown)}" if unknown else None


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_what_a_page_says_to_type_exists(page: Path) -> None:
    lines = lines_of(page.read_text(encoding="utf-8"))
    assert [(line, wrong) for line in lines if (wrong := problem(line))] == []


def test_what_messages_and_examples_say_to_type_exists() -> None:
    lines = [line for path in SOURCES for line in printed_by(path.read_text(encoding="utf-8"))]
    assert len(lines) > len(NAMES)
    assert [(line, wrong) for line in lines if (wrong := problem(line))] == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("fedcli verify DROP --repay", "no option --repay"),
        ("fedcli verifi --replay", "no command verifi"),
        ("fedcli access ftp north --root /srv", "no command access ftp"),
        ("fedcli status -C north --watch | head -1", None),
    ],
)
def test_what_does_not_exist_is_told(line: str, wrong: str | None) -> None:
    assert problem(line) == wrong


def test_lines_of_all_forms_are_read() -> None:
    text = (
        "Use `fedcli status`.\n\n    fedcli report \\\n      DROP\n\nIt is fedcli that does it.\n\n"
        "```sh\nfedcli join north && fedcli doctor\n```\n"
    )
    assert [" ".join(line.split()) for line in lines_of(text)] == [
        "fedcli report DROP", "fedcli join north &&", "fedcli doctor", "fedcli status",
    ]  # fmt: skip
