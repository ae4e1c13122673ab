"""The passphrase of an encrypted signing key: from the environment, a file, a systemd credential, or a person."""

from __future__ import annotations

import os
import stat
from functools import cache
from pathlib import Path

import typer

from fedcli.errors import ConfigurationError
from fedcli.workspace import PASSPHRASE_CREDENTIAL, PASSPHRASE_FILE_VARIABLE

PASSPHRASE_VARIABLE = "FEDCLI_KEY_PASSPHRASE"  # noqa: S105 - the variable's name


@cache
def key_passphrase() -> str:
    """Return the passphrase.

    Raises:
        ConfigurationError: Nothing names it, and there is no terminal; or its file cannot be read, or others can read it.
    """
    if (given := os.environ.get(PASSPHRASE_VARIABLE)) is not None:
        return given
    if path := os.environ.get(PASSPHRASE_FILE_VARIABLE):
        return _read(Path(path))
    if folder := os.environ.get("CREDENTIALS_DIRECTORY"):  # systemd's, for the units of `fedcli schedule systemd`
        credential = Path(folder) / PASSPHRASE_CREDENTIAL
        if credential.exists():
            return _read(credential)
    if not os.isatty(0):
        msg = "the signing key is encrypted, and there is no terminal to ask for its passphrase"
        raise ConfigurationError(msg, hint=f"set {PASSPHRASE_FILE_VARIABLE} to the path of a file that holds it")
    return str(typer.prompt("Passphrase of the signing key", hide_input=True, err=True))


def _read(path: Path) -> str:
    """Return the first line of a file that only its owner can read."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            msg = f"{path}: the passphrase of the signing key can be read by other accounts"
            raise ConfigurationError(msg, hint=f"chmod 600 {path}")
        return path.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: the passphrase of the signing key cannot be read: {error}"
        raise ConfigurationError(msg, hint=f"{PASSPHRASE_FILE_VARIABLE} names the file") from error
