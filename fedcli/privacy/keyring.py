"""A party's private encryption keys: the present one, and those before it, which open what was sealed to them."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

from fedcli.errors import ConfigurationError
from fedcli.privacy import encryption_keys
from fedcli.privacy.encryption_keys import DecryptionKey, EncryptionKey, load_public, public_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


_KEPT_SECONDS = 2 * 24 * 3600


class Keyring:
    """Private keys in files, read when something is to be opened; their public halves lie beside them.

    Args:
        files: The private keys, the oldest first.
        passphrase: Called where a key is encrypted.
        scratch: A private folder for what was opened; nothing that was sealed is written outside it.
    """

    def __init__(self, files: tuple[Path, ...], passphrase: Callable[[], str], scratch: Path) -> None:
        self._files = files
        self._passphrase = cache(passphrase)
        self._loaded: dict[Path, DecryptionKey] = {}
        self._loading = Lock()  # several threads may open files, and only one of them is to ask for the passphrase
        self.scratch = scratch

    @classmethod
    def of_folder(cls, folder: Path, passphrase: Callable[[], str], scratch: Path) -> Keyring:
        """Return the keyring of a workspace, which is empty where the workspace was made by an older fedcli."""
        return cls(tuple(sorted(folder.glob("[0-9]*.key"))), passphrase, scratch)

    @classmethod
    def of_file(cls, path: Path, passphrase: Callable[[], str]) -> Keyring:
        """Return the keyring of one key, an auditor's; what it opens is written for a while into a folder beside it.

        Raises:
            ConfigurationError: It is not the file of a private key with its public half beside it.
        """
        load_public(public_path(path))
        return cls((path,), passphrase, path.resolve().with_name(f"{path.name}.scratch"))

    @property
    def public(self) -> tuple[EncryptionKey, ...]:
        """The public halves, the oldest first."""
        return tuple(load_public(public_path(path)) for path in self._files)

    @property
    def present(self) -> EncryptionKey | None:
        """The newest public half; None in an empty keyring."""
        return load_public(public_path(self._files[-1])) if self._files else None

    def digests(self) -> dict[str, Path]:
        """Return each private key's file by the digest of its public half."""
        return dict(zip((key.digest for key in self.public), self._files, strict=True))

    def private(self, path: Path) -> DecryptionKey:
        """Return the private key of a file.

        Raises:
            ConfigurationError: It cannot be read, the passphrase is wrong, or another public half lies beside it.
        """
        with self._loading:
            return self._load(path)

    def _load(self, path: Path) -> DecryptionKey:
        if path not in self._loaded:
            key = encryption_keys.load(path, self._passphrase)
            if key.public != load_public(public_path(path)):
                msg = f"{path}: {public_path(path).name} beside it is the public half of another key"
                raise ConfigurationError(msg)
            self._loaded[path] = key
        return self._loaded[path]


def scratch_of(keyring: Keyring | None) -> Path | None:
    """Return where temporary copies go, which is made if it is missing; None, the system's place, where nothing can be opened.

    What a command that was killed has left there is removed after two days; a younger folder may be in use.
    """
    if keyring is None:
        return None
    keyring.scratch.mkdir(mode=0o700, exist_ok=True)
    for folder in keyring.scratch.iterdir():
        with suppress(FileNotFoundError):  # another thread of a replay has just removed its own
            if time.time() - folder.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
    return keyring.scratch


def new_key(folder: Path, comment: str, passphrase: str | None) -> EncryptionKey:
    """Create the next key of a workspace's keyring, and return its public half."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    number = max((int(path.name[:4]) for path in folder.glob("[0-9]*.key*")), default=0) + 1
    key = DecryptionKey.generate()
    key.save(folder / f"{number:04d}.key", comment, passphrase)
    return key.public
