"""The plan: all its sections together, and its file."""

from __future__ import annotations

from dataclasses import field
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli import toml_file, wire
from fedcli.plan.about import About
from fedcli.plan.choices import Encoding, Normalisation, Packing, Part, Statistics, Unit
from fedcli.plan.confidentiality import Confidentiality
from fedcli.plan.federation import MAX_CLASSES, MAX_ROUNDS, Aggregation, ClassName, Evaluation, Limits, Updates
from fedcli.plan.patient_privacy import PatientPrivacy, conflicts
from fedcli.plan.recipe import Augmentation, Finetuning, Images, Network, Split, Training
from fedcli.plan.tree import Tree, tree_conflicts
from fedcli.wire import STRICT, Digest, ShortText, absent_means

if TYPE_CHECKING:
    from pathlib import Path

MAX_BATCH_PIXELS = 1 << 26


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Preparation:
    """The settings that decide what `prepare` writes; prepared data contain their digest."""

    classes: tuple[str, ...]
    images: Images
    split: Split
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Plan:
    """Everything that the parties of a federation agree on.

    Attributes:
        name: Name of the federation.
        seed: Seeds the split, the initial weights and every random choice of training.
        rounds: T of Algorithm 1.
        classes: The categories in their order; the kappa is always over all of them.
        unit: What is scored as one case.
        allow_empty: Parts (validation, test) that may be empty at a site.
    """

    name: ShortText
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)] = 300
    classes: Annotated[tuple[ClassName, ...], Field(min_length=2, max_length=MAX_CLASSES, fail_fast=True)] = ("a", "b", "c", "d")
    unit: Unit = Unit.PATIENT
    allow_empty: Annotated[tuple[Part, ...], Field(max_length=2, fail_fast=True)] = ()
    images: Images = field(default_factory=Images)
    split: Split = field(default_factory=Split)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)
    augmentation: Augmentation = field(default_factory=Augmentation)
    finetuning: Finetuning = field(default_factory=Finetuning)
    updates: Updates = field(default_factory=Updates)
    aggregation: Aggregation = field(default_factory=Aggregation)
    evaluation: Evaluation = field(default_factory=Evaluation)
    limits: Limits = field(default_factory=Limits)
    confidentiality: Annotated[Confidentiality, absent_means(Confidentiality(sealing=False))] = field(
        default_factory=Confidentiality
    )
    privacy: Annotated[PatientPrivacy, absent_means(PatientPrivacy())] = field(default_factory=PatientPrivacy)
    tree: Annotated[Tree, absent_means(Tree())] = field(default_factory=Tree)
    about: Annotated[About, absent_means(About())] = field(default_factory=About)

    @model_validator(mode="after")
    def _is_consistent(self) -> Plan:
        if len(set(self.classes)) != len(self.classes):
            msg = f"classes must differ from one another, found {', '.join(self.classes)}"
            raise ValueError(msg)
        if unknown := [name for name in self.evaluation.dense if name not in self.classes]:
            msg = f"evaluation.dense may name classes of the plan ({', '.join(self.classes)}), found {', '.join(unknown)}"
            raise ValueError(msg)
        if Part.TRAIN in self.allow_empty:
            msg = "allow_empty may name validation and test, but not train: a site needs training images"
            raise ValueError(msg)
        if self.training.batch_size * self.images.size**2 > MAX_BATCH_PIXELS:
            msg = f"training.batch_size × images.size² must be at most {MAX_BATCH_PIXELS} pixels"
            raise ValueError(msg)
        if (steps := self.training.epochs * self.training.steps) > self.limits.steps:
            msg = f"training.epochs × training.steps must be at most limits.steps, {self.limits.steps}, found {steps}"
            raise ValueError(msg)
        if self.network.normalisation is Normalisation.GROUP and self.training.statistics is not Statistics.AVERAGE:
            msg = 'training.statistics needs BatchNorm, which network.normalisation = "group" replaces'
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _masking_is_possible(self) -> Plan:
        """Refuse what needs a single update's numbers, and what would leave masked files to outsiders."""
        limits, updates = self.limits, self.updates
        if not self.aggregation.masking:
            return self
        if limits.limit_norms:
            msg = (
                f"aggregation.masking needs limits.norm = 0 and limits.norm_median = 0, found {limits.norm:g} and "
                f"{limits.norm_median:g}: nobody knows the norm of a masked update"
            )
            raise ValueError(msg)
        if (updates.encoding, updates.packing) != (Encoding.FLOAT32, Packing.NONE):
            msg = (
                f'aggregation.masking needs updates.encoding = "float32" and updates.packing = "none", found {updates.encoding} '
                f"and {updates.packing}: masked numbers have 64 bits each, and look random"
            )
            raise ValueError(msg)
        if not self.confidentiality.sealing:
            msg = (
                "aggregation.masking needs confidentiality.sealing = true: sealing keeps the masked files from outsiders, for "
                "whom a later quantum computer could compute the masks"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _fits_into_its_tree(self) -> Plan:
        if reasons := tuple(tree_conflicts(self)):
            raise ValueError("; ".join(reasons))
        return self

    @model_validator(mode="after")
    def _keeps_its_promise(self) -> Plan:
        if reasons := tuple(conflicts(self)):
            msg = f'privacy.mechanism = "{self.privacy.mechanism}" cannot be combined with {"; nor with ".join(reasons)}'
            raise ValueError(msg)
        images = self.privacy.images_per_patient * self.privacy.augmentations
        if self.privacy.promised and images * self.images.size**2 > MAX_BATCH_PIXELS:
            msg = f"privacy.images_per_patient × privacy.augmentations × images.size² must be at most {MAX_BATCH_PIXELS} pixels"
            raise ValueError(msg)
        return self

    @property
    def preparation(self) -> Preparation:
        """The settings of `prepare`."""
        return Preparation(classes=self.classes, images=self.images, split=self.split, seed=self.seed)

    @property
    def digest(self) -> Digest:
        """SHA-256 of the plan's canonical form, which a site's operator approves."""
        return wire.digest(self)


def template() -> str:
    """Return the commented plan with every setting at its default."""
    return files("fedcli.plan").joinpath("template.toml").read_text(encoding="utf-8")


def load(path: Path) -> Plan:
    """Read and validate a plan.

    Raises:
        ConfigurationError: The file is missing, is not TOML, or has unknown keys, wrong types or values out of range; the message
            names every key with its line and what is allowed.
    """
    return toml_file.load(Plan, path, hint="fedcli init --template prints a plan with every setting explained")
