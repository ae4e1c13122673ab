"""The test vectors of docs/protocol.md, computed twice: by numpy and cryptography from the page's formulas, and by fedcli.

tests/golden/masking.json holds `given` and what follows from it; bytes are hexadecimal. They are the protocol: they never change.
"""

from __future__ import annotations

import hashlib
import io
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedcli import tensors
from fedcli.privacy.masking import shamir
from fedcli.privacy.masking.mask_keys import pair_mask, public_key_of, self_mask
from fedcli.privacy.masking.masked_delta import masked_blocks
from fedcli.privacy.masking.restored_secrets import restore
from fedcli.privacy.masking.share_boxes import RoundSecrets, SecretKind, deal
from fedcli.privacy.masking.unmasked_sum import MaskedUpdate, SumFacts, masks_to_remove, new_model_blocks, sums

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "golden" / "masking.json").read_text(encoding="utf-8"))
GIVEN = VECTORS["given"]
MEMBERS, SITES, OPENING = GIVEN["members"], GIVEN["sites"], GIVEN["opening"]
DROPPED = [site for site in MEMBERS if site not in GIVEN["survivors"]]


class ByThePage:
    """What docs/protocol.md says, without a line of fedcli."""

    prime = 2**256 + 297

    def shares(self, secret: str, coefficients: list[str]) -> list[str]:
        polynomial = [int(secret, 16), *(int(coefficient, 16) for coefficient in coefficients)]
        values = [sum(c * x**power for power, c in enumerate(polynomial)) % self.prime for x in range(1, len(MEMBERS) + 1)]
        return [f"{value:066x}" for value in values]

    def key(self, secret: bytes, *words: str) -> str:
        info = ("[" + ",".join(f'"{word}"' for word in words) + "]").encode()
        return HKDF(algorithm=SHA256(), length=32, salt=bytes.fromhex(OPENING), info=info).derive(secret).hex()

    def public_key(self, site: str) -> bytes:
        return X25519PrivateKey.from_private_bytes(bytes.fromhex(SITES[site]["private_key"])).public_key().public_bytes_raw()

    def pair_key(self, lower: str, higher: str) -> str:
        private = X25519PrivateKey.from_private_bytes(bytes.fromhex(SITES[lower]["private_key"]))
        return self.key(private.exchange(X25519PublicKey.from_public_bytes(self.public_key(higher))), "pair", lower, higher)

    def stream(self, key: str, count: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
        cipher = Cipher(algorithms.AES(bytes.fromhex(key)), modes.CTR(bytes(16))).encryptor()
        return np.frombuffer(cipher.update(bytes(8 * count)), "<u8")

    def masked_update(self, site: str) -> str:
        counts, floats = self.delta(site)
        weight = SITES[site]["weight"]
        quantised = np.concatenate([counts * weight, np.rint(floats.astype(np.float64) * weight * 2**32).astype("<i8")])
        words = quantised.view("<u8") + self.stream(self.key(bytes.fromhex(SITES[site]["seed"]), "self", site), quantised.size)
        for other in MEMBERS:
            if other < site:
                words -= self.stream(self.pair_key(other, site), words.size)
            if other > site:
                words += self.stream(self.pair_key(site, other), words.size)
        header = f'{{"masked_sum":{{"dtype":"I64","shape":[{words.size}],"data_offsets":[0,{8 * words.size}]}}}}'.encode()
        header += b" " * (-len(header) % 8)
        return (len(header).to_bytes(8, "little") + header + words.tobytes()).hex()

    def delta(self, site: str) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.float32]]]:
        return self.numbers(SITES[site]["delta"])

    def numbers(self, data: str) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.float32]]]:
        """Return a file's two tensors: I64 of one element, and F32."""
        raw = bytes.fromhex(data)
        start = 8 + int.from_bytes(raw[:8], "little")
        return np.frombuffer(raw[start : start + 8], "<i8"), np.frombuffer(raw[start + 8 :], "<f4")

    def sum(self, updates: dict[str, str]) -> list[int]:
        survivors = GIVEN["survivors"]
        start = 8 + int.from_bytes(bytes.fromhex(updates[survivors[0]])[:8], "little")
        total = sum(np.frombuffer(bytes.fromhex(updates[site])[start:], "<u8") for site in survivors)
        assert isinstance(total, np.ndarray)
        for site in survivors:
            total = total - self.stream(self.key(bytes.fromhex(SITES[site]["seed"]), "self", site), total.size)
            for gone in DROPPED:
                pair = self.stream(self.pair_key(*sorted((site, gone))), total.size)
                total = total - pair if site < gone else total + pair
        exact: list[int] = total.view("<i8").tolist()
        return exact

    def model(self, total: list[int]) -> str:
        weight = sum(SITES[site]["weight"] for site in GIVEN["survivors"])
        counts, floats = self.numbers(GIVEN["base"])
        steps = np.array(total[1:], np.float64) / (2.0**32 * weight)
        new = (floats.astype(np.float64) + steps).astype("<f4")
        header = bytes.fromhex(GIVEN["base"])[: -4 * floats.size - 8]
        return (header + (counts + total[0] // weight).astype("<i8").tobytes() + new.tobytes()).hex()


def by_the_page() -> dict[str, Any]:
    """Return everything that follows from what is given."""
    page = ByThePage()
    updates = {site: page.masked_update(site) for site in MEMBERS}
    total = page.sum(updates)
    shares = {
        site: {kind: page.shares(SITES[site][kind], SITES[site][f"{kind}_coefficients"]) for kind in ("seed", "private_key")}
        for site in MEMBERS
    }
    pairs = {f"{lower} {higher}": page.pair_key(lower, higher) for lower, higher in combinations(MEMBERS, 2)}
    return {
        "public_keys": {site: page.public_key(site).hex() for site in MEMBERS},
        "seed_digests": {site: hashlib.sha256(bytes.fromhex(SITES[site]["seed"])).hexdigest() for site in MEMBERS},
        "shares": shares,
        "share_digests": {
            site: {
                kind: [hashlib.sha256(bytes.fromhex(share)).hexdigest() for share in of_kind] for kind, of_kind in kinds.items()
            }
            for site, kinds in shares.items()
        },
        "boxes": {
            dealer: {
                holder: shares[dealer]["seed"][place] + shares[dealer]["private_key"][place]
                for place, holder in enumerate(MEMBERS)
            }
            for dealer in MEMBERS
        },
        "self_keys": {site: page.key(bytes.fromhex(SITES[site]["seed"]), "self", site) for site in MEMBERS},
        "pair_keys": pairs,
        "pair_streams": {pair: page.stream(key, 4).tobytes().hex() for pair, key in pairs.items()},
        "masked_updates": updates,
        "sum": total,
        "model": page.model(total),
    }


def test_the_vectors_follow_from_the_page() -> None:
    assert {"given": GIVEN} | by_the_page() == VECTORS


def dealt(site: str) -> Any:
    """Return what a site deals with the given coefficients as its random numbers."""
    given = SITES[site]
    numbers = iter([int(value, 16) for kind in ("seed", "private_key") for value in given[f"{kind}_coefficients"]])
    secrets = RoundSecrets(seed=bytes.fromhex(given["seed"]), private_key=bytes.fromhex(given["private_key"]))
    return deal([secrets], len(MEMBERS), lambda count: next(numbers).to_bytes(count))


def test_fedcli_deals_the_vectors() -> None:
    for site in MEMBERS:
        dealing, digests = dealt(site), VECTORS["share_digests"][site]
        (published,) = dealing.commitments
        assert [box.hex() for box in dealing.boxes] == [VECTORS["boxes"][site][holder] for holder in MEMBERS]
        assert published.public_key.hex() == VECTORS["public_keys"][site]
        assert published.seed_digest.hex() == VECTORS["seed_digests"][site]
        assert [value.hex() for value in published.seed_shares] == digests["seed"]
        assert [value.hex() for value in published.key_shares] == digests["private_key"]


def test_fedcli_masks_the_vectors() -> None:
    for site in MEMBERS:
        given = SITES[site]
        private = bytes.fromhex(given["private_key"])
        own = self_mask(bytes.fromhex(given["seed"]), site, OPENING)
        assert own.key.hex() == VECTORS["self_keys"][site]
        pairs = {}
        for other in MEMBERS:
            if other != site:
                pairs[other] = pair_mask(private, site, other, bytes.fromhex(VECTORS["public_keys"][other]), OPENING)
                assert pairs[other].key.hex() == VECTORS["pair_keys"][" ".join(sorted((site, other)))]
        delta = io.BytesIO(bytes.fromhex(given["delta"]))
        layout = tensors.read_layout(delta)
        blocks = masked_blocks(delta, layout, given["weight"], len(MEMBERS), [own, *pairs.values()])
        assert b"".join(blocks).hex() == VECTORS["masked_updates"][site]


def test_fedcli_sums_the_vectors() -> None:
    """From the survivors' answers alone, which are T shares of each secret."""
    survivors = GIVEN["survivors"]
    assert len(survivors) == shamir.threshold(len(MEMBERS))
    kinds = {site: SecretKind.SEED if site in survivors else SecretKind.PRIVATE_KEY for site in MEMBERS}
    answers = {
        holder: {dealer: bytes.fromhex(VECTORS["shares"][dealer][kind][MEMBERS.index(holder)]) for dealer, kind in kinds.items()}
        for holder in survivors
    }
    restored = restore(MEMBERS, kinds, {site: dealt(site).commitments[0] for site in MEMBERS}, answers)
    assert restored.complete
    seeds = {site: restored.secrets[site] for site in survivors}
    dropped = {site: restored.secrets[site] for site in DROPPED}
    assert {site: public_key_of(key).hex() for site, key in dropped.items()} == {
        site: VECTORS["public_keys"][site] for site in DROPPED
    }
    public_keys = {site: bytes.fromhex(key) for site, key in VECTORS["public_keys"].items()}
    base = io.BytesIO(bytes.fromhex(GIVEN["base"]))
    layout = tensors.read_layout(base)
    updates = [MaskedUpdate(site, io.BytesIO(bytes.fromhex(VECTORS["masked_updates"][site]))) for site in survivors]
    parts = [part.copy() for part in sums(updates, layout, masks_to_remove(seeds, dropped, public_keys, OPENING))]
    assert np.concatenate(parts).tolist() == VECTORS["sum"]
    facts = SumFacts(weight=sum(SITES[site]["weight"] for site in survivors), num_updates=len(survivors))
    assert b"".join(new_model_blocks(base, layout, parts, facts)).hex() == VECTORS["model"]


def test_the_sum_is_that_of_the_deltas() -> None:
    page = ByThePage()
    columns = []
    for site in GIVEN["survivors"]:
        counts, floats = page.delta(site)
        weight = SITES[site]["weight"]
        columns.append([int(counts[0]) * weight, *(round(float(value) * weight * 2**32) for value in floats)])
    assert [sum(column) for column in zip(*columns, strict=True)] == VECTORS["sum"]
