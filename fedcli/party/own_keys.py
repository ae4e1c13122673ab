"""A party's own keys: one to sign with, and those to open what is sealed for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedcli.exchange.keys import own_key, public_keys
from fedcli.privacy import keyring
from fedcli.privacy.keyring import Keyring

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedcli.exchange.records import PublicKey
    from fedcli.exchange.signatures import VerifyKey
    from fedcli.workspace import Workspace

ENCRYPTION = "encryption"
"""The folder of a workspace's encryption keys."""


@dataclass(slots=True)
class AskedPassphrase:
    """A passphrase that is asked for once, and remembered while the keys of a new workspace are made.

    Attributes:
        answer: What was given; None while nobody has asked.
    """

    ask: Callable[[], str]
    answer: str | None = field(default=None)

    def __call__(self) -> str:
        """Return the passphrase."""
        if self.answer is None:
            self.answer = self.ask()
        return self.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnKeys:
    """The keys of a new workspace.

    Attributes:
        name: The signing key as workspace.toml names it.
        signing: Its public half.
        listed: The public keys as records list them.
    """

    name: str
    signing: VerifyKey
    listed: tuple[PublicKey, ...]


def own_keys(root: Path, key: Path | None, comment: str, passphrase: Callable[[], str]) -> OwnKeys:
    """Return a party's keys; those that are missing are created, the encryption key with the passphrase of the signing key.

    Args:
        root: The workspace.
        key: The signing key; None takes the workspace's own.
        comment: The comment of new keys.
        passphrase: Called only if the signing key is encrypted.

    Raises:
        ConfigurationError: A key cannot be read.
    """
    asked = AskedPassphrase(passphrase)
    name, signing = own_key(root, key, comment, asked)
    present = Keyring.of_folder(root / ENCRYPTION, asked, root).present
    encryption = present or keyring.new_key(root / ENCRYPTION, comment, asked.answer)
    return OwnKeys(name=name, signing=signing, listed=public_keys(signing, encryption))


def keyring_of(workspace: Workspace, passphrase: Callable[[], str]) -> Keyring:
    """Return the encryption keys of a workspace."""
    return Keyring.of_folder(workspace.path(ENCRYPTION), passphrase, workspace.path("scratch"))


def new_encryption_key(workspace: Workspace, comment: str, passphrase: str | None) -> None:
    """Create the workspace's next encryption key; the ones before it stay, to open what was sealed to them."""
    keyring.new_key(workspace.path(ENCRYPTION), comment, passphrase)
