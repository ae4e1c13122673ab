"""A masked round without records: what each party would compute, with keys from a fixed stream of random bytes."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedcli import tensors
from fedcli.privacy.masking.mask_keys import pair_mask, self_mask
from fedcli.privacy.masking.masked_delta import masked_blocks
from fedcli.privacy.masking.restored_secrets import restore
from fedcli.privacy.masking.share_boxes import SecretKind, deal, new_secrets, opened_shares
from fedcli.privacy.masking.unmasked_sum import MaskedUpdate, SumFacts, masks_to_remove, new_model_blocks, sums

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from fedcli.privacy.masking.restored_secrets import RestoredSecrets
    from fedcli.privacy.masking.share_boxes import Dealing, RoundCommitments, RoundSecrets
    from fedcli.tensors import Layout

    Arrays = dict[str, NDArray[Any]]

OPENING = hashlib.sha256(b"opening").hexdigest()


def fixed_random(seed: int) -> Callable[[int], bytes]:
    """Return a source of random bytes that is the same in every run."""
    stream = Cipher(algorithms.AES(seed.to_bytes(32)), modes.CTR(bytes(16))).encryptor()
    return lambda count: stream.update(bytes(count))


def data_of(arrays: Arrays) -> io.BytesIO:
    """Return a file of tensors that was read up to its data."""
    layout = tensors.layout_of(arrays)
    return io.BytesIO(b"".join(arrays[tensor.name].tobytes() for tensor in layout.tensors))


def arrays_in(data: bytes) -> Arrays:
    """Return the tensors of a file."""
    file = io.BytesIO(data)
    layout = tensors.read_layout(file)
    return {
        item.name: np.frombuffer(file.read(item.end - item.begin), tensors.NUMPY_DTYPES[item.dtype]).reshape(item.shape)
        for item in layout.tensors
    }


@dataclass(slots=True)
class MaskedRound:
    """One round of K members, all of whom are participants unless `participants` says otherwise.

    Attributes:
        deltas: Each member's.
        weights: Each member's n_k.
    """

    deltas: Mapping[str, Arrays]
    weights: Mapping[str, int]
    participants: Sequence[str] = ()
    seed: int = 0
    secrets: dict[str, RoundSecrets] = field(init=False)
    dealings: dict[str, Dealing] = field(init=False)

    def __post_init__(self) -> None:
        random = fixed_random(self.seed)
        self.participants = self.participants or self.members
        self.secrets = {site: new_secrets(random) for site in self.members}
        self.dealings = {site: deal([self.secrets[site]], len(self.members), random) for site in self.members}

    @property
    def members(self) -> list[str]:
        return sorted(self.deltas)

    @property
    def layout(self) -> Layout:
        return tensors.layout_of(next(iter(self.deltas.values())))

    @property
    def commitments(self) -> dict[str, RoundCommitments]:
        return {site: self.dealings[site].commitments[0] for site in self.participants}

    @property
    def public_keys(self) -> dict[str, bytes]:
        return {site: published.public_key for site, published in self.commitments.items()}

    def masked(self, site: str, *, threads: int = 1) -> bytes:
        """Return a site's masked update."""
        secrets = self.secrets[site]
        masks = [self_mask(secrets.seed, site, OPENING)]
        masks += [
            pair_mask(secrets.private_key, site, peer, self.public_keys[peer], OPENING)
            for peer in self.participants
            if peer != site
        ]
        delta = data_of(self.deltas[site])
        return b"".join(masked_blocks(delta, self.layout, self.weights[site], len(self.members), masks, threads))

    def answers(self, survivors: Collection[str], answering: Collection[str]) -> dict[str, dict[str, bytes]]:
        """Return the shares that members answer with, from their boxes."""
        found: dict[str, dict[str, bytes]] = {}
        for holder in answering:
            position = self.members.index(holder) + 1
            found[holder] = {
                dealer: opened_shares(
                    self.dealings[dealer].boxes[position - 1], dealer, holder, position, self.dealings[dealer].commitments
                )[0].of(self.kinds(survivors)[dealer])
                for dealer in self.participants
            }
        return found

    def kinds(self, survivors: Collection[str]) -> dict[str, SecretKind]:
        return {site: SecretKind.SEED if site in survivors else SecretKind.PRIVATE_KEY for site in self.participants}

    def restored(self, survivors: Collection[str], answering: Collection[str]) -> RestoredSecrets:
        return restore(self.members, self.kinds(survivors), self.commitments, self.answers(survivors, answering))

    def totals(
        self,
        survivors: Sequence[str],
        answering: Collection[str],
        *,
        threads: int = 1,
        updates: Mapping[str, bytes] | None = None,
    ) -> NDArray[np.int64]:
        """Return S, from the survivors' updates in the given order."""
        restored = self.restored(survivors, answering)
        assert restored.complete
        seeds = {site: restored.secrets[site] for site in survivors}
        dropped = {site: secret for site, secret in restored.secrets.items() if site not in survivors}
        masks = masks_to_remove(seeds, dropped, self.public_keys, OPENING)
        streams = [MaskedUpdate(site, io.BytesIO(updates[site] if updates else self.masked(site))) for site in survivors]
        return np.concatenate([total.copy() for total in sums(streams, self.layout, masks, threads)])

    def model(self, base: Arrays, survivors: Sequence[str], totals: NDArray[np.int64]) -> Arrays:
        """Return φ(t)."""
        facts = SumFacts(weight=sum(self.weights[site] for site in survivors), num_updates=len(survivors))
        runs = np.split(totals, [sum(array.size for array in base.values() if array.dtype == np.int64)])
        cut = [run[begin : begin + (1 << 17)] for run in runs for begin in range(0, run.size, 1 << 17)]
        return arrays_in(b"".join(new_model_blocks(data_of(base), self.layout, cut, facts)))
