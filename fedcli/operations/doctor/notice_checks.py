"""Checks of the channels over which notices leave: a notice is sent over each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.notice_settings import NoticeKind
from fedcli.notices.channels import channels_of
from fedcli.notices.notice import Notice

if TYPE_CHECKING:
    from datetime import datetime

    from fedcli.operations.doctor.findings import Examination
    from fedcli.workspace import Workspace

_NONE = "name a command, a mail server or a webhook in [notify] of workspace.toml: `fedcli docs notices`"


def try_channels(exam: Examination, workspace: Workspace, federation: str, moment: datetime) -> None:
    """Send a notice that says that it is a test over every channel of the settings."""
    channels = channels_of(workspace)
    if not channels:
        with exam.check("notices", _NONE) as check:
            check.warn("no channel is configured")
    notice = Notice(
        kind=NoticeKind.YOUR_TURN,
        subject="test",
        federation=federation,
        party=workspace.settings.name,
        round=None,
        message="this is a test of `fedcli doctor --notify`, and nothing is to be done",
    ).sent(moment)
    for channel in channels:
        with exam.check(f"notify.{channel.name}", "correct [notify] in workspace.toml: `fedcli docs notices`") as check:
            if remark := channel.send(notice):
                check.warn(remark)
            else:
                check.ok("a test notice was sent; look whether it has arrived")
