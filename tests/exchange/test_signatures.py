"""Signatures: OpenSSH takes ours, we take OpenSSH's, and one record has one signature a key, byte for byte."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcli.errors import ConfigurationError, TrustError
from fedcli.exchange import signatures
from fedcli.exchange.keys import load_signer
from fedcli.exchange.signatures import MAX_SIGNATURE_BYTES, NAMESPACE, Signer, VerifyKey, verify

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from _pytest.mark.structures import ParameterSet

ORDER = 2**252 + 27742317777372353535851937790883648493
"""The order of Ed25519's base point (RFC 8032)."""

RECORD = b'{\n "schema": "fedcli-update@1",\n "steps": 717\n}\n'
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = Signer(KEY)
OTHER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(32)))
SIGNATURE = SIGNER.sign(RECORD)


@pytest.fixture
def accepted_by_openssh(
    tmp_path: Path, ssh_keygen: Callable[..., subprocess.CompletedProcess[bytes]]
) -> Callable[[bytes, bytes], bool]:
    """Return a function that asks ssh-keygen whether SIGNER signed a record, as an auditor would."""
    (tmp_path / "allowed_signers").write_text(signatures.allowed_signers([("north", SIGNER.verify_key)]), encoding="utf-8")

    def ask(signature: bytes, data: bytes, identity: str = "north", namespace: str = NAMESPACE) -> bool:
        (tmp_path / "record.sig").write_bytes(signature)
        finished = ssh_keygen(
            "-Y", "verify", "-f", tmp_path / "allowed_signers", "-I", identity, "-n", namespace, "-s", tmp_path / "record.sig",
            data=data, check=False,
        )  # fmt: skip
        return finished.returncode == 0

    return ask


def refused(signature: bytes, data: bytes = RECORD, allowed: tuple[VerifyKey, ...] = (SIGNER.verify_key,)) -> str:
    with pytest.raises(TrustError) as caught:
        verify(signature, data, allowed)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------- OpenSSH and we agree


@pytest.mark.parametrize("data", [b"", RECORD, b"\0\xff" * 100_000], ids=["empty", "record", "large"])
def test_openssh_accepts_our_signatures(accepted_by_openssh: Callable[..., bool], data: bytes) -> None:
    assert accepted_by_openssh(SIGNER.sign(data), data)
    assert not accepted_by_openssh(SIGNER.sign(data), data + b" ")
    assert not accepted_by_openssh(OTHER.sign(data), data)


def test_the_allowed_signers_file_binds_name_and_namespace(accepted_by_openssh: Callable[..., bool]) -> None:
    assert not accepted_by_openssh(SIGNATURE, RECORD, identity="south")
    assert not accepted_by_openssh(SIGNER.sign(RECORD, "file"), RECORD, namespace="file")
    assert accepted_by_openssh(SIGNATURE, RECORD)


def test_an_allowed_signers_file_may_list_many_names_and_keys(
    tmp_path: Path, ssh_keygen: Callable[..., subprocess.CompletedProcess[bytes]]
) -> None:
    allowed = [("coordinator", OTHER.verify_key), ("north", SIGNER.verify_key), ("north", OTHER.verify_key)]
    (tmp_path / "allowed").write_text(signatures.allowed_signers(allowed), encoding="utf-8")
    accepted = set()
    for signer in (SIGNER, OTHER):
        (tmp_path / "sig").write_bytes(signer.sign(RECORD))
        for name in ("coordinator", "north", "south"):
            arguments = ("-Y", "verify", "-f", tmp_path / "allowed", "-I", name, "-n", NAMESPACE, "-s", tmp_path / "sig")
            if ssh_keygen(*arguments, data=RECORD, check=False).returncode == 0:
                accepted.add((name, signer.verify_key))
    assert accepted == set(allowed)


@pytest.mark.parametrize("data", [b"", RECORD])
def test_we_accept_openssh_signatures_and_make_the_same_bytes(
    tmp_path: Path, keys: Path, ssh_keygen: Callable[..., object], data: bytes
) -> None:
    (tmp_path / "record").write_bytes(data)
    ssh_keygen("-q", "-Y", "sign", "-n", NAMESPACE, "-f", keys / "ed25519", tmp_path / "record")
    signature = (tmp_path / "record.sig").read_bytes()
    key = VerifyKey.parse((keys / "ed25519.pub").read_text(encoding="utf-8"))
    assert verify(signature, data, [OTHER.verify_key, key]) == key
    assert load_signer(keys / "ed25519", str).sign(data) == signature


def test_openssh_signatures_by_other_kinds_of_keys_are_refused(
    tmp_path: Path, keys: Path, ssh_keygen: Callable[..., object]
) -> None:
    for kind in ("rsa", "ecdsa"):
        (tmp_path / kind).write_bytes(RECORD)
        ssh_keygen("-q", "-Y", "sign", "-n", NAMESPACE, "-f", keys / kind, tmp_path / kind)
        refused((tmp_path / f"{kind}.sig").read_bytes())


# -------------------------------------------------------------------------------------------------------- malleability


def text_of(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def blob_of(signature: bytes) -> bytes:
    return base64.b64decode(b"".join(signature.split(b"\n")[1:-2]))


def armour(blob: bytes, line: int = 70) -> bytes:
    """Armour a blob as OpenSSH does, or with lines of another length."""
    text = base64.b64encode(blob)
    lines = [text[start : start + line] + b"\n" for start in range(0, len(text), line)]
    return b"-----BEGIN SSH SIGNATURE-----\n" + b"".join(lines) + b"-----END SSH SIGNATURE-----\n"


def blob(
    raw: bytes,
    *,
    version: int = 1,
    namespace: str = NAMESPACE,
    reserved: bytes = b"",
    hash_name: bytes = b"sha512",
    algorithm: bytes = b"ssh-ed25519",
    public: bytes = SIGNER.verify_key.raw,
) -> bytes:
    """Write OpenSSH's PROTOCOL.sshsig down once more, with every field open to change."""
    fields = (
        text_of(b"ssh-ed25519") + text_of(public),
        namespace.encode(),
        reserved,
        hash_name,
        text_of(algorithm) + text_of(raw),
    )
    return b"SSHSIG" + version.to_bytes(4, "big") + b"".join(map(text_of, fields))


def raw_signature(data: bytes = RECORD, namespace: str = NAMESPACE, hash_name: str = "sha512") -> bytes:
    digest = hashlib.new(hash_name, data).digest()
    signed = b"SSHSIG" + b"".join(map(text_of, (namespace.encode(), b"", hash_name.encode(), digest)))
    return KEY.sign(signed)


def with_order_added(raw: bytes) -> bytes:
    """Return the signature (R, S + L), which proves the same where a verifier does not insist on S < L."""
    return raw[:32] + (int.from_bytes(raw[32:], "little") + ORDER).to_bytes(32, "little")


def case(name: str, signature: bytes) -> ParameterSet:
    return pytest.param(signature, id=name)


TAKEN_BY_OPENSSH = [
    case("CRLF after the first line", SIGNATURE.replace(b"\n", b"\r\n").replace(b"-----\r\n", b"-----\n", 1)),
    case("CRLF at the end alone", SIGNATURE[:-1] + b"\r\n"),
    case("one long line", armour(blob_of(SIGNATURE), line=10_000)),
    case("lines of 76", armour(blob_of(SIGNATURE), line=76)),
    case("lines of 1", armour(blob_of(SIGNATURE), line=1)),
    case("empty line", SIGNATURE.replace(b"-----\n", b"-----\n\n", 1)),
    case("space within", SIGNATURE.replace(b"-----\nU1NIU0lH", b"-----\nU1NI U0lH")),
    case("tab within", SIGNATURE.replace(b"-----\nU1NIU0lH", b"-----\nU1NI\tU0lH")),
    case("space at the end of a line", SIGNATURE.replace(b"\n-----END", b" \n-----END")),
    case("text behind", SIGNATURE + b"and more\n"),
    case("a second signature behind", SIGNATURE * 2),
    case("newline behind", SIGNATURE + b"\n"),
    case("no newline at the end", SIGNATURE[:-1]),
    case("zero byte behind", SIGNATURE + b"\0"),
    case("reserved field in use", armour(blob(raw_signature(), reserved=b"anything"))),
    case("SHA-256", armour(blob(raw_signature(hash_name="sha256"), hash_name=b"sha256"))),
    case("S + L", armour(blob(with_order_added(raw_signature())))),
]

WRONG = [
    case("empty", b""),
    case("CRLF", SIGNATURE.replace(b"\n", b"\r\n")),
    case("text in front", b"more\n" + SIGNATURE),
    case("space in front", b" " + SIGNATURE),
    case("byte order mark", b"\xef\xbb\xbf" + SIGNATURE),
    case("no armour", blob_of(SIGNATURE)),
    case("no end", SIGNATURE.removesuffix(b"-----END SSH SIGNATURE-----\n")),
    case("other label", SIGNATURE.replace(b"SSH SIGNATURE", b"PGP SIGNATURE")),
    case("padding within", SIGNATURE.replace(b"-----\nU1NI", b"-----\nU1N=")),
    case("byte behind in the blob", armour(blob_of(SIGNATURE) + b"\0")),
    case("string behind in the blob", armour(blob_of(SIGNATURE) + text_of(b""))),
    case("cut blob", armour(blob_of(SIGNATURE)[:-1])),
    case("nothing in the blob", armour(b"")),
    case("magic alone", armour(b"SSHSIG\0\0\0\1")),
    case("other magic", armour(blob_of(SIGNATURE).replace(b"SSHSIG", b"SSHSIH"))),
    case("version 0", armour(blob(raw_signature(), version=0))),
    case("version 2", armour(blob(raw_signature(), version=2))),
    case("unknown hash", armour(blob(raw_signature(), hash_name=b"sha1"))),
    case("other algorithm", armour(blob(raw_signature(), algorithm=b"ssh-rsa"))),
    case("short signature", armour(blob(raw_signature()[:-1]))),
    case("long signature", armour(blob(raw_signature() + b"\0"))),
    case("empty signature", armour(blob(b""))),
    case("short key", armour(blob(raw_signature(), public=SIGNER.verify_key.raw[:-1]))),
    case("long key", armour(blob(raw_signature(), public=b"\0" + SIGNER.verify_key.raw))),
    case("another namespace in the armour", armour(blob(raw_signature(namespace="file")))),
    case("another record's", SIGNER.sign(RECORD + b"\n")),
    case("namespace not UTF-8", armour(blob_of(SIGNATURE).replace(b"fedcli-record@v1", b"fedcli-record@v\xff"))),
    case("not ASCII", SIGNATURE.replace(b"U1NI", "U1NÏ".encode())),
]


def test_the_canonical_signature_is_taken(accepted_by_openssh: Callable[..., bool]) -> None:
    assert armour(blob(raw_signature())) == armour(blob_of(SIGNATURE)) == SIGNATURE
    assert verify(SIGNATURE, RECORD, [SIGNER.verify_key]) == SIGNER.verify_key
    assert accepted_by_openssh(SIGNATURE, RECORD)


@pytest.mark.parametrize("signature", TAKEN_BY_OPENSSH + WRONG)
def test_any_other_signature_is_refused(signature: bytes) -> None:
    assert signature != SIGNATURE
    refused(signature)


@pytest.mark.parametrize("signature", TAKEN_BY_OPENSSH)
def test_openssh_itself_is_laxer(accepted_by_openssh: Callable[..., bool], signature: bytes) -> None:
    assert accepted_by_openssh(signature, RECORD)


def test_every_flipped_bit_of_a_signature_is_noticed() -> None:
    for position in range(len(SIGNATURE) * 8):
        flipped = bytearray(SIGNATURE)
        flipped[position // 8] ^= 1 << position % 8
        refused(bytes(flipped))


def test_every_flipped_bit_within_the_blob_is_noticed() -> None:
    whole = blob_of(SIGNATURE)
    for position in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << position % 8
        refused(armour(bytes(flipped)))


def test_every_flipped_bit_of_a_record_is_noticed() -> None:
    for position in range(len(RECORD) * 8):
        flipped = bytearray(RECORD)
        flipped[position // 8] ^= 1 << position % 8
        assert refused(SIGNATURE, bytes(flipped)) == "the signature does not match the bytes"


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_any_bytes_are_no_signature(data: bytes) -> None:
    refused(data)
    refused(armour(data))


@given(st.binary(max_size=100), st.binary(min_size=32, max_size=32))
@settings(max_examples=50)
def test_what_a_key_signs_it_alone_has_signed(data: bytes, seed: bytes) -> None:
    signer = Signer(Ed25519PrivateKey.from_private_bytes(seed))
    assert verify(signer.sign(data), data, [SIGNER.verify_key, signer.verify_key]) == signer.verify_key
    assert signer.sign(data) == signer.sign(data)


# ------------------------------------------------------------------------------------------------------------ messages


def test_a_signature_of_another_namespace_is_refused_by_name() -> None:
    message = refused(SIGNER.sign(RECORD, "file"))
    assert message == "the signature is for namespace 'file', expected 'fedcli-record@v1'"
    assert verify(SIGNER.sign(RECORD, "file"), RECORD, [SIGNER.verify_key], "file") == SIGNER.verify_key


def test_a_signature_by_another_key_is_refused_with_both_fingerprints() -> None:
    mine, other = SIGNER.verify_key.fingerprint, OTHER.verify_key.fingerprint
    assert refused(OTHER.sign(RECORD)) == f"signed by the key {other}, expected {mine}"
    assert refused(SIGNATURE, allowed=()) == f"signed by the key {mine}, expected none"


def test_a_long_signature_is_refused_before_it_is_parsed() -> None:
    filler = armour(b"\0" * 1400)
    longest = filler + b"\n" * (MAX_SIGNATURE_BYTES - len(filler))
    assert len(longest) == MAX_SIGNATURE_BYTES
    assert "expected at most" not in refused(longest)
    assert refused(longest + b"\n") == "the signature has 2049 bytes, expected at most 2048"


# ------------------------------------------------------------------------------------------------------------- public keys


def test_fingerprint_and_line_are_those_of_openssh(
    keys: Path, ssh_keygen: Callable[..., subprocess.CompletedProcess[bytes]]
) -> None:
    text = (keys / "ed25519.pub").read_text(encoding="utf-8")
    key = VerifyKey.parse(text)
    printed = ssh_keygen("-l", "-f", keys / "ed25519.pub").stdout.decode()
    assert printed == f"256 {key.fingerprint} a ed25519 key (ED25519)\n"
    assert text == f"{key.line} a ed25519 key\n"


@given(st.binary(min_size=32, max_size=32))
def test_a_public_key_comes_back_as_it_was(raw: bytes) -> None:
    key = VerifyKey(raw)
    assert VerifyKey.parse(key.line) == VerifyKey.parse(f"{key.line} a comment\n") == key


def test_public_keys_of_other_kinds_are_refused(keys: Path) -> None:
    for kind in ("rsa", "ecdsa"):
        with pytest.raises(ConfigurationError, match="not an ssh-ed25519 public key") as caught:
            VerifyKey.parse((keys / f"{kind}.pub").read_text(encoding="utf-8"))
        assert "ssh-keygen -t ed25519" in caught.value.hint
    with pytest.raises(ConfigurationError, match="BEGIN OPENSSH PRIVATE KEY"):
        VerifyKey.parse((keys / "ed25519").read_text(encoding="utf-8"))


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "ssh-ed25519",
        "ssh-ed25519 ",
        "ssh-ed25519 !!!!",
        "ssh-ed25519 ünicode",
        SIGNER.verify_key.line.replace("ssh-ed25519 ", "ssh-ed448 "),
        SIGNER.verify_key.line.replace("ssh-ed25519 ", ""),
        f'namespaces="file" {SIGNER.verify_key.line}',
        SIGNER.verify_key.line[:-4],
        f"ssh-ed25519 {encoded(SIGNER.verify_key.blob + bytes(1))}",
        f"ssh-ed25519 {encoded(SIGNER.verify_key.blob[:-1])}",
        f"ssh-ed25519 {encoded(SIGNER.verify_key.raw)}",
        f"ssh-ed25519 {encoded(SIGNER.verify_key.blob.replace(b'ed25519', b'ed25518'))}",
        f"ssh-ed25519 {encoded(text_of(b'ssh-ed25519') + text_of(b'x' * 31))}",
    ],
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not an ssh-ed25519 public key"):
        VerifyKey.parse(text)
