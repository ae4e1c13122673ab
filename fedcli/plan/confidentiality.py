"""What a plan says of who can read the weights."""

from __future__ import annotations

import base64
import hashlib
from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.wire import SHORT_DIGEST, STRICT, SiteName, absent_means

MAX_AUDITORS = 16
ENCRYPTION_KEY = r"mlkem768-x25519 [A-Za-z0-9+/]{1622}=="
"""An encryption key as files and records list it: 1216 bytes in base64."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Auditor:
    """Somebody who takes no part and can open every file.

    Attributes:
        name: A name like a site's.
        public_key: The line of the encryption key.
    """

    name: SiteName
    public_key: Annotated[str, Field(pattern=f"^{ENCRYPTION_KEY}$")]

    def __str__(self) -> str:
        """Return the name, and the beginning of the key's SHA-256, as `fedcli access auditor-key` states it."""
        digest = hashlib.sha256(base64.b64decode(self.public_key.split(" ")[1])).hexdigest()
        return f"{self.name} ({digest[:SHORT_DIGEST]})"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Confidentiality:
    """Who can read what lies in the drop folder.

    Attributes:
        sealing: Whether every model, update and server state is encrypted for those whom it concerns.
        auditors: Who else can open every file; sealing is needed for that.
    """

    sealing: Annotated[bool, absent_means(value=False)] = True
    auditors: Annotated[tuple[Auditor, ...], Field(max_length=MAX_AUDITORS, fail_fast=True), absent_means(())] = ()

    @model_validator(mode="after")
    def _auditors_are_distinct(self) -> Confidentiality:
        names = [item.name for item in self.auditors]
        if len(set(names)) != len(names) or "coordinator" in names:
            msg = f"auditors need names that differ from one another and from coordinator, found {', '.join(names)}"
            raise ValueError(msg)
        if names and not self.sealing:
            msg = "auditors are named for sealed files; with sealing = false everybody can read every file"
            raise ValueError(msg)
        return self
