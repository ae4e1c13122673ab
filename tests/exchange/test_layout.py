"""Keys of the drop folder: there and back, and never out of it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedcli.exchange import layout
from fedcli.wire import SITE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable

DIGEST = "0123456789abcdef" * 4

SITES = st.from_regex(SITE_PATTERN, fullmatch=True)
NUMBERS = st.integers(0, 9999)
KINDS = st.sampled_from(["local", "federated", "finetuned"])

ESCAPES = [
    "",
    ".",
    "..",
    "../coordinator/round.json",
    "sites/../coordinator/round.json",
    "sites/north/..",
    "sites/./north",
    "sites/.hidden",
    ".hidden/north",
    "/etc/passwd",
    "//host/share",
    "sites//north",
    "sites/north/",
    "sites\\north",
    "..\\north",
    "c:/windows",
    "sites/north:stream",
    "Sites/north",
    "sites/NORTH",
    "sites/nörth",
    "sites/ｎorth",
    "sites/north\n",
    "sites/north\r",
    "sites/nor\nth",
    "sites/north\0",
    "sites/\0/north",
    "sites/no rth",
    "sites/north ",
    " sites/north",
    "~/north",
    "$HOME/north",
    "sites/north?x=1",
    "sites/north#x",
    "sites/%2e%2e/north",
    "sites/-north",
    "sites/_north",
    "sites/north*",
    "sites/north\u202e",
    "sites/٣",
    "a" * 129,
    "sites/" + "a" * 129,
    "/".join("a" * 9),
    "a" * 1_000_000,
    "a/" * 500_000,
]


def all_keys(site: str, number: int, kind: str) -> list[str]:
    """Return one key of every sort of record."""
    return [
        layout.federation(number),
        layout.round_record(number),
        layout.enrolment(site, number),
        layout.update(site, number),
        layout.dataset(site, number),
        layout.model(site, number, kind),
        layout.evaluation(site, number),
    ]


@given(SITES, NUMBERS, KINDS)
def test_every_record_its_signature_and_its_artifact_have_a_key_under_their_partys_prefix(
    site: str, number: int, kind: str
) -> None:
    keys = all_keys(site, number, kind)
    assert len(set(keys)) == len(keys)
    for record in keys:
        prefix = "coordinator/" if record.startswith("coordinator/") else layout.prefix(site)
        for key in (record, layout.signature(record, DIGEST), layout.artifact(record, DIGEST)):
            assert key.startswith(prefix)
            assert layout.is_key(key)


@given(st.lists(st.tuples(SITES, NUMBERS, KINDS), max_size=8))
def test_numbers_and_names_come_back_from_a_listing(written: list[tuple[str, int, str]]) -> None:
    records = [key for site, number, kind in written for key in all_keys(site, number, kind)]
    listing = tuple(
        sorted({key for record in records for key in (record, layout.signature(record, DIGEST), layout.artifact(record, DIGEST))})
    )
    expected = tuple(sorted({number for _, number, _ in written}))
    assert layout.federation_numbers(listing) == expected
    assert layout.round_numbers(listing) == expected
    for site, _, kind in written:
        own = tuple(sorted({number for other, number, _ in written if other == site}))
        own_kind = tuple(sorted({number for other, number, other_kind in written if (other, other_kind) == (site, kind)}))
        assert layout.numbers(listing, f"sites/{site}/enrolment-{{}}.json") == own
        assert layout.numbers(listing, f"sites/{site}/round-{{}}/update.json") == own
        assert layout.numbers(listing, f"sites/{site}/dataset/{{}}.json") == own
        assert layout.numbers(listing, f"sites/{site}/evaluation/{{}}.json") == own
        assert layout.numbers(listing, f"sites/{site}/models/{{}}-{kind}.json") == own_kind


def test_keys_are_those_of_the_design() -> None:
    assert all_keys("site-1", 7, "local") == [
        "coordinator/federation-0007.json",
        "coordinator/round-0007/round.json",
        "sites/site-1/enrolment-0007.json",
        "sites/site-1/round-0007/update.json",
        "sites/site-1/dataset/0007.json",
        "sites/site-1/models/0007-local.json",
        "sites/site-1/evaluation/0007.json",
    ]


@pytest.mark.parametrize(
    ("record", "artifact"),
    [
        ("coordinator/round-0001/round.json", "coordinator/round-0001/global-0123456789ab.safetensors"),
        ("sites/north/round-0001/update.json", "sites/north/round-0001/update-0123456789ab.safetensors"),
        ("sites/north/models/0001-federated.json", "sites/north/models/0001-federated-0123456789ab.safetensors"),
    ],
)
def test_names_of_artifacts_and_signatures(record: str, artifact: str) -> None:
    assert layout.artifact(record, DIGEST) == artifact
    assert layout.signature(record, DIGEST) == f"{record}.0123456789ab.sig"


READERS: list[tuple[Callable[[tuple[str, ...]], tuple[int, ...]], str]] = [
    (layout.federation_numbers, layout.federation(12)),
    (layout.round_numbers, layout.round_record(12)),
    (lambda keys: layout.numbers(keys, "sites/north/dataset/{}.json"), layout.dataset("north", 12)),
    (lambda keys: layout.numbers(keys, "sites/north/models/{}-local.json"), layout.model("north", 12, "local")),
]


@pytest.mark.parametrize(("reader", "key"), READERS)
def test_names_that_only_resemble_a_record_have_no_number(reader: Callable[[tuple[str, ...]], tuple[int, ...]], key: str) -> None:
    assert reader((key,)) == (12,)
    resembling = (
        key + "\n",
        key + ".0123456789ab.sig",
        "x/" + key,
        key.replace("0012", "012"),
        key.replace("0012", "00012"),
        key.replace("0012", "+012"),
        key.replace("0012", "1_23"),
        key.replace("0012", "0x12"),
        key.replace("0012", "٠٠١٢"),
        key.replace("0012", "００１２"),
        key.replace(".json", "xjson"),
        key.upper(),
    )
    assert reader(resembling) == ()


def test_numbers_come_in_ascending_order() -> None:
    assert layout.round_numbers(tuple(map(layout.round_record, (10, 2, 9999, 0)))) == (0, 2, 10, 9999)


@pytest.mark.parametrize(
    "key", ["sites/north", "sites/Not/x", "sites//x", "sites/../x", "site/north/x", "x/sites/north/x", "sites/-n/x"]
)
def test_only_what_is_below_a_sites_folder_is_a_sites(key: str) -> None:
    assert layout.owner(key) == "coordinator"
    assert layout.owner("sites/north/enrolment-0000.json") == "north"
    assert layout.is_site("north")
    assert not any(map(layout.is_site, ("coordinator", "North", "-n", "..", "a/b", "")))


@pytest.mark.parametrize("text", ESCAPES, ids=[repr(text[:20]) for text in ESCAPES])
def test_what_may_escape_is_no_key(text: str) -> None:
    assert not layout.is_key(text)


@pytest.mark.parametrize("text", ["a", "0", "a.b", "a..b", "a-", "a_b/c.", "a" * 128, "/".join("a" * 8)])
def test_plain_lower_case_names_are_keys(text: str) -> None:
    assert layout.is_key(text)


@given(
    st.one_of(
        st.text(max_size=40),
        st.text(st.sampled_from("ab./\\~:%\0\n A0-_"), max_size=20),
        st.lists(st.sampled_from(["..", ".", "", "a", "sites", "~", "C:", "con", "a\n"])).map("/".join),
        st.from_regex(r"[a-z0-9./_-]{1,30}"),
    )
)
@example("a/b")
@example("a/../b")
def test_no_key_leaves_the_folder_on_any_system(text: str) -> None:
    if not layout.is_key(text):
        return
    assert re.search(r"[^a-z0-9._/-]", text) is None
    assert len(text) <= 8 * 129
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(text)
        assert not path.is_absolute()
        assert not path.drive
        assert path.as_posix() == text
        assert not any(part in {"..", "."} or part.startswith((".", "-")) for part in path.parts)


@given(
    st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}(/[a-z0-9][a-z0-9._-]{0,20}){0,7}", fullmatch=True),
    st.integers(0, 200),
    st.text(min_size=1, max_size=1),
)
def test_one_strange_character_anywhere_is_enough_to_refuse(key: str, place: int, character: str) -> None:
    assert layout.is_key(key)
    place = min(place, len(key))
    if re.fullmatch(r"[a-z0-9._/-]", character) is None:
        assert not layout.is_key(key[:place] + character + key[place:])
