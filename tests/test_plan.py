"""The plan: its template, its bounds, and what a person is told about a faulty file."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import tomllib
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from fedcli import plan as plans
from fedcli import toml_file, wire
from fedcli.errors import ConfigurationError
from fedcli.plan import (
    MAX_BATCH_PIXELS,
    Aggregation,
    Auditor,
    Confidentiality,
    Evaluation,
    Images,
    Limits,
    Network,
    Normalisation,
    Part,
    PatientPrivacy,
    Plan,
    Protection,
    Sampling,
    Split,
    Statistics,
    Training,
)
from fedcli.plan.settings import flat_settings, plan_changes
from fedcli.wire import STRICT, ShortText

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# ------------------------------------------------------------------------------------------------------------- template


def settings_of(kind: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Walk the settings of a data class and of those within it."""
    hints = get_type_hints(kind)
    for item in fields(kind):
        if is_dataclass(hints[item.name]):
            yield from settings_of(hints[item.name], (*prefix, item.name))
        else:
            yield (*prefix, item.name)


def keys_of(mapping: dict[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in mapping.items():
        if isinstance(value, dict):
            yield from keys_of(value, (*prefix, key))
        else:
            yield (*prefix, key)


def test_the_template_is_the_plan_of_defaults(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(plans.template(), encoding="utf-8")
    assert plans.load(path) == Plan(name="breast-density")


def test_the_template_names_every_setting_once_and_in_order() -> None:
    assert list(keys_of(tomllib.loads(plans.template()))) == list(settings_of(Plan))


def comments() -> dict[str, str]:
    """Return the comment behind every setting of the template, by the setting's name."""
    lines = [line for line in plans.template().splitlines() if " = " in line and not line.startswith("#")]
    return {
        ".".join(place): line.partition(" # ")[2] for place, line in zip(settings_of(Plan), lines, strict=True)
    }  # fmt: skip


def test_the_template_says_of_every_setting_whose_value_it_is() -> None:
    for name, comment in comments().items():
        assert name == "name" or comment.startswith(("[paper]", "[ours] ")), name


def test_the_template_names_every_choice() -> None:
    values = {name: value_at(Plan(name="a"), tuple(name.split("."))) for name in comments()}
    choices = {name: value for name, value in values.items() if isinstance(value, StrEnum)}
    assert len(choices) > 10
    for name, value in choices.items():
        assert all(f'"{choice}"' in comments()[name] for choice in type(value) if choice is not value), name


def test_the_template_names_the_bounds_of_every_number() -> None:
    for name, bounds in NUMBERS.items():
        numbers = set(map(float, re.findall(r"\d+(?:\.\d+)?", comments()[name])))
        assert name.startswith("split.") or set(bounds) <= numbers, name


def test_the_defaults_are_the_papers() -> None:
    plan = Plan(name="a")
    assert (plan.rounds, plan.images.size, plan.network.name) == (300, 224, "densenet121")
    assert (plan.training.batch_size, plan.training.rate, plan.training.epochs) == (32, 1e-4, 1)
    assert (plan.split.train, plan.split.validation, plan.split.test) == (0.7, 0.1, 0.2)
    assert plan.augmentation.rotation == 45
    assert len(plan.classes) == 4


# --------------------------------------------------------------------------------------------------------------- bounds


def limits_of(metadata: tuple[Any, ...], *names: str) -> list[Any]:
    """Return the values that constraints in an Annotated type (those in pydantic's Field among them) give to any of `names`."""
    constraints = [part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else (item,))]
    return [value for item in constraints for name in names if (value := getattr(item, name, None)) is not None]


def within(kind: Any, place: str, metadata: tuple[Any, ...]) -> Iterator[tuple[Any, str, tuple[Any, ...]]]:
    """Yield the types that a type is made of, each with its place and its constraints."""
    if get_origin(kind) is Annotated:
        inner, *outer = get_args(kind)
        yield inner, place, (*outer, *metadata)
    elif get_origin(kind) in {Union, UnionType}:
        yield from ((item, place, metadata) for item in get_args(kind))
    elif get_origin(kind) is tuple:
        yield from ((item, f"{place}[]", ()) for item in get_args(kind) if item is not Ellipsis)
    elif is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        yield from ((hints[item.name], f"{place}.{item.name}", ()) for item in fields(kind))


def is_bounded(kind: Any, metadata: tuple[Any, ...]) -> bool:
    """Tell whether a type, looked at from outside, cannot be arbitrarily large; one that this test does not know is not."""
    if kind in {int, float}:
        return all(any(map(math.isfinite, limits_of(metadata, *side))) for side in (("ge", "gt"), ("le", "lt")))
    if kind is str:
        return bool(limits_of(metadata, "max_length", "pattern"))
    if get_origin(kind) is tuple:
        return get_args(kind)[-1] is not Ellipsis or bool(limits_of(metadata, "max_length"))
    return kind in {bool, type(None)} or hasattr(kind, "__members__") or any(True for _ in within(kind, "", ()))


def unbounded(kind: Any, place: str, metadata: tuple[Any, ...] = ()) -> Iterator[str]:
    """Yield the places in a type at which a number, a text or a tuple may be arbitrarily large."""
    if not is_bounded(kind, metadata):
        yield place
    for inner in within(kind, place, metadata):
        yield from unbounded(*inner)


def test_every_number_text_and_list_of_the_plan_is_bounded() -> None:
    assert list(unbounded(Plan, "plan")) == []


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Careless:
    """What the walk must object to, and what not."""

    bare: int
    below: Annotated[int, Field(ge=0)]
    above: Annotated[float, Field(lt=1)]
    endless: Annotated[float, Field(ge=0, le=math.inf)]
    perhaps: Annotated[int, Field(le=1)] | None
    many: tuple[Annotated[int, Field(ge=0, le=1)], ...]
    some: Annotated[tuple[int, ...], Field(max_length=3)]
    text: str
    mapping: dict[str, int]
    fine: Annotated[int, Field(ge=0, le=1)]
    pair: tuple[Annotated[int, Field(ge=0, le=1)], ShortText]
    flag: bool


def test_the_walk_objects_to_what_is_unbounded() -> None:
    assert list(unbounded(Careless, "it")) == [
        "it.bare", "it.below", "it.above", "it.endless", "it.perhaps", "it.many", "it.some[]", "it.text", "it.mapping",
    ]  # fmt: skip


NUMBERS = {
    "seed": (0, 2**31 - 1),
    "rounds": (1, 9999),
    "images.size": (16, 1024),
    "split.train": (0.0, 1.0),
    "split.validation": (0.0, 1.0),
    "split.test": (0.0, 1.0),
    "training.batch_size": (1, 4096),
    "training.epochs": (1, 100),
    "training.steps": (0, 1_000_000),
    "training.label_smoothing": (0.0, 1.0),
    "training.rate": (0.0, 1.0),
    "training.rate_decay": (0.0, 1.0),
    "training.rate_step": (1, 9999),
    "training.weight_decay": (0.0, 1.0),
    "training.clip_gradient": (0.0, 100_000.0),
    "training.proximal": (0.0, 1000.0),
    "augmentation.rotation": (0.0, 180.0),
    "augmentation.intensity_shift": (0.0, 1.0),
    "finetuning.epochs": (1, 1000),
    "finetuning.rate": (0.0, 1.0),
    "aggregation.clip_norm": (0.0, 100_000.0),
    "aggregation.server_rate": (0.0, 100.0),
    "aggregation.momentum": (0.0, 1.0),
    "aggregation.beta1": (0.0, 1.0),
    "aggregation.beta2": (0.0, 1.0),
    "aggregation.tau": (0.0, 1.0),
    "aggregation.averaged_rounds": (2, 20),
    "aggregation.trim": (0, 4999),
    "aggregation.byzantine": (0, 4999),
    "aggregation.keep": (1, 10_000),
    "aggregation.quorum": (0, 10_000),
    "aggregation.deadline_hours": (0.0, 8760.0),
    "evaluation.resamples": (100, 100_000),
    "evaluation.permutations": (100, 1_000_000),
    "evaluation.min_cell": (0, 1000),
    "evaluation.other_sites": (0, 10_000),
    "evaluation.noninferiority_margin": (0.0, 1.0),
    "limits.steps": (1, 2**29 - 1),
    "limits.model_mb": (1, 100_000),
    "limits.norm": (0.0, 100_000.0),
    "limits.norm_median": (0.0, 100_000.0),
    "privacy.epsilon": (0.01, 200.0),
    "privacy.delta": (0.0, 0.1),
    "privacy.noise": (0.2, 1000.0),
    "privacy.clipping": (0.0, 100_000.0),
    "privacy.batch": (1, 1_000_000),
    "privacy.images_per_patient": (1, 64),
    "privacy.augmentations": (1, 64),
    "privacy.momentum": (0.0, 1.0),
}


def test_the_bounds_below_are_those_of_all_numbers() -> None:
    numbers = {place for place in settings_of(Plan) if type(value_at(Plan(name="a"), place)) in {int, float}}
    assert {".".join(place) for place in numbers} == NUMBERS.keys()


def value_at(value: Any, place: tuple[str, ...]) -> Any:
    for name in place:
        value = getattr(value, name)
    return value


@pytest.mark.parametrize(("key", "bounds"), NUMBERS.items(), ids=NUMBERS)
def test_a_number_out_of_bounds_is_refused_with_key_file_line_and_what_is_allowed(
    tmp_path: Path, key: str, bounds: tuple[float, float]
) -> None:
    lowest, highest = bounds
    step = 1 if isinstance(lowest, int) else 1e-6
    for value, word, bound in ((lowest - step, "greater", lowest), (highest + step, "less", highest)):
        message = refusal(tmp_path, f'name = "a"\n\n{key} = {value:{"d" if step == 1 else "f"}}\n')
        assert message.startswith(f"{tmp_path / 'plan.toml'}, line 3: {key}: should be {word} than")
        assert f" {bound:g} " in message or f" {bound} " in message
        assert "(found " in message


# ------------------------------------------------------------------------------------------------------- what is refused


def refusal(folder: Path, text: str | bytes) -> str:
    """Return the message that a faulty plan leads to."""
    path = folder / "plan.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as caught:
        plans.load(path)
    assert "fedcli init --template" in caught.value.hint
    assert str(path) in str(caught.value)
    return str(caught.value)


PRIVATE = 'name = "a"\n[privacy]\nmechanism = "patient-dp-sgd"'
_IMAGES_KEYS = (
    "(allowed here: size, aspect, intensity, presentation, tomosynthesis, frames, views, modified_views, modalities, sex, age, "
    "differing, exams, crop, orientation, reference)"
)


@pytest.mark.parametrize(
    ("text", "line", "key", "allowed"),
    [
        ('name = "a"\nround = 3', 2, "round", "unknown key round; did you mean rounds? (allowed here: name, seed, rounds, "),
        ('name = "a"\n[images]\nsise = 3', 3, "images.sise", f"did you mean size? {_IMAGES_KEYS}"),
        ('name = "a"\nimages.sise = 3', 2, "images.sise", _IMAGES_KEYS),
        ('name = "a"\nimages = { size = 64, zzz = 3 }', 2, "images.zzz", _IMAGES_KEYS),
        ('name = "a"\n\n[trainings]\nrate = 1', 3, "trainings", "did you mean training?"),
        ('name = "a"\nrounds = "3"', 2, "rounds", "should be a valid integer (found '3')"),
        ('name = "a"\nrounds = 3.0', 2, "rounds", "should be a valid integer (found 3.0)"),
        ('name = "a"\nrounds = true', 2, "rounds", "should be a valid integer (found True)"),
        ("name = 3", 1, "name", "should be a valid string (found 3)"),
        ('name = ""', 1, "name", "at least 1 character"),
        ('name = "a"\nunit = "image"', 2, "unit", "should be 'patient' or 'study' (found 'image')"),
        ('name = "a"\nallow_empty = ["tests"]', 2, "allow_empty", "should be 'train', 'validation' or 'test'"),
        ('name = "a"\nallow_empty = ["train"]', 2, "allow_empty", "allow_empty may name validation and test"),
        ('name = "a"\nclasses = ["a"]', 2, "classes", "at least 2 items"),
        ('name = "a"\nclasses = ["a", "b", ""]', 2, "classes", "at least 1 character"),
        ('name = "a"\nclasses = ["a", "b", "a"]', 2, "classes", "classes must differ from one another, found a, b, a"),
        ('name = "a"\n[augmentation]\nflip_vertical = 1', 3, "augmentation.flip_vertical", "should be a valid boolean (found 1)"),
        ('name = "a"\n[network]\nname = "../net"', 3, "network.name", "should match pattern"),
        ('name = "a"\n[training]\nrate = nan', 3, "training.rate", "should be a finite number (found nan)"),
        ('name = "a"\n[training]\nrate = -inf', 3, "training.rate", "should be a finite number (found -inf)"),
        ('name = "a"\nseed = inf', 2, "seed", "should be a valid integer (found inf)"),
        ('name = "a"\nseed = 9223372036854775808', 2, "seed", "should be less than or equal to 2147483647"),
        (f'name = "a"\nseed = 0x{"f" * 9000}', 2, "seed", "should be a number of at most 64 bits"),
        ("name = 2024-01-02", 1, "name", "should not be a date or time; text must be in quotes (found 2024-01-02)"),
        ('name = "a"\nseed = 2024-01-02T03:04:05Z', 2, "seed", "should not be a date or time"),
        ('name = "a"\n[training]\nrate = 03:04:05', 3, "training.rate", "should not be a date or time"),
        ('name = "a"\nimages = 3', 2, "images", "should be an object (found 3)"),
        ('name = "a"\n[[images]]\nsize = 64', 2, "images", "should be an object"),
        ('name = "a"\n[split]\ntrain = 0.8', 2, "split", "train + validation + test must be 1, found 1.1"),
        ('name = "a"\n[aggregation]\nquorum = 2', 2, "aggregation", "quorum and deadline_hours go together"),
        ('name = "a"\n[aggregation]\ndeadline_hours = 2', 2, "aggregation", "quorum and deadline_hours go together"),
        (
            'name = "a"\n[aggregation]\nrule = "krum"\nbyzantine = 2\nquorum = 6\ndeadline_hours = 2', 2, "aggregation",
            "quorum must be at least 7, the updates that krum needs, found 6",
        ),
        (
            'name = "a"\n[aggregation]\nrule = "trimmed-mean"\ntrim = 3\nquorum = 6\ndeadline_hours = 2', 2, "aggregation",
            "quorum must be at least 7, the updates that trimmed-mean needs, found 6",
        ),
        ('name = "a"\n[updates]\nencoding = "int4"', 3, "updates.encoding", "should be 'float32', 'bfloat16' or 'int8'"),
        ('name = "a"\n[updates]\npacking = "gzip"', 3, "updates.packing", "should be 'none' or 'zstd'"),
        ('name = "a"\n[aggregation]\nrule = "mode"', 3, "aggregation.rule", "should be 'mean', 'momentum', 'adam'"),
        (PRIVATE, 3, "privacy", 'cannot be combined with network.normalisation = "batch": BatchNorm mixes the patients'),
        (PRIVATE, 3, "privacy", 'nor with training.sampling = "balanced": each patient is drawn independently'),
        (f'{PRIVATE}\n[training]\nclass_weights = "inverse-frequency"', 3, "privacy", "all patients' labels are in them"),
        (f"{PRIVATE}\n[training]\nclip_gradient = 2.0", 3, "privacy", "training.clip_gradient = 2: each patient's gradient"),
        (f'{PRIVATE}\n[aggregation]\nweights = "images"', 3, "privacy", 'aggregation.weights = "images": the numbers of images'),
        ("", 0, "name", "this key is missing"),
        ('[network]\nname = "small"', 0, "name", "this key is missing"),
    ],
)  # fmt: skip
def test_a_faulty_setting_is_named_with_file_line_and_what_is_allowed(
    tmp_path: Path, text: str, line: int, key: str, allowed: str
) -> None:
    message = refusal(tmp_path, text)
    where = f"{tmp_path / 'plan.toml'}, line {line}: " if line else f"{tmp_path / 'plan.toml'}: "
    assert message.startswith(where)
    assert key in message.removeprefix(where)
    assert allowed in message
    assert "\n" not in message


def test_every_fault_has_a_line_of_its_own(tmp_path: Path) -> None:
    message = refusal(tmp_path, '# a plan\nname = "a"\nrounds = 0\n[training]\nepochs = 0\n\n[images]\nsise = 1\n')
    assert sorted(re.findall(r"line (\d+): (unknown key \S+|[a-z._]+)", message)) == [
        ("3", "rounds"),
        ("5", "training.epochs"),
        ("8", "unknown key images.sise;"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "name",
        'name = "a"\nname = "b"',
        'name = "a"\n[images]\n[images]',
        'name = "a',
        "{}",
        "\0",
        "a = " + "[" * 100_000,
        f'name = "a"\nseed = {"9" * 5000}',
        b"\xff\xfe",
        b'name = "\xff"',
    ],
)
def test_what_is_not_toml_is_refused(tmp_path: Path, text: str | bytes) -> None:
    assert refusal(tmp_path, text).startswith(f"{tmp_path / 'plan.toml'}: not a TOML file: ")


@pytest.mark.parametrize("text", ["a." * 5000 + "a = 1", f"seed = {'[' * 250}{']' * 250}", f"seed = {'{a=' * 250}1{'}' * 250}"])
def test_deep_toml_is_refused(tmp_path: Path, text: str) -> None:
    refusal(tmp_path, f'name = "a"\n{text}')


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml: cannot be read: No such file"):
        plans.load(tmp_path / "none.toml")
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        plans.load(tmp_path)


def test_an_over_large_file_is_refused(tmp_path: Path) -> None:
    plan = 'name = "a"\n'
    full = plan + "#" * (toml_file.MAX_BYTES - len(plan))
    path = tmp_path / "plan.toml"
    path.write_text(full, encoding="utf-8")
    assert plans.load(path) == Plan(name="a")
    assert f"more than the {toml_file.MAX_BYTES} bytes" in refusal(tmp_path, full + "#")


@given(st.text(st.characters(codec="utf-8"), max_size=60))
@settings(max_examples=60)
def test_no_text_behind_a_plan_breaks_more_than_the_plan(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any-plan.toml"
    path.write_bytes(f'name = "a"\n{text}'.encode())
    try:
        plan = plans.load(path)
    except ConfigurationError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right; a crash is not
    else:
        assert plan.name == "a"


# --------------------------------------------------------------------------------------------------------- what hangs together


@pytest.mark.parametrize(("batch_size", "size"), [(64, 1024), (256, 512), (4096, 128), (1, 1024)])
def test_the_largest_batches_are_taken(batch_size: int, size: int) -> None:
    assert batch_size * size**2 <= MAX_BATCH_PIXELS
    Plan(name="a", images=Images(size=size), training=Training(batch_size=batch_size))


@pytest.mark.parametrize(("batch_size", "size"), [(65, 1024), (257, 512), (4096, 129), (4096, 1024)])
def test_a_batch_of_too_many_pixels_is_refused(batch_size: int, size: int) -> None:
    with pytest.raises(ValidationError, match=r"batch_size × images\.size²"):
        Plan(name="a", images=Images(size=size), training=Training(batch_size=batch_size))


def test_steps_of_a_round_are_within_what_the_coordinator_takes() -> None:
    limits = Limits(steps=600)
    assert Plan(name="a", training=Training(steps=300, epochs=2), limits=limits).training.steps == 300
    with pytest.raises(ValidationError, match=r"at most limits\.steps, 600, found 602"):
        Plan(name="a", training=Training(steps=301, epochs=2), limits=limits)


@pytest.mark.parametrize("statistics", [Statistics.LOCAL, Statistics.RECALIBRATE])
def test_statistics_need_batch_norm(statistics: Statistics) -> None:
    training = Training(statistics=statistics)
    assert Plan(name="a", training=training).training.statistics is statistics
    with pytest.raises(ValidationError, match="needs BatchNorm"):
        Plan(name="a", training=training, network=Network(normalisation=Normalisation.GROUP))


def test_fractions_that_do_not_sum_exactly_in_binary_are_taken() -> None:
    assert Split(train=0.7, validation=0.2, test=0.1).test == 0.1
    with pytest.raises(ValidationError, match="must be 1"):
        Split(train=0.7, validation=0.2, test=0.1 + 1e-8)


def test_a_quorum_with_a_deadline_is_taken() -> None:
    assert Aggregation(quorum=3, deadline_hours=0.5).quorum == 3


def test_a_site_may_lack_two_parts_and_no_more() -> None:
    assert Plan(name="a", allow_empty=(Part.VALIDATION, Part.TEST)).allow_empty == (Part.VALIDATION, Part.TEST)
    with pytest.raises(ValidationError, match="at most 2 items"):
        Plan(name="a", allow_empty=(Part.VALIDATION, Part.TEST, Part.TEST))


@pytest.mark.parametrize(
    ("round_number", "rate"), [(1, 1e-4), (100, 1e-4), (101, 5e-5), (200, 5e-5), (201, 2.5e-5), (300, 2.5e-5)]
)
def test_the_rate_decays_by_steps_of_the_global_round(round_number: int, rate: float) -> None:
    assert Training().rate_in(round_number) == rate


def test_the_rate_follows_the_plan() -> None:
    training = Training(rate=0.8, rate_decay=0.25, rate_step=2)
    assert [training.rate_in(number) for number in range(1, 7)] == [0.8, 0.8, 0.2, 0.2, 0.05, 0.05]
    assert Training(rate_decay=1.0).rate_in(9999) == 1e-4


def test_preparation_holds_what_decides_the_prepared_data_and_nothing_else() -> None:
    plan = Plan(name="a")
    other = Plan(name="b", rounds=7, training=Training(epochs=2))
    assert plan.preparation == other.preparation
    changed = (Plan(name="a", seed=1), Plan(name="a", images=Images(size=64)), Plan(name="a", classes=("b", "c", "d")))
    assert all(item.preparation != plan.preparation for item in changed)


def test_dense_classes_are_the_plans() -> None:
    assert Plan(name="a", classes=("low", "high"), evaluation=Evaluation(dense=("high",))).evaluation.dense == ("high",)
    with pytest.raises(ValueError, match=r"evaluation.dense may name classes of the plan \(low, high\), found c, d"):
        Plan(name="a", classes=("low", "high"))


def test_a_plan_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Plan(name="a").rounds = 3  # type: ignore[misc]


def test_a_person_reads_every_setting_by_its_dotted_key() -> None:
    settings_by_key = flat_settings(Plan(name="x", evaluation=Evaluation(dense=())))
    assert settings_by_key["training.batch_size"] == "32"
    assert settings_by_key["classes"] == "a, b, c, d"
    assert settings_by_key["augmentation.flip_vertical"] == "yes"
    assert settings_by_key["evaluation.dense"] == "none"


def test_a_message_repeats_the_beginning_of_a_long_key(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(f'name = "a"\n{"n" * 100_000} = 1\n')
    with pytest.raises(ConfigurationError, match=r"line 2: unknown key n{80} ") as caught:
        plans.load(path)
    assert len(str(caught.value)) < 1000


def test_plans_without_sealing_keep_their_digests_and_auditors_are_named_by_their_keys() -> None:
    """Absence means plain files: a plan from before there was sealing is the same plan with sealing = false."""
    plain = replace(Plan(name="x"), confidentiality=Confidentiality(sealing=False))
    assert b"confidentiality" not in wire.encode(plain)
    assert wire.decode(Plan, wire.encode(plain)) == plain
    assert Plan(name="x").confidentiality.sealing
    auditor = Auditor(name="city", public_key=f"mlkem768-x25519 {base64.b64encode(bytes(1216)).decode()}")
    changes = plan_changes(Plan(name="x"), replace(Plan(name="x"), confidentiality=Confidentiality(auditors=(auditor,))))
    digest = hashlib.sha256(bytes(1216)).hexdigest()[:12]
    assert [(item.setting, item.after) for item in changes] == [("confidentiality.auditors", f"city ({digest})")]
    for auditors in ((auditor, auditor), (replace(auditor, name="coordinator"),)):
        with pytest.raises(ValueError, match="auditors need names that differ"):
            Confidentiality(auditors=auditors)
    with pytest.raises(ValueError, match="auditors are named for sealed files"):
        Confidentiality(sealing=False, auditors=(auditor,))


# --------------------------------------------------------------------------------------------------------------- privacy


def test_a_plan_without_privacy_has_the_digest_that_it_had_before_there_was_any() -> None:
    assert b"privacy" not in wire.encode(Plan(name="a"))
    assert wire.decode(Plan, wire.encode(Plan(name="a"))).privacy == PatientPrivacy()


def test_a_private_plan_says_what_it_promises_and_to_whom_not() -> None:
    plan = Plan(
        name="a",
        network=Network(normalisation=Normalisation.GROUP),
        training=Training(sampling=Sampling.SHUFFLED),
        privacy=PatientPrivacy(mechanism=Protection.PATIENT_DP_SGD, epsilon=3.0),
    )
    assert wire.decode(Plan, wire.encode(plan)) == plan
    assert "epsilon 3 at delta 1e-05 for each training patient" in plan.privacy.promise
    assert "validation and test patients" in plan.privacy.promise
    assert Plan(name="a").privacy.promise == ""
