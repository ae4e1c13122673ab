"""`fedcli docs` shows the pages that hints name, also where only the wheel is installed."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fedcli
from fedcli.cli import COMMANDS, command_line
from fedcli.errors import UsageError
from fedcli.operations.docs import docs
from tests.fixtures.command import run, succeed

PACKAGE = Path(fedcli.__file__).parent
ROOT = PACKAGE.parent


def test_it_shows_a_page_and_names_the_others() -> None:
    result = succeed("docs", "stores")
    assert result["text"] == (ROOT / "docs/stores.md").read_text(encoding="utf-8")
    assert "security" in result["pages"]
    assert run("docs", "stores").stdout.startswith(result["text"])


@pytest.mark.parametrize("name", ["", "README", "docs/README.md"])
def test_without_a_page_it_shows_the_index(name: str) -> None:
    assert docs(name).text.startswith("# Documentation")


def test_a_misspelt_page_is_guessed() -> None:
    with pytest.raises(UsageError, match="secruity: there is no such page") as caught:
        docs("secruity")
    assert caught.value.hint == "did you mean security?"


def test_every_page_that_a_message_names_exists() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    named = set(re.findall(r"`fedcli docs ([a-z-]+)`", text))
    assert named
    assert named <= set(docs("").pages)
    assert not re.findall(r"hint=[^\n]*docs/[a-z-]+\.md", text)


@pytest.mark.slow
def test_the_wheel_holds_the_pages(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("fedcli-*.whl")
    pages = {f"fedcli/docs/{name}.md" for name in docs("").pages}
    assert pages <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize("name", [name for names in COMMANDS.values() for name in names])
def test_every_command_has_short_help(name: str) -> None:
    shown = CliRunner().invoke(command_line([name]), [name, "-h"])
    assert (shown.exit_code, f"fedcli {name}" in shown.output) == (0, True)


@pytest.mark.parametrize(
    ("typed", "completed"), [("verif", "verify"), ("schedule sys", "systemd"), ("verify --repl", "--replay")]
)
def test_bash_completes_commands_and_options(typed: str, completed: str, tmp_path: Path) -> None:
    (tmp_path / "fedcli").symlink_to(Path(sys.executable).with_name("fedcli"))
    words = ["fedcli", *typed.split()]
    lines = [
        'eval "$(_FEDCLI_COMPLETE=source_bash fedcli)"',  # --show-completion takes the shell that it runs in
        f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}",
        '_fedcli_completion fedcli; echo "${COMPREPLY[@]}"',
    ]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", "\n".join(lines)], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [completed]


@pytest.mark.parametrize(("shell", "first"), [("zsh", "#compdef fedcli"), ("fish", "complete --command fedcli")])
def test_zsh_and_fish_have_scripts_of_their_own(shell: str, first: str) -> None:
    program = Path(sys.executable).with_name("fedcli")
    environment = {"_FEDCLI_COMPLETE": f"source_{shell}"}
    assert subprocess.run([program], env=environment, capture_output=True, text=True, check=True).stdout.strip().startswith(first)
