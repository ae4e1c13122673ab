"""The noise: normal, independent, from its key alone, and fast enough."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from scipy import stats

from fedcli.privacy.noise import SecretStream, round_to_grid

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def normal(num: int, *, key: bytes = KEY, step: int = 0, purpose: str = "noise", threads: int = 1) -> np.ndarray:
    values = np.zeros(num)
    SecretStream(key, purpose).add_normal(values, step, 1.0, threads=threads)
    return values


def test_a_value_is_half_the_sum_of_four_draws_of_its_own_blocks() -> None:
    number, step = 12_345, 7
    key = HKDF(SHA256(), 32, salt=None, info=b"fedcli noise").derive(KEY)
    counter = (step << 64) + 4 * number
    stream = Cipher(algorithms.AES(key), modes.CTR(counter.to_bytes(16, "big"))).encryptor().update(bytes(64))
    words = [int.from_bytes(stream[begin : begin + 8], "little") for begin in range(0, 64, 8)]
    draws = [
        math.sqrt(-2 * math.log((first + 1) / 2**64)) * math.cos(2 * math.pi * second / 2**64)
        for first, second in zip(words[::2], words[1::2], strict=True)
    ]
    assert normal(20_000, step=step)[number] == pytest.approx(sum(draws) / 2, abs=1e-14)


def test_ten_million_draws_are_normal_and_independent() -> None:
    num = 10_000_000
    values = normal(num, threads=2)
    assert abs(values.mean()) < 4 / math.sqrt(num)
    assert abs(values.var() - 1) < 4 * math.sqrt(2 / num)
    assert abs((values**4).mean() - 3) < 4 * math.sqrt(96 / num)
    assert 5 < np.abs(values).max() < 7
    counts = np.bincount(np.minimum(stats.norm.cdf(values) * 1000, 999).astype(np.int64), minlength=1000)
    assert stats.chisquare(counts).pvalue > 1e-3
    for lag in (1, 2, 3, 4, 8, 1 << 13, 1 << 20):  # neighbours share blocks of no stream; a piece has 2^13 values
        assert abs((values[:-lag] * values[lag:]).mean()) < 4 / math.sqrt(num - lag), lag
        assert abs((values[:-lag] ** 2 * values[lag:] ** 2).mean() - 1) < 4 * math.sqrt(8 / num), lag


def test_steps_keys_and_purposes_are_independent() -> None:
    num = 1_000_000
    series = [normal(num), normal(num, step=1), normal(num, key=OTHER), normal(num, purpose="sampling")]
    correlations = np.corrcoef(series) - np.eye(len(series))
    assert np.abs(correlations).max() < 4.5 / math.sqrt(num)


def test_the_same_key_and_step_give_the_same_noise_with_any_number_of_threads() -> None:
    assert normal(100_001).tobytes() == normal(100_001, threads=2).tobytes() == normal(200_000)[:100_001].tobytes()


def test_noise_is_added_to_what_is_there() -> None:
    values = np.arange(5.0)
    SecretStream(KEY, "noise").add_normal(values, 3, 0.25)
    assert np.allclose(values - np.arange(5.0), normal(5, step=3) * 0.25, atol=1e-15)


def test_sampling_takes_each_patient_at_the_rate_and_independently() -> None:
    stream, patients, steps, rate = SecretStream(KEY, "sampling"), 40, 20_000, 0.15
    taken = np.zeros((steps, patients))
    for step in range(steps):
        taken[step, stream.sample(step, patients, rate)] = 1
    expected = steps * rate
    per_patient = ((taken.sum(axis=0) - expected) ** 2 / (expected * (1 - rate))).sum()
    assert stats.chi2.sf(per_patient, patients) > 1e-3
    sizes = np.bincount(taken.sum(axis=1).astype(np.int64), minlength=patients + 1)
    shares = stats.binom.pmf(np.arange(patients + 1), patients, rate) * steps
    kept = shares > 5
    rest = (sizes[~kept].sum(), shares[~kept].sum())
    assert stats.chisquare([*sizes[kept], rest[0]], [*shares[kept], rest[1]]).pvalue > 1e-3
    correlations = np.corrcoef(taken.T) - np.eye(patients)
    assert np.abs(correlations).max() < 5 / math.sqrt(steps)


def test_everybody_or_nobody_is_taken_at_the_ends() -> None:
    stream = SecretStream(KEY, "sampling")
    assert stream.sample(0, 1000, 1.0).tolist() == list(range(1000))
    assert stream.sample(0, 1000, 1e-18).tolist() == []


def test_seeds_differ_by_patient_step_and_purpose() -> None:
    streams = [SecretStream(KEY, purpose) for purpose in ("augmentation", "network")]
    seeds = {stream.seed(step, number) for stream in streams for step in range(20) for number in range(50)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("deviation", [1.0, 0.3, 17.0, 1e-6])
def test_the_grid_is_the_largest_power_of_two_that_is_fine_enough(deviation: float) -> None:
    values = normal(1000) * deviation
    rounded = values.copy()
    round_to_grid(rounded, deviation)
    fraction, exponent = math.frexp(np.abs(np.diff(np.unique(rounded))).min())
    spacing = 2.0 ** math.floor(math.log2(deviation * 2**-20))
    assert spacing <= deviation * 2**-20 < 2 * spacing
    assert math.ldexp(fraction, exponent) >= spacing
    assert np.array_equal(rounded / spacing, np.rint(values / spacing))


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a key has 32 bytes, got 16"):
        SecretStream(bytes(16), "noise")
