"""The three ways by which a notice leaves, each to a real receiver."""

from __future__ import annotations

import json
import socket
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from fedcli import wire
from fedcli.notice_settings import EmailSettings, NoticeKind, NoticeSettings, SmtpSecurity
from fedcli.notices.channels import ChannelError, CommandChannel, EmailChannel, WebhookChannel, channels_of
from fedcli.notices.notice import Notice, SentNotice
from fedcli.workspace import Workspace
from tests.fixtures.receivers import Appending, certified, mail_server, web_server
from tests.test_workspace import site_settings

if TYPE_CHECKING:
    from pathlib import Path

FILE = "password"
MOMENT = datetime(2026, 11, 24, 8, tzinfo=UTC)
NOTICE = Notice(
    kind=NoticeKind.OVERDUE,
    subject="round 3",
    federation="study",
    party="north",
    round=3,
    message="round 3 has been open for 4 days",
    command="fedcli train-round -C /srv/north",
).sent(MOMENT)


def command(folder: Path, *words: str, timeout: int = 20) -> CommandChannel:
    return CommandChannel(words=words, folder=folder, timeout=timeout)


def mail(folder: Path, port: int, **changes: Any) -> EmailChannel:
    settings = EmailSettings(**{"to": ("eve@hospital.example",), "host": "127.0.0.1", "port": port, **changes})
    return EmailChannel(settings=settings, folder=folder, timeout=5)


def test_all_that_the_settings_name_are_used(tmp_path: Path) -> None:
    email = EmailSettings(to=("a@b.example",), host="mail.example")
    chosen = NoticeSettings(command=("/bin/true",), email=email, webhook="https://hooks.example/x")
    channels = channels_of(Workspace(tmp_path, site_settings(notify=chosen)))
    assert [channel.name for channel in channels] == ["command", "email", "webhook"]
    assert channels_of(Workspace(tmp_path, site_settings())) == ()


# --------------------------------------------------------------------------------------------------------------- command


def test_a_command_reads_json_from_stdin(tmp_path: Path) -> None:
    receiver = Appending(tmp_path)
    assert command(tmp_path, *receiver.words).send(NOTICE) == ""
    (line,) = (tmp_path / "notices.jsonl").read_bytes().splitlines()
    assert wire.decode(SentNotice, line) == NOTICE
    assert list(json.loads(line)) == [
        "schema", "kind", "federation", "party", "round", "message", "command", "once", "moment", "text",
    ]  # fmt: skip
    assert NOTICE.text == "study, north: overdue: round 3 has been open for 4 days: fedcli train-round -C /srv/north"


def test_a_command_finds_the_notice_in_its_environment_but_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDCLI_KEY_PASSPHRASE", "hidden")
    monkeypatch.setenv("FEDCLI_SMTP_PASSWORD", "hidden")
    program = "import json, os; json.dump(dict(os.environ), open('seen.json', 'w'))"
    command(tmp_path, sys.executable, "-c", program).send(NOTICE)
    seen = json.loads((tmp_path / "seen.json").read_text())
    wanted = {"KIND": "overdue", "ROUND": "3", "PARTY": "north", "MESSAGE": "round 3 has been open for 4 days"}
    assert {name: seen[f"FEDCLI_NOTICE_{name}"] for name in wanted} == wanted
    assert "hidden" not in seen.values()


def test_no_shell_reads_the_words(tmp_path: Path) -> None:
    program = "import sys; open('words', 'w').write(sys.argv[1])"
    command(tmp_path, sys.executable, "-c", program, "$(touch broken); `id` | true").send(NOTICE)
    assert (tmp_path / "words").read_text() == "$(touch broken); `id` | true"
    assert not (tmp_path / "broken").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("/no/such/program",), "/no/such/program cannot be run: No such file or directory"),
        (("sh", "-c", "echo the pager is off >&2; exit 3"), "sh exited with 3: the pager is off"),
        (("sh", "-c", "printf '\\033[2J' >&2; exit 1"), "sh exited with 1: \\x1b[2J"),
        (("false",), "false exited with 1"),
    ],
)
def test_a_command_that_fails_is_told(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ChannelError) as caught:
        command(tmp_path, *words).send(NOTICE)
    assert str(caught.value) == said


def test_a_command_is_stopped_after_its_time_even_if_a_child_of_it_goes_on(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(ChannelError, match="sh has run for 1 s and was stopped"):
        command(tmp_path, "sh", "-c", "sleep 20 & wait", timeout=1).send(NOTICE)
    assert time.monotonic() - start < 10


# ------------------------------------------------------------------------------------------------------------------ mail


def test_mail_over_starttls_with_a_password_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls, certificate = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    (tmp_path / FILE).write_text("open sesame\n")
    (tmp_path / FILE).chmod(0o600)
    with mail_server(tls=tls, account=("fedcli", "open sesame")) as server:
        channel = mail(
            tmp_path, server.port, user="fedcli", password_file=FILE, sender="fedcli@hospital.example",
            to=("eve@hospital.example", "bob@hospital.example"),
        )  # fmt: skip
        assert channel.send(NOTICE) == ""
    (received,) = server.mails
    assert server.secret
    assert received["Subject"] == "[fedcli] study: overdue"
    assert (received["From"], received["To"]) == ("fedcli@hospital.example", "eve@hospital.example, bob@hospital.example")
    assert received["Auto-Submitted"] == "auto-generated"
    assert received["Date"].datetime == MOMENT
    assert received["Message-ID"].rstrip(">").endswith("@hospital.example")
    assert received.get_content().splitlines() == [
        "Round 3 has been open for 4 days.",
        "",
        "Type:",
        "    fedcli train-round -C /srv/north",
        "",
        "Federation study, party north, 2026-11-24 08:00 UTC.",
        "This is sent again every day while it lasts.",
    ]


def test_a_password_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls, certificate = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with mail_server(tls=tls, account=("fedcli", "right")) as server:
        channel = mail(tmp_path, server.port, user="fedcli")
        with pytest.raises(ChannelError, match="there is no password for fedcli"):
            channel.send(NOTICE)
        monkeypatch.setenv("FEDCLI_SMTP_PASSWORD", "wrong")
        with pytest.raises(ChannelError, match=r"answers 535 5\.7\.8 wrong password"):
            channel.send(NOTICE)
        monkeypatch.setenv("FEDCLI_SMTP_PASSWORD", "right")
        channel.send(NOTICE)
    assert len(server.mails) == 1


def test_a_password_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("x")
    (tmp_path / FILE).chmod(0o644)
    with pytest.raises(ChannelError, match="can be read by other accounts"):
        mail(tmp_path, 1, user="fedcli", password_file=FILE).send(NOTICE)


def test_a_server_of_an_unknown_authority_gets_nothing(tmp_path: Path) -> None:
    tls, _ = certified(tmp_path)
    with mail_server(tls=tls) as server, pytest.raises(ChannelError, match="certificate verify failed"):
        mail(tmp_path, server.port).send(NOTICE)
    assert server.mails == []


def test_mail_never_falls_back_to_plaintext(tmp_path: Path) -> None:
    with mail_server() as server:
        with pytest.raises(ChannelError, match="STARTTLS extension not supported"):
            mail(tmp_path, server.port).send(NOTICE)
        assert server.mails == []
        mail(tmp_path, server.port, security=SmtpSecurity.UNSAFE_PLAINTEXT).send(NOTICE)
    assert [(len(server.mails), server.secret)] == [(1, False)]


def test_refused_recipients_are_named(tmp_path: Path) -> None:
    with mail_server(refused=frozenset({"gone@hospital.example"})) as server:
        both = mail(
            tmp_path, server.port, security=SmtpSecurity.UNSAFE_PLAINTEXT, to=("eve@hospital.example", "gone@hospital.example")
        )
        assert both.send(NOTICE).endswith("1 recipient refused: gone@hospital.example")
        only = mail(tmp_path, server.port, security=SmtpSecurity.UNSAFE_PLAINTEXT, to=("gone@hospital.example",))
        with pytest.raises(ChannelError, match=r"refuses gone@hospital\.example"):
            only.send(NOTICE)
    assert len(server.mails) == 1


def test_a_mail_server_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ChannelError, match=f"127.0.0.1:{port}: Connection refused"):
        mail(tmp_path, port).send(NOTICE)


def test_a_text_of_others_adds_no_header(tmp_path: Path) -> None:
    nasty = Notice(
        kind=NoticeKind.REJECTED, subject="x", federation="a\nBcc: all@example", party="north", round=1,
        message="no\r\nX: y", command="",
    ).sent(MOMENT)  # fmt: skip
    assert "\\x0d\\x0a" in nasty.message
    with mail_server() as server:
        channel = mail(tmp_path, server.port, security=SmtpSecurity.UNSAFE_PLAINTEXT)
        with pytest.raises(ChannelError):
            channel.send(nasty)
    assert server.mails == []


# --------------------------------------------------------------------------------------------------------------- webhook


def webhook(url: str, timeout: int = 5) -> WebhookChannel:
    return WebhookChannel(url=url, timeout=timeout)


def test_a_webhook_gets_json() -> None:
    with web_server() as server:
        assert webhook(server.url).send(NOTICE) == ""
    assert server.types == ["application/json"]
    assert server.posts == [json.loads(wire.encode_line(NOTICE))]


@pytest.mark.parametrize("answer", [302, 307, 404, 500])
def test_an_answer_other_than_success_is_told_without_the_secret_in_the_url(answer: int) -> None:
    with (
        web_server() as elsewhere,
        web_server(answer=answer, location=elsewhere.url) as server,
        pytest.raises(ChannelError) as caught,
    ):
        webhook(server.url).send(NOTICE)
    assert str(caught.value) == f"127.0.0.1 answers {answer}, expected 200 to 299"
    assert (len(server.posts), elsewhere.posts) == (1, [])


def test_a_silent_server_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        start = time.monotonic()
        with pytest.raises(ChannelError, match=r"127\.0\.0\.1: no answer in time"):
            webhook(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=1).send(NOTICE)
    assert time.monotonic() - start < 5
