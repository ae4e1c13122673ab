"""A site's privacy budget: what its updates have cost the patients that train, and whether another round fits.

Every update is charged in privacy.json of the workspace before it is put into the outbox. This site's updates in the drop
folder that are not in there, because the workspace was lost or a second machine made them, are charged as their records say.
Updates that were rejected, came late, were not published after a review, or were given up by a restart count like all others. A
training that was resumed ends with the same update, and is charged once; one that began again has other noise, and is another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli.errors import ApprovalError, ConfigurationError, TrustError, UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.records import PrivacyClaim
from fedcli.exchange.records.record import Ordinal
from fedcli.learning.training.mechanism import Mechanism
from fedcli.plan.patient_privacy import steps_per_epoch
from fedcli.privacy.accountant import MOST_NOISE, PrivateSteps, accountant_name, epsilon, least_noise
from fedcli.privacy.noise import training_of
from fedcli.text.wording import counted
from fedcli.wire import STRICT, Digest

if TYPE_CHECKING:
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import UpdateRecord
    from fedcli.party.party import Party
    from fedcli.plan import Plan

CHARGES = "privacy.json"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Charge:
    """One update.

    Attributes:
        round: Its round.
        training: Names the training that made it (`training_of`).
        record: Digest of its record.
        cost: Its steps.
    """

    round: Ordinal
    training: Digest
    record: Digest
    cost: PrivateSteps


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Charges:
    """The content of privacy.json.

    Attributes:
        patients: N₀, the number of training patients that the site has declared.
        charges: Every update that was put into the outbox.
    """

    patients: Annotated[int, Field(ge=1, le=10_000_000)]
    charges: tuple[Charge, ...] = ()


class PrivacyBudget:
    """The budget of a site for one round.

    Args:
        party: The site.
        plan: The plan in force, which promises privacy.
        number: The round.

    Attributes:
        patients: N₀.
        cost: What the round costs.

    Raises:
        ConfigurationError: The site has not declared its number of training patients, or has declared another one before.
        UsageError: dp-accounting is not installed.
    """

    def __init__(self, party: Party, plan: Plan, number: int) -> None:
        self._party, self._plan, self._number = party, plan, number
        self._accountant = accountant_name()
        saved = party.workspace.load(Charges, CHARGES)
        published = _own_updates(party, {charge.round for charge in saved.charges} if saved else set())
        self.patients = _declared(party, plan, saved, published)
        self._charges = saved or Charges(patients=self.patients)
        known = {charge.record for charge in self._charges.charges}
        self._others = tuple(
            item.record.privacy.cost for item in published if item.digest not in known and item.record.privacy is not None
        )
        steps = plan.training.epochs * steps_per_epoch(plan, self.patients)
        self.cost = PrivateSteps(sampling_rate=self.mechanism.sampling_rate, noise=plan.privacy.noise, steps=steps)

    @property
    def mechanism(self) -> Mechanism:
        """How the round trains."""
        return Mechanism.planned(self._plan.privacy, self.patients)

    def claim(self, key: bytes) -> PrivacyClaim:
        """Return what the round's update states of its cost, if the budget has room for it.

        Args:
            key: Of the training that is resumed; empty if it begins.

        Raises:
            ApprovalError: It has none; the message says how many rounds would fit with which noise.
        """
        resumed = training_of(key) if key else None
        spent = [charge.cost for charge in self._charges.charges if charge.training != resumed] + [*self._others]
        settings = self._plan.privacy
        before, after = epsilon(spent, settings.delta), epsilon([*spent, self.cost], settings.delta)
        if after > settings.epsilon:
            raise self._exhausted(spent, before, after)
        return PrivacyClaim(
            patients=self.patients,
            batch=settings.batch,
            sampling_rate=self.cost.sampling_rate,
            noise=settings.noise,
            clipping=settings.clipping,
            steps=self.cost.steps,
            delta=settings.delta,
            epsilon_before=before,
            epsilon=after,
            accountant=self._accountant,
        )

    def charge(self, training: str, record: str) -> None:
        """Charge an update that is about to be put into the outbox: it counts from now on, whatever becomes of it."""
        charge = Charge(round=self._number, training=training, record=record, cost=self.cost)
        others = tuple(item for item in self._charges.charges if item.training != training)
        self._charges = replace(self._charges, charges=(*others, charge))
        self._party.workspace.save(CHARGES, self._charges)

    def _exhausted(self, spent: list[PrivateSteps], before: float, after: float) -> ApprovalError:
        settings, name = self._plan.privacy, self._party.name
        rounds = self._plan.rounds - self._number + 1
        enough = least_noise(
            self.cost.sampling_rate,
            self.cost.steps * rounds,
            epsilon=settings.epsilon,
            delta=settings.delta,
            spent=spent,
        )
        remain = f"0 rounds remain at noise {settings.noise:g}; " + (
            f"with any noise up to {MOST_NOISE:g} fewer remain than the plan's {rounds}"
            if enough is None
            else f"the plan's {counted(rounds, 'round')} would fit with noise {enough:.3f}"
        )
        msg = (
            f"{name}: round {self._number} is not trained: it would bring epsilon from {before:.3g} to {after:.3g}, expected at "
            f"most {settings.epsilon:g} at delta {settings.delta:g}; {remain}"
        )
        hint = "the coordinator leaves this site out (`aggregate --without`), or amends the plan, which you then approve"
        return ApprovalError(msg, hint=hint)


def _own_updates(party: Party, charged: set[int]) -> tuple[Verified[UpdateRecord], ...]:
    """Return this site's updates in the drop folder, used or not.

    Raises:
        TrustError: One that is not charged here does not verify, or is missing.
        UnreadableError: It cannot be read, or the folder cannot be listed.
    """
    keys = party.folder.list_parties(party.name)[party.name].complete(party.store.address)
    updates = []
    for number in layout.numbers(keys, f"{layout.prefix(party.name)}round-{{}}/update.json"):
        try:
            update = party.folder.update(party.name, number) if number <= party.ledger.newest_round + 1 else None
        except (TrustError, UnreadableError):
            if number not in charged:
                raise
            continue
        if update is not None:
            updates.append(update)
    _require_known(party, charged | {update.record.round for update in updates})
    return tuple(updates)


def _require_known(party: Party, known: set[int]) -> None:
    """Raise a TrustError if a round record names an update of this site that neither the workspace nor the folder knows."""
    rounds, name = party.ledger.rounds, party.name
    if known.issuperset(range(1, len(rounds))):
        return
    named = {closed.record.round for closed in rounds if name in closed.record.named}
    named |= {late.round for closed in rounds for late in closed.record.late if late.site == name}
    if unknown := sorted(named - known):
        msg = (
            f"{layout.update(name, unknown[0])} is missing: round records name it, and {CHARGES} of the workspace does not know "
            "what it cost"
        )
        raise TrustError(msg, hint=f"restore the drop folder, or {CHARGES} from a backup; nothing is trained until then")


def _declared(party: Party, plan: Plan, saved: Charges | None, published: tuple[Verified[UpdateRecord], ...]) -> int:
    """Return N₀, which sampling rate, steps and divisor follow from: once declared, it stays."""
    claims = [item.record.privacy.patients for item in published if item.record.privacy is not None]
    before = saved.patients if saved else next(iter(claims), 0)
    now, name = party.workspace.settings.declared_patients, party.name
    settings, key = plan.privacy, "declared_patients in workspace.toml"
    if not (patients := before or now):
        msg = f"{name}: the plan promises privacy, and this site has not declared its number of training patients"
        raise ConfigurationError(msg, hint=f"set {key} to about that number: it becomes public, and cannot be changed later")
    if now and now != patients:
        msg = f"{name}: {key} is {now}, expected {patients}, which this site's updates state"
        raise ConfigurationError(msg, hint="set it back; what has been spent was counted with that number")
    if patients < settings.batch:
        msg = f"{name}: {key} is {patients}, expected at least {settings.batch}, the plan's privacy.batch"
        raise ConfigurationError(msg, hint="the coordinator amends the plan, or this site does not train")
    if settings.delta * patients >= 1:
        msg = f"{name}: the plan's privacy.delta is {settings.delta:g}, expected below 1 / {patients}, this site's patients"
        raise ConfigurationError(msg, hint="a delta this large permits publishing one patient's images; a tenth of it is usual")
    return patients
