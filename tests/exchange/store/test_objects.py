"""What is the object stores' own: credentials, endpoints, and what a service can refuse. See test_store.py for the rest."""

from __future__ import annotations

import http.server
import os
import secrets
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import ConfigurationError, ConflictError, MissingError, StoreError, UsageError
from fedcli.exchange.store import StoreOptions, open_store
from fedcli.exchange.store.object_service import aws_profile
from tests.fixtures.places import on_s3
from tests.fixtures.racing import race_data, race_key, run_race
from tests.fixtures.servers import BUCKET, running_s3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fixtures.servers import S3

KEY = "sites/north/record.json"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".aws").mkdir(parents=True)


# -------------------------------------------------------------------------------------------------------- credentials


@pytest.mark.parametrize(
    ("key", "secret", "said"),
    [("north", "another secret", "SignatureDoesNotMatch"), ("nobody", "secret", "InvalidAccessKeyId")],
)
def test_wrong_credentials_are_named_and_nothing_is_missing(
    s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str, secret: str, said: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    store = open_store(f"s3://{BUCKET}/x", s3.options())
    for attempt in (
        lambda: store.list(""),
        lambda: store.read(KEY, 10),
        lambda: store.fetch(KEY, tmp_path / "target", 10),
        lambda: store.publish(KEY, b"{}"),
        lambda: store.probe("coordinator/"),
    ):
        with pytest.raises(StoreError, match=said) as caught:
            attempt()
        assert not isinstance(caught.value, MissingError | ConflictError)
        assert f"s3://{BUCKET}/x" in str(caught.value)
        assert "credentials" in caught.value.hint


def test_a_profile_holds_credentials_region_and_endpoint(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "home" / ".aws"
    (folder / "credentials").write_text(
        "[default]\naws_access_key_id = nobody\naws_secret_access_key = x\n"
        "[study]\naws_access_key_id = north\naws_secret_access_key = secret of north\n"
    )
    (folder / "config").write_text(f"[profile study]\nregion = us-east-1\nendpoint_url = {s3.endpoint}\n")
    monkeypatch.setenv("AWS_PROFILE", "study")
    place = secrets.token_hex(6)
    open_store(f"s3://{BUCKET}/sites/north/{place}").publish("a.json", b"{}")
    assert s3.store("north", monkeypatch, f"sites/north/{place}").list("") == ("a.json",)


def test_keys_in_the_environment_come_before_a_profile() -> None:
    assert aws_profile({"AWS_ACCESS_KEY_ID": "a", "AWS_PROFILE": "none"}) == {}


def test_a_profile_without_a_key_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "home" / ".aws" / "config").write_text(
        "[profile sso]\nsso_session = x\nregion = eu-central-1\n[default]\nregion=a\n"
    )
    with pytest.raises(ConfigurationError, match="AWS_PROFILE=sso: this profile holds no aws_access_key_id") as caught:
        aws_profile({"AWS_PROFILE": "sso"})
    assert "export-credentials --profile sso" in caught.value.hint
    assert aws_profile({}) == {"region": "a"}


# --------------------------------------------------------------------------------------------- addresses and endpoints


@pytest.mark.parametrize("address", ["s3://", "s3://key:secret@bucket/x", "s3://bucket/x?a=b", "gs:///x", "az://a:1/x"])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"expected (s3|gs|az)://bucket/prefix"):
        open_store(address)


@pytest.mark.parametrize("endpoint", ["http://storage.hospital.example", "http://10.0.0.1:9000", "ftp://localhost", "storage"])
def test_an_endpoint_elsewhere_without_tls_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a URL that begins with https://"):
        open_store("s3://bucket/x", StoreOptions(endpoint=endpoint))


def test_a_bucket_that_is_not_there_is_not_an_empty_one(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment("north").items():
        monkeypatch.setenv(name, value)
    store = open_store("s3://no-such-bucket/x", s3.options())
    with pytest.raises(StoreError) as caught:
        store.list("")
    assert not isinstance(caught.value, MissingError)


def test_a_service_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        begun = time.monotonic()
        with pytest.raises(StoreError, match="from the drop folder s3://bucket/x") as caught:
            open_store("s3://bucket/x", StoreOptions(endpoint=endpoint, timeout=5)).list("")
        assert time.monotonic() - begun < 15
        assert "endpoint" in caught.value.hint


def test_names_that_cannot_be_keys_are_left_out(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"sites/north/{secrets.token_hex(6)}"
    s3.store("north", monkeypatch, place).publish("good/record.json", b"{}")
    s3.store("north", monkeypatch, f"{place}/Upper CASE").publish("record.json", b"{}")
    assert s3.store("north", monkeypatch, place).list("") == ("good/record.json",)


# -------------------------------------------------------------------------------------------------- what is not enough


class Forgetful(http.server.BaseHTTPRequestHandler):
    """The least of S3, which takes every put, whatever its condition."""

    objects: dict[str, bytes]

    def do_PUT(self) -> None:
        self.objects[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, b"", ETag='"x"')

    def do_GET(self) -> None:
        self._answer(200, self.objects[self.path], ETag='"x"', **{"Last-Modified": self.date_time_string()})

    def do_DELETE(self) -> None:
        del self.objects[self.path]
        self._answer(204, b"")

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def forgetful() -> Iterator[str]:
    Forgetful.objects = {}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forgetful) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_probe_refuses_a_service_that_ignores_conditions(forgetful: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    store = open_store("s3://bucket/x", StoreOptions(endpoint=forgetful, timeout=5))
    with pytest.raises(StoreError, match="an existing file can be created again") as caught:
        store.probe("coordinator/")
    assert "If-None-Match" in caught.value.hint
    assert Forgetful.objects == {}


def test_a_full_service_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with one volume of one megabyte."""
    (tmp_path / "full").mkdir()
    source = tmp_path / "source"
    source.write_bytes(os.urandom(6 << 20))
    with running_s3(tmp_path / "full", "-volume.max=1", "-master.volumeSizeLimitMB=1") as server:
        store = server.store("north", monkeypatch, "sites/north", timeout=5)
        stored = []

        def fill() -> None:
            for number in range(50):
                store.put_artifact(f"file-{number}.safetensors", source)
                stored.append(f"file-{number}.safetensors")

        with pytest.raises(StoreError, match="from the drop folder s3://") as caught:
            fill()
        assert caught.value.hint
        assert set(store.list("")) == set(stored)


# --------------------------------------------------------------------------------------------------------------- slow


@pytest.mark.slow
def test_of_sixteen_processes_that_publish_the_same_twelve_keys_on_s3_one_wins_each(s3: S3) -> None:
    place = on_s3(s3)
    with place.acting():
        winners = run_race(place, 16, 12)
    assert sorted(winners) == sorted(map(race_key, range(12)))
    store = place.store()
    assert all(store.read(race_key(number), 1 << 20) == race_data(winners[race_key(number)], number) for number in range(12))
