"""A drop folder in an object store: S3 and services with its protocol, Google Cloud Storage, Azure Blob Storage.

Records are created by one conditional put, which the service refuses if the key is taken; artifacts are streamed in parts and
appear when the last one has arrived. S3 checks a SHA-256 of every part. Credentials come from where the provider's own tools
look: environment, profile, instance role.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError

from fedcli.disk import CHUNK_BYTES
from fedcli.errors import ConflictError, MissingError, StoreError, UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.store.base import check_size, checked_key, new_file, prove_create_once, removable_key, write_received
from fedcli.exchange.store.listing import Listing, too_many
from fedcli.exchange.store.object_service import first_line, open_service, proxy_of
from fedcli.exchange.store.read_ahead import LONGEST, ReadAhead
from fedcli.progress import BYTES, Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from fedcli.disk import Measured
    from fedcli.exchange.store.base import StoreOptions
    from fedcli.progress import Progress

_PART = 8 << 20
_PARTS_AT_ONCE = 4
_READS_AT_ONCE = 16
_KEYS_AT_ONCE = 1000
_DENIED = ("AccessDenied", "AuthorizationPermissionMismatch")
"""What S3 and Google, and Azure, answer to a known account that may not read an object."""
_EXPIRED = ("ExpiredToken", "TokenRefreshRequired", "RequestExpired")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")


class ObjectStore:
    """A bucket, or the part of it under a prefix: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix."""

    def __init__(self, address: str, options: StoreOptions, progress: Progress | None = None) -> None:
        self._address = address
        self._options = options
        self._service = open_service(address, options)
        self._proxy = proxy_of(address, options)
        self._progress = progress or Silent()
        self._ahead = ReadAhead(self._read_ahead)

    @property
    def address(self) -> str:
        """The URL."""
        return self._address

    def put_artifact(self, key: str, source: Path) -> None:
        """Upload a file; see `Store`."""
        checked_key(key)
        try:
            size = source.stat().st_size
            with (
                source.open("rb") as file,
                self._explained(key),
                self._progress.track(f"sending {key.rpartition('/')[2]}", size, BYTES) as advance,
            ):
                if size > _PART:
                    parts = _chunks(file, advance)
                    obstore.put(self._service, key, parts, chunk_size=_PART, max_concurrency=_PARTS_AT_ONCE)
                else:
                    obstore.put(self._service, key, file.read(), use_multipart=False)
        except OSError as error:
            msg = f"{key}: {source}: {error.strerror}"
            raise StoreError(msg) from error

    def remove_artifact(self, key: str) -> None:
        """Remove an object; see `Store`."""
        self._remove(removable_key(key))

    def publish(self, key: str, data: bytes) -> None:
        """Create a record once; see `Store`."""
        checked_key(key)
        with self._explained(key):
            try:
                obstore.put(self._service, key, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                present = obstore.get(self._service, key)
                if present.meta["size"] != len(data) or bytes(present.bytes()) != data:
                    msg = f"{key}: already published with other content"
                    raise ConflictError(msg) from None

    def fetch(self, key: str, target: Path, limit: int) -> Measured:
        """Download an object, hashing what is written; see `Store`."""
        with self._explained(key, reading=True):
            answer = obstore.get(self._service, checked_key(key))
            size = answer.meta["size"]
            check_size(key, size, limit)
            with (
                new_file(target) as copy,
                self._progress.track(f"fetching {key.rpartition('/')[2]}", size, BYTES) as advance,
            ):
                chunks = (bytes(chunk) for chunk in answer.stream(min_chunk_size=CHUNK_BYTES))
                return write_received(key, chunks, copy, limit, advance)

    def read(self, key: str, limit: int) -> bytes:
        """Read a small object; see `Store`."""
        if (ahead := self._ahead.read(key)) is not None:
            check_size(key, len(ahead), limit)
            return ahead
        with self._explained(key, reading=True):
            answer = obstore.get(self._service, checked_key(key))
            check_size(key, answer.meta["size"], limit)
            data = bytes(answer.bytes())
        check_size(key, len(data), limit)
        return data

    def read_soon(self, keys: Sequence[str]) -> None:
        """Read small files, many at once; see `Store`."""
        self._ahead.fetch(keys)

    def list(self, prefix: str) -> tuple[str, ...]:
        """List keys; see `Store`."""
        listing = self._list(prefix, None)
        self._ahead.listed({prefix: listing})
        return listing.complete(self._address)

    def list_each(self, prefixes: Sequence[str], limit: int, *, from_round: int = 0) -> dict[str, Listing]:
        """List keys below several prefixes, several at a time; see `Store`."""
        with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
            listings = dict(zip(prefixes, pool.map(lambda prefix: self._list(prefix, limit, from_round), prefixes), strict=True))
        self._ahead.listed(listings)
        return listings

    def names(self, prefix: str, limit: int) -> tuple[str, ...]:
        """List folders, of which the service names a thousand at a time; see `Store`."""
        with self._explained(prefix):
            below = obstore.list_with_delimiter(self._service, checked_key(prefix.rstrip("/")))["common_prefixes"]
        names = (path.rstrip("/").rpartition("/")[2] for path in below)
        return tuple(sorted(filter(layout.is_key, names)))[: limit + 1]

    def _list(self, prefix: str, limit: int | None, from_round: int = 0) -> Listing:
        """List page by page, a thousand keys each, until there are enough."""
        top = checked_key(prefix.rstrip("/")) if prefix else None
        paths: list[str] = []
        faults: list[str] = []
        try:
            with self._explained(prefix, reading=True):
                for page in self._pages(top, from_round):
                    paths.extend(path for path in page if not layout.is_before(path, from_round))
                    if limit is not None and len(paths) > limit:
                        faults = [too_many(prefix, limit)]
                        break
        except UnreadableError:
            faults = [f"{top or 'the drop folder'}: access denied"]
        return Listing.of((key for key in paths[:limit] if layout.is_key(key) and key.startswith(prefix)), faults)

    def _pages(self, top: str | None, from_round: int) -> Iterator[tuple[str, ...]]:
        """Yield the keys page by page; after a page that ends in an earlier round, go on at `from_round`."""
        offset: str | None = None
        while True:
            for page in obstore.list(self._service, top, offset=offset, chunk_size=_KEYS_AT_ONCE):
                paths = tuple(item["path"] for item in page)
                yield paths
                if offset is None and len(paths) == _KEYS_AT_ONCE and layout.is_before(paths[-1], from_round):
                    offset = f"{top}/round-{from_round - 1:04d}/~"  # after all keys there; a folder's name would skip the folder
                    break
            else:
                return

    def stat(self, key: str) -> int | None:
        """Return an object's size; see `Store`."""
        try:
            with self._explained(key, reading=True):
                try:
                    return obstore.head(self._service, checked_key(key))["size"]
                except PermissionDeniedError:  # the answer to a HEAD has no text; the one to a GET says why
                    return obstore.get(self._service, key).meta["size"]
        except MissingError:
            return None

    def rights(self, key: str) -> None:
        """Return None; see `Store`."""
        del key

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
            if failures:  # a silent service is not asked again
                return None
            try:
                answer = obstore.get(self._service, checked_key(key))
                return bytes(answer.bytes()) if answer.meta["size"] <= LONGEST else None
            except (FileNotFoundError, PermissionDeniedError):  # whoever needs it reads it by itself, and is told why
                return None
            except BaseError as error:
                failures.append(error)
                return None

        with ThreadPoolExecutor(min(len(keys), _READS_AT_ONCE)) as pool:
            contents = list(pool.map(read, keys))
        if failures:
            with self._explained(keys[0], reading=True):
                raise failures[0]
        return {key: data for key, data in zip(keys, contents, strict=True) if data is not None}

    @contextmanager
    def _explained(self, key: str, *, reading: bool = False) -> Iterator[None]:
        """Turn the service's errors into the store's; a key that is read may be missing, or not be for this account."""
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            text = str(error)
            if any(sign in text for sign in _NO_BUCKET):
                msg = f"{self._address}: there is no such bucket"
                raise StoreError(msg, hint="check the address; create a bucket with the provider's own tools") from error
            if isinstance(error, FileNotFoundError):
                msg = f"{key}: not in the drop folder {self._address}"
                raise MissingError(msg) from error
            what, hint = _answer(text, self._options.timeout, self._proxy)
            msg = f"{key or 'list'}: {what}, from the drop folder {self._address}"
            denied = reading and isinstance(error, PermissionDeniedError) and any(code in what for code in _DENIED)
            raise (UnreadableError if denied else StoreError)(msg, hint=hint) from error


def _chunks(file: BinaryIO, advance: Callable[[int, str], None]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        advance(len(chunk), "")
        yield chunk


def _answer(text: str, timeout: int, proxy: str) -> tuple[str, str]:
    """Return the service's answer, or the proxy's, in a few words, and what to do about it."""
    status = re.search(r"status code: (\d{3} [A-Za-z ]+)", text)
    code = re.search(r"<Code>([^<]{1,80})</Code>|\(code: (\w{1,80})\)", text)
    words = ", ".join([*([status[1].strip()] if status else []), *([code[1] or code[2]] if code else [])])
    if any(sign in words for sign in _EXPIRED):
        return words, "the credentials have expired: renew them, and run the same command again; it goes on where it stopped"
    if re.search(r"\b40[13]\b|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch", words):
        return words, "check the credentials, and what this account may read and write; fedcli access s3 shows how"
    through = f", through the proxy {proxy}" if proxy and not code else ""
    if words:
        hint = "log in to the proxy: http://user:password@host:port" if "407" in words else "the service failed; try again later"
        return words + through, hint
    if re.search(r"timed out|kind: Timeout|TimedOut", text):
        return f"no answer for {timeout} s{through}", "try again later; a slow link needs a longer timeout in workspace.toml"
    hint = "check the endpoint, the network and the credentials"
    if proxy:
        hint = "check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY in the environment, the endpoint and the network"
    return first_line(text) + through, hint
