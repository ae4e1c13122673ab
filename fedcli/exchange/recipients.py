"""Who can open which sealed file: a rule that those who seal follow, and everybody who verifies checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fedcli.errors import ConfigurationError, TrustError
from fedcli.exchange.layout import COORDINATOR
from fedcli.exchange.records import Purpose, Role, key_for
from fedcli.privacy.encryption_keys import EncryptionKey, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fedcli.exchange.checks import Signed
    from fedcli.exchange.records import Artifact, FederationRecord
    from fedcli.plan import Plan


class Reader(NamedTuple):
    """Somebody who can open a file: a party's or an auditor's name, and the line of an encryption key."""

    party: str
    key: str

    @property
    def digest(self) -> str:
        """The digest by which a sealed file names the key."""
        return digest_of(self.key)


def readers(federation: FederationRecord, role: Role, author: str) -> tuple[Reader, ...]:
    """Return who can open a file under a federation record, sorted.

    Args:
        federation: The record.
        role: What the file is: an update is for its author and the coordinator, a masked one and everything else for all members.
        author: The party that publishes it.
    """
    for_all = role is not Role.UPDATE or federation.plan.aggregation.masking
    members = (member.site for member in federation.members if for_all or member.site == author)
    listed = [(name, key_for(Purpose.ENCRYPTION, federation.keys_of(name))) for name in (COORDINATOR, *members)]
    parties = [Reader(name, key.public_key) for name, key in listed if key is not None]
    auditors = [Reader(item.name, item.public_key) for item in federation.plan.confidentiality.auditors]
    return tuple(sorted({*parties, *auditors}, key=lambda item: (item.party, item.digest)))


def check_auditors(plan: Plan) -> None:
    """Raise a ConfigurationError if nothing could be sealed to an auditor of a plan."""
    for auditor in plan.confidentiality.auditors:
        try:
            EncryptionKey.parse(auditor.public_key)
        except ConfigurationError as error:
            msg = f"confidentiality.auditors: the public key of {auditor.name} is {error}"
            raise ConfigurationError(msg, hint="copy the line that `fedcli access auditor-key` has printed") from error


def check_sealing(signed: Signed, artifact: Artifact, federation: FederationRecord) -> None:
    """Raise a TrustError unless a file is sealed where the plan seals, and nowhere else."""
    sealing, sealed = federation.plan.confidentiality.sealing, artifact.encryption is not None
    if sealing is not sealed:
        words = {True: "sealed", False: "in plain"}
        msg = f"{signed.key}: {artifact.key} is {words[sealed]}, expected {words[sealing]} (confidentiality.sealing of the plan)"
        raise TrustError(msg)


def check_readers(signed: Signed, artifacts: Sequence[Artifact], author: str, federations: Sequence[FederationRecord]) -> None:
    """Raise a TrustError unless each sealed file is for those whom it concerns under one of some federation records.

    Args:
        signed: The record that names the files.
        artifacts: The files.
        author: The party that published them.
        federations: The records under which they may have been sealed.
    """
    for artifact in artifacts:
        if artifact.encryption is None:
            continue
        named = [(item.party, item.key) for item in artifact.encryption.recipients]
        if all(named != _named(readers(record, artifact.role, author)) for record in federations):
            raise _other_readers(signed, artifact, named, _named(readers(federations[-1], artifact.role, author)))


def _other_readers(
    signed: Signed, artifact: Artifact, named: Sequence[tuple[str, str]], expected: Sequence[tuple[str, str]]
) -> TrustError:
    extra, missing = [item for item in named if item not in expected], [item for item in expected if item not in named]
    parts = [f"{word} {_in_words(items)}" for word, items in (("opens for", extra), ("does not open for", missing)) if items]
    return TrustError(f"{signed.key}: {artifact.key} {' and '.join(parts)}, expected the keys that the federation lists")


def _named(items: Iterable[Reader]) -> list[tuple[str, str]]:
    return [(item.party, item.digest) for item in items]


def _in_words(items: Sequence[tuple[str, str]]) -> str:
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""  # noqa: PLR2004 - as many as fit in a line
    return ", ".join(f"{party} ({key[:12]})" for party, key in items[:3]) + more
