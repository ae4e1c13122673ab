"""The signed records of the drop folder, one class per schema.

Every record names its schema, its federation, its party, when it was made and by which versions, and the SHA-256 of what came
before, so that no file can be replayed in another place. Records are validated when they are made and when they are read. What
later work needs (privacy, weighted sums) has its field from the start.
"""

from __future__ import annotations

from fedcli.exchange.records.coordinator import ArchiveRecord, FederationRecord, Member, archivable
from fedcli.exchange.records.evaluation_record import Comparison, EvaluationRecord, ModelReference, TestScore
from fedcli.exchange.records.masking_records import (
    LEAST_PARTICIPANTS,
    MAX_MASKED_ROUNDS,
    ClosingRecord,
    Complaint,
    MasksRecord,
    OpeningRecord,
    Participant,
    Survivor,
    UnmaskRecord,
)
from fedcli.exchange.records.privacy_claim import PrivacyClaim
from fedcli.exchange.records.record import (
    MAX_MEMBERS,
    MAX_RECORD_BYTES,
    MOST_GRANTED,
    SHARED_KINDS,
    Artifact,
    Encryption,
    ModelKind,
    Payload,
    PublicKey,
    Purpose,
    Recipient,
    Record,
    Role,
    Versions,
    key_for,
)
from fedcli.exchange.records.round_record import (
    MAX_REFUSED_SHARES,
    Answer,
    Contribution,
    Culprit,
    Excused,
    Late,
    MaskedSum,
    RefusedShare,
    Rejected,
    Relayed,
    Restart,
    RoundRecord,
)
from fedcli.exchange.records.site_record import SeenRound, SiteRecord, ValidationScore
from fedcli.exchange.records.sites import DatasetRecord, EnrolmentRecord, Granted, GrantRecord, ModelRecord
from fedcli.exchange.records.sum_record import SumRecord
from fedcli.exchange.records.update_record import RegionalSum, UpdateRecord

__all__ = [
    "LEAST_PARTICIPANTS",
    "MAX_MASKED_ROUNDS",
    "MAX_MEMBERS",
    "MAX_RECORD_BYTES",
    "MAX_REFUSED_SHARES",
    "MOST_GRANTED",
    "SHARED_KINDS",
    "Answer",
    "ArchiveRecord",
    "Artifact",
    "ClosingRecord",
    "Comparison",
    "Complaint",
    "Contribution",
    "Culprit",
    "DatasetRecord",
    "Encryption",
    "EnrolmentRecord",
    "EvaluationRecord",
    "Excused",
    "FederationRecord",
    "GrantRecord",
    "Granted",
    "Late",
    "MaskedSum",
    "MasksRecord",
    "Member",
    "ModelKind",
    "ModelRecord",
    "ModelReference",
    "OpeningRecord",
    "Participant",
    "Payload",
    "PrivacyClaim",
    "PublicKey",
    "Purpose",
    "Recipient",
    "Record",
    "RefusedShare",
    "RegionalSum",
    "Rejected",
    "Relayed",
    "Restart",
    "Role",
    "RoundRecord",
    "SeenRound",
    "SiteRecord",
    "SumRecord",
    "Survivor",
    "TestScore",
    "UnmaskRecord",
    "UpdateRecord",
    "ValidationScore",
    "Versions",
    "archivable",
    "key_for",
]
