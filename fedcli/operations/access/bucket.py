"""Policies for the users of an S3 bucket that holds a drop folder."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import UsageError
from fedcli.exchange import layout
from fedcli.operations.access.names import AUDITOR, parties
from fedcli.results import Result, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3AccessRequest:
    """A bucket that is to hold a drop folder.

    Attributes:
        sites: The sites' names.
        bucket: The bucket.
        prefix: Where the drop folder begins in it.
        auditor: Whether there is a user who reads everything and writes nothing.
    """

    sites: tuple[str, ...]
    bucket: str
    prefix: str = ""
    auditor: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access(Result):
    """What each party's user may do in a bucket.

    Attributes:
        message: The policies as one JSON object, by party.
        policies: The IAM policy document of every party, as JSON text.
    """

    policies: Mapping[str, str]


def s3_access(request: S3AccessRequest) -> S3Access:
    """Return a policy for each party's user.

    A party creates objects under its prefix; it removes there what `fedcli init` probes with, and models that were archived.

    Raises:
        UsageError: A name cannot be used.
    """
    bucket, top = request.bucket, request.prefix.strip("/")
    names = parties(request.sites, auditor=request.auditor)
    if _BUCKET.fullmatch(bucket) is None or (top and not layout.is_key(top)):
        msg = f"s3://{bucket}/{top}: not the address of a drop folder"
        raise UsageError(msg)
    begin = f"{top}/" if top else ""
    own = {party: "" if party == AUDITOR else f"{begin}{layout.prefix(party)}" for party in names}
    policies = {party: _policy(bucket, begin, prefix) for party, prefix in own.items()}
    return S3Access(
        status=Status.DONE,
        message=json.dumps(policies, indent=2),
        policies={party: json.dumps(policy) for party, policy in policies.items()},
    )


def _policy(bucket: str, begin: str, own: str) -> dict[str, object]:
    """Return a policy; where `own` is empty, it only lets read."""
    arn = f"arn:aws:s3:::{bucket}"
    listing: dict[str, object] = {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [arn]}
    if begin:
        listing["Condition"] = {"StringLike": {"s3:prefix": [f"{begin}*"]}}
    reading: dict[str, object] = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{arn}/{begin}*"]}
    writing: list[dict[str, object]] = [
        {"Effect": "Allow", "Action": ["s3:PutObject", "s3:AbortMultipartUpload"], "Resource": [f"{arn}/{own}*"]},
        {"Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": [f"{arn}/{own}*probe-*", f"{arn}/{own}*.safetensors"]},
    ]
    return {"Version": "2012-10-17", "Statement": [listing, reading, *(writing if own else [])]}
