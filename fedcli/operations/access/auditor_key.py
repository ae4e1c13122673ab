"""An auditor's key pair: the plan names the public half, and the private half opens every sealed file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.exchange import layout
from fedcli.privacy.encryption_keys import DecryptionKey
from fedcli.results import Result, Status

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditorKeyRequest:
    """A key pair that is to be made.

    Attributes:
        path: The private half; the public half lies beside it.
        name: The auditor's name in the plan.
        encrypted: Whether a passphrase encrypts the private half.
    """

    path: Path
    name: str
    encrypted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditorKey(Result):
    """A key pair.

    Attributes:
        message: The auditor as `confidentiality.auditors` of the plan lists it.
        path: The private half.
        public_key: The public half.
        digest: SHA-256 of the public half, by which sealed files name it.
    """

    path: str
    public_key: str
    digest: str


def auditor_key(request: AuditorKeyRequest, environment: Environment) -> AuditorKey:
    """Make a key pair.

    Raises:
        UsageError: The name cannot be used, or there is such a file.
    """
    layout.require_site(request.name)
    if request.path.exists():
        msg = f"{request.path}: there is such a file, and it may open what others have sealed"
        raise UsageError(msg, hint="name another file")
    key = DecryptionKey.generate()
    key.save(request.path, request.name, environment.passphrase() if request.encrypted else None)
    public = key.public
    return AuditorKey(
        status=Status.DONE,
        message=f'{{ name = "{request.name}", public_key = "{public.line}" }}',
        path=str(request.path),
        public_key=public.line,
        digest=public.digest,
    )
