"""The signed records of the drop folder, one class per schema.

Every record names its schema, its federation, its party, when it was made and by which versions, and the SHA-256 of what came
before, so that no file can be replayed in another place. Records are validated when they are made and when they are read. What
later work needs (masking, privacy, encryption) has its field from the start.
"""

from __future__ import annotations

from fedcli.exchange.records.coordinator import (
    ArchiveRecord,
    Contribution,
    Excused,
    FederationRecord,
    Late,
    Member,
    Rejected,
    Restart,
    RoundRecord,
    archivable,
)
from fedcli.exchange.records.record import (
    MAX_MEMBERS,
    MAX_RECORD_BYTES,
    SHARED_KINDS,
    Artifact,
    ModelKind,
    Payload,
    PublicKey,
    Purpose,
    Record,
    Role,
    Versions,
)
from fedcli.exchange.records.sites import (
    Comparison,
    DatasetRecord,
    EnrolmentRecord,
    EvaluationRecord,
    ModelRecord,
    ModelReference,
    SeenRound,
    SiteRecord,
    TestScore,
    UpdateRecord,
    ValidationScore,
)

__all__ = [
    "MAX_MEMBERS",
    "MAX_RECORD_BYTES",
    "SHARED_KINDS",
    "ArchiveRecord",
    "Artifact",
    "Comparison",
    "Contribution",
    "DatasetRecord",
    "EnrolmentRecord",
    "EvaluationRecord",
    "Excused",
    "FederationRecord",
    "Late",
    "Member",
    "ModelKind",
    "ModelRecord",
    "ModelReference",
    "Payload",
    "PublicKey",
    "Purpose",
    "Record",
    "Rejected",
    "Restart",
    "Role",
    "RoundRecord",
    "SeenRound",
    "SiteRecord",
    "TestScore",
    "UpdateRecord",
    "ValidationScore",
    "Versions",
    "archivable",
]
