"""What a plan says of the study itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli.wire import STRICT, LongText, ShortText, absent_means


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class About:
    """Who is responsible for the study and its models, and what they are for; nothing here changes a computation.

    Attributes:
        institutions: Names of the institutions that take part.
        contact: Whom to ask about the models.
        licence: Under which licence the models are given away.
        ethics: The reference of the ethics approval.
        intended_use: What the models are for, and what they are not for.
    """

    institutions: Annotated[tuple[ShortText, ...], Field(max_length=1000, fail_fast=True), absent_means(())] = ()
    contact: Annotated[LongText, absent_means("")] = ""
    licence: Annotated[LongText, absent_means("")] = ""
    ethics: Annotated[LongText, absent_means("")] = ""
    intended_use: Annotated[LongText, absent_means("")] = ""
