"""Which updates are too long, by the norms that a round record states."""

from __future__ import annotations

from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from fedcli.plan import Limits
from fedcli.plan.norm_limits import too_long

NORMS = st.dictionaries(st.sampled_from("abcdefghi"), st.floats(0, 1e6), max_size=9)
LIMITS = Limits(norm=10.0, norm_median=3.0)


@given(NORMS, st.floats(0, 1e5))
def test_the_rule_is_the_protocols(norms: dict[str, float], base: float) -> None:
    for_the_model = {site for site, norm in norms.items() if norm > 10 * base > 0}
    rest = {site: norm for site, norm in norms.items() if site not in for_the_model}
    others = {site: median([norm for name, norm in rest.items() if name != site]) for site in rest if len(rest) >= 5}
    for_the_others = {site for site, middle in others.items() if rest[site] > 3 * middle > 0}
    assert too_long(LIMITS, norms, base).keys() == for_the_model | for_the_others


def test_the_reasons_state_the_limit_and_what_it_is_measured_by() -> None:
    prefix = "the norm of its trained weights is"
    norms = {"a": 1.0, "b": 1.5, "c": 2.0, "d": 2.5, "e": 9.0, "f": 31.0}
    assert too_long(LIMITS, norms, 3.0) == {
        "e": f"{prefix} 9, expected at most 3 times the others' median, which is 1.75 (limits.norm_median)",
        "f": f"{prefix} 31, expected at most 10 times the model's, which is 3 (limits.norm)",
    }


@given(NORMS, st.floats(0, 1e5))
def test_without_limits_nothing_is_too_long(norms: dict[str, float], base: float) -> None:
    assert too_long(Limits(norm=0.0, norm_median=0.0), norms, base) == {}
