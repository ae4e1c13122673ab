"""What is the object stores' own: credentials, endpoints, and what a service can refuse. See test_store.py for the rest."""

from __future__ import annotations

import http.server
import os
import secrets
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import ConfigurationError, ConflictError, MissingError, StoreError, UsageError
from fedcli.exchange.store import StoreOptions, open_store
from fedcli.exchange.store.object_service import aws_profile
from tests.fixtures.files import file_with, pattern
from tests.fixtures.http_proxy import running_proxy
from tests.fixtures.places import on_s3
from tests.fixtures.racing import race_data, race_key, run_race
from tests.fixtures.servers import BUCKET, free_port, running_s3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fixtures.servers import S3

KEY = "sites/north/record.json"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of whoever runs the tests."""
    for name in [
        name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_")) or name.lower().endswith("_proxy")
    ]:
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


# ---------------------------------------------------------------------------------------------------------- HTTP proxies


def test_a_listing_goes_on_at_the_round_that_was_asked_for(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page holds a thousand keys; however many rounds follow, there is one more request."""
    place = f"sites/north/{secrets.token_hex(6)}"
    store = s3.store("north", monkeypatch, place)
    names = ("a.json", "b.json", "c.json", "d.json")
    keys = [f"coordinator/round-{number:04d}/{name}" for number in range(500) for name in names]
    first, last = "coordinator/federation-0000.json", "coordinator/zebra.json"
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: store.publish(key, b"{}"), [first, *keys, last]))
    with running_proxy(tmp_path) as (proxy, log):
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy}")
        counted = s3.store("north", monkeypatch, place)
        expected = {0: 3, 1: 3, 200: 3, 400: 2, 499: 2, 700: 2}
        for number, requests in expected.items():
            before = log.read_text().count("\n")
            (listing,) = counted.list_each(["coordinator/"], 5000, from_round=number).values()
            assert listing.keys == (first, *keys[4 * number :], last), number
            assert log.read_text().count("\n") - before == requests, number


def test_a_service_is_reached_through_the_proxy_of_the_environment(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_proxy(tmp_path, user="anna:word") as (proxy, log):
        monkeypatch.setenv("HTTP_PROXY", f"http://anna:word@{proxy}")
        store = s3.store("north", monkeypatch, "sites/north/proxied")
        store.publish("record.json", b"{}")
        with pytest.raises(ConflictError):
            store.publish("record.json", b"[]")
        source = file_with(tmp_path, pattern(9 << 20))
        store.put_artifact("update-0123456789ab.safetensors", source)
        assert store.fetch("update-0123456789ab.safetensors", tmp_path / "copy", 10 << 20).size == 9 << 20
        assert store.list("") == ("record.json", "update-0123456789ab.safetensors")
        assert f"PUT {s3.endpoint}/{BUCKET}/sites/north/proxied/record.json" in log.read_text()
        before = log.read_text()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert s3.store("north", monkeypatch, "sites/north/proxied").list("") == store.list("")
        assert log.read_text().count("\n") == before.count("\n") + 1, "only by the store that was opened before"


def test_a_proxy_that_refuses_is_named_without_its_password(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_proxy(tmp_path, user="anna:word") as (proxy, _):
        monkeypatch.setenv("HTTP_PROXY", f"http://anna:secret@{proxy}")
        with pytest.raises(StoreError, match=f"407 .*, through the proxy http://{proxy}, from the drop folder") as caught:
            s3.store("north", monkeypatch).list("sites/north/")
        assert "secret" not in str(caught.value)
        assert "log in to the proxy" in caught.value.hint


def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://anna:secret@127.0.0.1:{free_port()}")
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "eu-central-1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match="through the proxy http://127") as caught:
        open_store("s3://fed", StoreOptions(timeout=2)).list("")
    assert "secret" not in str(caught.value)
    assert "HTTPS_PROXY" in caught.value.hint


def test_credentials_that_expire_during_a_transfer_are_told_and_a_second_run_goes_on(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = file_with(tmp_path, pattern(33 << 20))
    with running_proxy(tmp_path, puts=2) as (proxy, _):
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy}")
        store = s3.store("north", monkeypatch, "sites/north/expiring")
        with pytest.raises(StoreError, match="ExpiredToken") as caught:
            store.put_artifact("update-0123456789ab.safetensors", source)
        assert caught.value.hint.startswith("the credentials have expired: renew them")
        with pytest.raises(StoreError, match="ExpiredToken"):
            store.publish("record.json", b"{}")
        (tmp_path / "renewed").touch()
        assert store.list("") == (), "nothing half"
        store.put_artifact("update-0123456789ab.safetensors", source)
        store.publish("record.json", b"{}")
        assert store.stat("update-0123456789ab.safetensors") == 33 << 20


# ------------------------------------------------------------------------------------------- versions and object lock


def test_a_bucket_that_keeps_all_versions_under_object_lock_holds_a_drop_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s3").mkdir()
    with running_s3(tmp_path / "s3", locked=True) as server:
        store = server.store("north", monkeypatch)
        store.probe("sites/north/")
        store.publish(KEY, b"{}")
        store.publish(KEY, b"{}")
        with pytest.raises(ConflictError):
            store.publish(KEY, b"[]")
        source, artifact = file_with(tmp_path, pattern(9 << 20)), "sites/north/update-0123456789ab.safetensors"
        for _ in range(2):  # the second one is a version with the same bytes
            store.put_artifact(artifact, source)
            assert store.list("") == (KEY, artifact)
            assert store.fetch(artifact, tmp_path / secrets.token_hex(4), 10 << 20).size == 9 << 20
        store.remove_artifact(artifact)
        assert (store.list(""), store.stat(artifact)) == ((KEY,), None), "a delete marker is in its place"
        with pytest.raises(MissingError):
            store.fetch(artifact, tmp_path / "gone", 10 << 20)
        store.put_artifact(artifact, source)
        assert store.stat(artifact) == 9 << 20
        assert store.read(KEY, 10) == b"{}"
