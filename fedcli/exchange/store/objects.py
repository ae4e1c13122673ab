"""A drop folder in an object store: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.

Records are created by one conditional put, which the service refuses where the key is taken; artifacts are streamed in parts
and appear when the last one has arrived. S3 checks a SHA-256 of every part. Credentials come from where the provider's own tools
look: environment, profile, instance role.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError
from obstore.store import AzureStore, GCSStore, S3Store

from fedcli.errors import ConfigurationError, ConflictError, MissingError, StoreError, UnreadableError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.store.aws_profile import aws_profile
from fedcli.exchange.store.base import capped, checked, new_file, prove_create_once, received, removable
from fedcli.exchange.store.read_ahead import LONGEST, Ahead
from fedcli.progress import BYTES, Silent
from fedcli.tensors import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from obstore.store import ObjectStore as Service

    from fedcli.exchange.store.base import StoreOptions
    from fedcli.progress import Progress
    from fedcli.tensors import Measured

_PART = 8 << 20
_PARTS_AT_ONCE = 4
_READS_AT_ONCE = 16
_RETRIES = 3
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_UNLIMITED = timedelta(days=7)
_DENIED = ("AccessDenied", "AuthorizationPermissionMismatch")
"""What S3 and Google, and Azure, say of one object to an account that they know."""
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")


class ObjectStore:
    """A bucket, or the part of it under a prefix: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix."""

    def __init__(self, address: str, options: StoreOptions, progress: Progress | None = None) -> None:
        self._address = address
        self._options = options
        self._service = _service(address, options)
        self._progress = progress or Silent()
        self._ahead = Ahead(self._read_ahead)

    @property
    def address(self) -> str:
        """The URL."""
        return self._address

    def put_artifact(self, key: str, source: Path) -> None:
        """Upload a file; see `Store`."""
        checked(key)
        try:
            size = source.stat().st_size
            with (
                source.open("rb") as file,
                self._explained(key),
                self._progress.track(f"sending {key.rpartition('/')[2]}", size, BYTES) as advance,
            ):
                if size > _PART:
                    parts = _told(file, advance)
                    obstore.put(self._service, key, parts, chunk_size=_PART, max_concurrency=_PARTS_AT_ONCE)
                else:
                    obstore.put(self._service, key, file.read(), use_multipart=False)
        except OSError as error:
            msg = f"{key}: {source}: {error.strerror}"
            raise StoreError(msg) from error

    def remove_artifact(self, key: str) -> None:
        """Remove an object; see `Store`."""
        self._remove(removable(key))

    def publish(self, key: str, data: bytes) -> None:
        """Create a record once; see `Store`."""
        checked(key)
        with self._explained(key):
            try:
                obstore.put(self._service, key, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                found = obstore.get(self._service, key)
                if found.meta["size"] != len(data) or bytes(found.bytes()) != data:
                    msg = f"{key}: already published with other content"
                    raise ConflictError(msg) from None

    def fetch(self, key: str, target: Path, limit: int) -> Measured:
        """Download an object, hashing what is written; see `Store`."""
        with self._explained(key, reading=True):
            found = obstore.get(self._service, checked(key))
            size = found.meta["size"]
            capped(key, size, limit)
            with (
                new_file(target) as copy,
                self._progress.track(f"fetching {key.rpartition('/')[2]}", size, BYTES) as advance,
            ):
                chunks = (bytes(chunk) for chunk in found.stream(min_chunk_size=CHUNK_BYTES))
                return received(key, chunks, copy, limit, advance)

    def read(self, key: str, limit: int) -> bytes:
        """Read a small object; see `Store`."""
        if (ahead := self._ahead.read(key)) is not None:
            capped(key, len(ahead), limit)
            return ahead
        with self._explained(key, reading=True):
            found = obstore.get(self._service, checked(key))
            capped(key, found.meta["size"], limit)
            data = bytes(found.bytes())
        capped(key, len(data), limit)
        return data

    def list(self, prefix: str) -> tuple[str, ...]:
        """List keys; see `Store`."""
        top = checked(prefix.rstrip("/")) if prefix else None
        with self._explained(prefix):
            found = [item["path"] for page in obstore.list(self._service, top) for item in page]
        keys = tuple(sorted(key for key in found if layout.is_key(key) and key.startswith(prefix)))
        self._ahead.listed(prefix, keys)
        return keys

    def stat(self, key: str) -> int | None:
        """Return an object's size; see `Store`."""
        try:
            with self._explained(key, reading=True):
                try:
                    return obstore.head(self._service, checked(key))["size"]
                except PermissionDeniedError:  # the answer to a HEAD has no words: the one to a GET says why
                    return obstore.get(self._service, key).meta["size"]
        except MissingError:
            return None

    def local_path(self, key: str) -> Path | None:
        """Return None; see `Store`."""
        del key
        return None

    def probe(self, prefix: str) -> None:
        """Check that a key can be created only once; see `Store`."""
        hint = "this service ignores conditional writes (If-None-Match), so it cannot hold a drop folder; a newer version may"
        prove_create_once(self, prefix, self._remove, hint)

    def _remove(self, key: str) -> None:
        with self._explained(key), suppress(FileNotFoundError):
            obstore.delete(self._service, key)

    def _read_ahead(self, keys: Sequence[str]) -> dict[str, bytes]:
        failures: list[BaseError] = []

        def read(key: str) -> bytes | None:
            if failures:  # a service that has fallen silent is not asked again
                return None
            try:
                found = obstore.get(self._service, checked(key))
                return bytes(found.bytes()) if found.meta["size"] <= LONGEST else None
            except (FileNotFoundError, PermissionDeniedError):  # who needs it reads it alone, and hears why
                return None
            except BaseError as error:
                failures.append(error)
                return None

        with ThreadPoolExecutor(min(len(keys), _READS_AT_ONCE)) as pool:
            found = list(pool.map(read, keys))
        if failures:
            with self._explained(keys[0], reading=True):
                raise failures[0]
        return {key: data for key, data in zip(keys, found, strict=True) if data is not None}

    @contextmanager
    def _explained(self, key: str, *, reading: bool = False) -> Iterator[None]:
        """Turn the service's errors into the store's; where a key is read, it may be missing, or not be for this account."""
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            text = str(error)
            if any(sign in text for sign in _NO_BUCKET):
                msg = f"{self._address}: there is no such bucket"
                raise StoreError(msg, hint="check the address; a bucket is made with the provider's own tools") from error
            if isinstance(error, FileNotFoundError):
                msg = f"{key}: not in the drop folder {self._address}"
                raise MissingError(msg) from error
            what, hint = _answer(text, self._options.timeout)
            msg = f"{key or 'list'}: {what}, from the drop folder {self._address}"
            denied = reading and isinstance(error, PermissionDeniedError) and any(code in what for code in _DENIED)
            raise (UnreadableError if denied else StoreError)(msg, hint=hint) from error


def _service(address: str, options: StoreOptions) -> Service:
    parts = urlsplit(address)
    if not parts.netloc or "@" in parts.netloc or ":" in parts.netloc or parts.query or parts.fragment:
        msg = f"{address}: expected {parts.scheme}://bucket/prefix, and no credentials"
        raise UsageError(msg, hint="credentials come from the environment, a profile or the machine's role")
    s3 = parts.scheme == "s3"
    profile = aws_profile(os.environ) if s3 else {}
    named = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "") if s3 else ""
    at = options.endpoint or named or profile.pop("endpoint", "")
    common: dict[str, Any] = {
        "prefix": unquote(parts.path).strip("/") or None,
        "retry_config": {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=options.timeout)},
        "client_options": {
            "connect_timeout": timedelta(seconds=options.timeout),
            "read_timeout": timedelta(seconds=options.timeout),
            "timeout": _UNLIMITED,  # a long transfer that goes on is none that has stalled
            "allow_http": _is_loopback(at),
        },
        **({"base_url" if parts.scheme == "gs" else "endpoint": at} if at else {}),
    }
    try:
        if s3:
            return S3Store(parts.netloc, checksum_algorithm="SHA256", disable_bulk_delete=True, **profile | common)
        return (GCSStore if parts.scheme == "gs" else AzureStore)(parts.netloc, **common)
    except BaseError as error:
        msg = f"{address}: cannot be used: {_first_line(str(error))}"
        raise ConfigurationError(msg, hint="docs/stores.md lists where credentials are looked for") from error


def _is_loopback(endpoint: str) -> bool:
    """Tell whether an endpoint is on this machine, where alone it may do without TLS.

    Raises:
        ConfigurationError: It is elsewhere and without TLS, or no URL.
    """
    parts = urlsplit(endpoint)
    if not endpoint or parts.scheme == "https":
        return False
    host = parts.hostname or ""
    with suppress(ValueError):
        if parts.scheme == "http" and (host == "localhost" or ip_address(host).is_loopback):
            return True
    msg = f"endpoint {endpoint!r}: expected a URL that begins with https://"
    raise ConfigurationError(msg, hint="http:// is for a service on this machine alone")


def _told(file: BinaryIO, advance: Callable[[int, str], None]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        advance(len(chunk), "")
        yield chunk


def _answer(text: str, timeout: int) -> tuple[str, str]:
    """Return what the service has said, in a few words, and what to do about it."""
    status = re.search(r"status code: (\d{3} [A-Za-z ]+)", text)
    code = re.search(r"<Code>([^<]{1,80})</Code>|\(code: (\w{1,80})\)", text)
    words = ", ".join([*([status[1].strip()] if status else []), *([code[1] or code[2]] if code else [])])
    if re.search(r"\b40[13]\b|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch", words):
        return words, "check the credentials, and what this account may read and write; fedcli access s3 shows how"
    if words:
        return words, "the service has failed; try again later"
    if re.search(r"timed out|kind: Timeout|TimedOut", text):
        return f"no answer for {timeout} s", "try again later; a slow link needs a longer timeout in workspace.toml"
    return _first_line(text), "check the endpoint, the network and the credentials"


def _first_line(text: str) -> str:
    return text.partition("\n")[0].partition("Debug source")[0].strip()[:300]
