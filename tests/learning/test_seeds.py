"""Seeds from words."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from fedcli.learning.seeds import derive_seed


def test_seed_is_pinned() -> None:
    digest = hashlib.sha256(b"1:0,10:site-north,2:12,").digest()
    assert derive_seed(0, "site-north", 12) == int.from_bytes(digest[:8], "big") // 2


@given(st.lists(st.text()), st.lists(st.text()))
def test_other_words_give_another_seed(first: list[str], second: list[str]) -> None:
    assert (derive_seed(*first) == derive_seed(*second)) == (first == second)
    assert 0 <= derive_seed(*first) < 2**63


def test_where_words_end_matters() -> None:
    assert derive_seed("ab", "c") != derive_seed("a", "bc")
