"""What all records share: the header, versions, public keys, artifacts, and the bounds of their fields."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.exchange.layout import is_key
from fedcli.plan import ENCRYPTION_KEY, MAX_AUDITORS, MAX_STEPS, Encoding, Packing
from fedcli.wire import STRICT, Digest, ShortText, SiteName, Timestamp

MAX_RECORD_BYTES = 4 << 20
MAX_MEMBERS = 1000
MOST_GRANTED = 500
"""Files of one grant record; a grant of more files is several records."""
MAX_RECIPIENTS = MAX_MEMBERS + MAX_AUDITORS + 1

Number = Annotated[int, Field(ge=0, le=9999)]
Ordinal = Annotated[int, Field(ge=1, le=9999)]
Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]
Size = Annotated[int, Field(ge=0, le=1 << 40)]
Kappa = Annotated[float, Field(ge=-1, le=1)]
NotNegative = Annotated[float, Field(ge=0, le=1e50)]
"""A loss or a norm: at most what a figure can draw, and more than any that follows from float32 weights."""
Seconds = Annotated[float, Field(ge=0, le=1e9)]


class Purpose(StrEnum):
    """What a public key is for."""

    SIGNING = "signing"
    ENCRYPTION = "encryption"


class ModelKind(StrEnum):
    """Where a scored model comes from."""

    LOCAL = "local"
    FEDERATED = "federated"
    FINETUNED = "finetuned"
    GLOBAL = "global"

    @property
    def word(self) -> str:
        """How people read it."""
        return {"local": "local-only", "finetuned": "fine-tuned"}.get(self.value, self.value)


SHARED_KINDS = (ModelKind.LOCAL, ModelKind.FEDERATED, ModelKind.FINETUNED)
"""The kinds that a site shares, in the order in which it makes them; global models are the coordinator's."""


class Role(StrEnum):
    """What an artifact is to its record."""

    MODEL = "model"
    UPDATE = "update"
    SERVER_STATE = "server_state"
    MASKS = "masks"


class Payload(StrEnum):
    """What an update's tensors are."""

    DELTA = "delta"
    WEIGHTED_SUM = "weighted_sum"
    MASKED_SUM = "masked_sum"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PublicKey:
    """A party's public key: the algorithm's name, and `algorithm base64` as OpenSSH and `encryption_keys` write it."""

    purpose: Purpose
    algorithm: Literal["ssh-ed25519", "mlkem768-x25519"]
    public_key: Annotated[str, Field(pattern=rf"^(ssh-ed25519 [A-Za-z0-9+/]{{68}}|{ENCRYPTION_KEY})$")]

    @model_validator(mode="after")
    def _is_of_its_algorithm(self) -> PublicKey:
        expected = "ssh-ed25519" if self.purpose is Purpose.SIGNING else "mlkem768-x25519"
        if (self.algorithm, self.public_key.split(" ")[0]) != (expected, expected):
            msg = f"a {self.purpose} key should be of the algorithm {expected}"
            raise ValueError(msg)
        return self


def _one_of_each_purpose(keys: tuple[PublicKey, ...]) -> tuple[PublicKey, ...]:
    purposes = [key.purpose for key in keys]
    if len(set(purposes)) != len(purposes):
        msg = f"should list one key for each purpose, found {', '.join(purposes)}"
        raise ValueError(msg)
    if Purpose.SIGNING not in purposes:
        msg = f"should list a signing key, found {', '.join(purposes)}"
        raise ValueError(msg)
    return keys


def key_for(purpose: Purpose, keys: tuple[PublicKey, ...]) -> PublicKey | None:
    """Return a party's key for a purpose; None if the party has none."""
    return next((key for key in keys if key.purpose is purpose), None)


Keys = Annotated[tuple[PublicKey, ...], Field(min_length=1, max_length=8, fail_fast=True), AfterValidator(_one_of_each_purpose)]
"""A party's public keys, one for each purpose: nobody would have compared a second one, and it could sign as the party."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Versions:
    """The software that made a record; torch is null if it was not used."""

    fedcli: ShortText
    python: ShortText
    numpy: ShortText
    torch: ShortText | None = None


def _of_the_drop_folder(key: str) -> str:
    if not is_key(key):
        msg = "should be a key of the drop folder: lower-case letters, digits, and . _ - within its parts"
        raise ValueError(msg)
    return key


Box = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{1558}==$")]
"""A content key wrapped for one recipient, 1168 bytes in base64."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Recipient:
    """Who can open a sealed file.

    Attributes:
        party: `coordinator`, a site's name, or an auditor's.
        key: SHA-256 of the encryption key for which the content key is wrapped.
        wrapped: The wrapped content key.
    """

    party: SiteName
    key: Digest
    wrapped: Box


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Encryption:
    """How a file is sealed.

    Attributes:
        scheme: How; the present one is described in docs/protocol.md.
        chunk: Bytes of content in each chunk but the last one.
        recipients: Who can open it, sorted by name and key.
    """

    scheme: Literal["fedcli-seal@1"] = "fedcli-seal@1"
    chunk: Literal[1048576] = 1048576
    recipients: Annotated[tuple[Recipient, ...], Field(min_length=1, max_length=MAX_RECIPIENTS, fail_fast=True)]

    @model_validator(mode="after")
    def _sorted_recipients(self) -> Encryption:
        named = [(item.party, item.key) for item in self.recipients]
        if named != sorted(set(named)):
            msg = "recipients must be sorted by name and key, each once"
            raise ValueError(msg)
        return self


ArtifactKey = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_of_the_drop_folder)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Artifact:
    """A safetensors file beside its record.

    Attributes:
        role: What it is.
        key: Its key in the drop folder.
        stored_size: Bytes as stored.
        stored_sha256: Digest of the bytes as stored.
        content_size: Bytes of the canonical safetensors file inside: unpacked, but not decoded.
        content_sha256: Its digest.
        encoding: How the numbers are written.
        packing: How the file is compressed.
        encryption: How the file is encrypted, and for whom; null if it is not.
    """

    role: Role
    key: ArtifactKey
    stored_size: Size
    stored_sha256: Digest
    content_size: Size
    content_sha256: Digest
    encoding: Encoding = Encoding.FLOAT32
    packing: Packing = Packing.NONE
    encryption: Encryption | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Record:
    """What all records say.

    Attributes:
        schema: The record's class and version.
        federation: SHA-256 of the federation's first record; null in that record itself.
        party: `coordinator`, or the site's name.
        created: When it was made, in UTC.
        versions: What made it.
    """

    schema: str
    federation: Digest | None
    party: SiteName
    created: Timestamp
    versions: Versions
