"""Hidden characters: all of them are known, none is left, and JSON means the same."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcli.text.visible_text import hidden, visible, visible_json

ANY = st.text(st.characters(exclude_categories=()) | st.sampled_from("\x1b\x07\n\r\u202e\u2066\u200b\x9b\udce9"))


def test_all_that_unicode_calls_control_format_separator_or_surrogate_is_hidden() -> None:
    every = map(chr, range(sys.maxunicode + 1))
    assert [
        hex(ord(one)) for one in every if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and not hidden(one)
    ] == []


@pytest.mark.parametrize("text", ["north", "Zoë, κ 0.61 − 3 °", "乳房密度", "צפון", "👩", "\u202f", "\u00a0"])
def test_what_people_write_stays(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\u202eb", r"a\u202eb"),
        ("\U000e0041", r"\U000e0041"),
        ("caf\udce9", r"caf\udce9"),
        ("a\nb", r"a\x0ab"),
    ],
)
def test_hidden_characters_are_shown_by_their_code(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(ANY)
def test_nothing_hidden_is_left(text: str) -> None:
    assert hidden(visible(text)) is None
    assert visible(visible(text)) == visible(text)
    assert hidden(visible(text, keep="\n").replace("\n", "")) is None


@given(ANY)
def test_json_means_the_same(text: str) -> None:
    shown = visible_json(json.dumps({"text": text}, ensure_ascii=False))
    assert hidden(shown) is None
    assert json.loads(shown) == {"text": text}
