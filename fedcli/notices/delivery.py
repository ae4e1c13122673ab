"""Send the notices that are due over every channel; a channel that fails is tried again by the next run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.notices.channels import ChannelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from fedcli.notices.channels import Channel
    from fedcli.notices.notice import Notice
    from fedcli.notices.told import Told


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """A channel that has failed, and why."""

    channel: str
    message: str


def deliver(
    notices: Iterable[Notice], channels: Iterable[Channel], told: Told, moment: datetime, log: Callable[[str], None]
) -> tuple[Undelivered, ...]:
    """Send what is due, and remember what was told over which channel; return the channels that have failed.

    Args:
        notices: What lasts now.
        channels: Where to.
        told: What was told before.
        moment: Now.
        log: Takes one line for each notice that was sent.
    """
    failures = []
    for channel in channels:
        for notice in notices:
            if not told.due(notice.key, channel.name, moment, once=notice.once):
                continue
            try:
                remark = channel.send(notice.sent(moment))
            except ChannelError as error:
                failures.append(Undelivered(channel=channel.name, message=str(error)))
                break  # the others would wait for the same server
            told.mark(notice.key, channel.name, moment)
            log(f"notify.{channel.name}: {notice.text}" + (f" ({remark})" if remark else ""))
    return tuple(failures)
