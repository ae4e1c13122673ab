"""What a data set looks like, scanner by scanner."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from fedcli.imaging.dataset.survey import EXAMPLE_SIDE, EXAMPLES, MAX_SCANNERS, Survey, histogram_of
from fedcli.imaging.mammogram import ImageMetadata, Mammogram
from fedcli.imaging.phantoms import hospitals
from fedcli.imaging.pixels import SCALE, to_square
from fedcli.plan import Aspect, Images, Intensity, Part
from fedcli.progress import Silent
from tests.fixtures.dicom_files import read

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZE = 64
IMAGES = Images(size=SIZE)
METADATA = ImageMetadata(rows=400, columns=300, bits=12)


@pytest.fixture(scope="module", params=[aspect.value for aspect in Aspect])
def images(request: pytest.FixtureRequest) -> Images:
    return Images(size=SIZE, aspect=Aspect(request.param))


@pytest.fixture(scope="module")
def mammograms(cbis: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Mammogram]:
    """Return the public mammograms, and phantoms of three scanners."""
    folder = tmp_path_factory.mktemp("phantoms")
    for hospital in hospitals.PLAIN_HOSPITALS:
        hospitals.write(folder / hospital.name, replace(hospital, num_patients=3), seed=5, progress=Silent())
    return [read(path) for path in (*sorted(cbis.rglob("*.dcm")), *sorted(folder.rglob("*.dcm")))]


def show(
    survey: Survey,
    image: NDArray[np.uint16],
    scanner: str = "x",
    *,
    mammogram: Mammogram | None = None,
    label: int = 0,
    patient: str = "p",
) -> None:
    metadata = mammogram.metadata if mammogram else METADATA
    survey.add(image, replace(metadata, scanner=scanner, patient=patient), part=Part.TRAIN, label=label)


def square(value: int) -> NDArray[np.uint16]:
    return np.full((SIZE, SIZE), value, np.uint16)


def test_one_scanner_that_was_inverted_is_told(mammograms: list[Mammogram], images: Images) -> None:
    num = len(mammograms)
    assert num == 8 + 3 * 12
    survey = Survey(["good"] * num + ["bad"] * num, images)
    for mammogram in mammograms:
        show(survey, to_square(mammogram, images), "good", mammogram=mammogram)
        wrong = replace(mammogram, inverted=not mammogram.inverted)
        show(survey, to_square(wrong, images), "bad", mammogram=wrong)
    good, bad = survey.views()
    assert (good.bright, good.warnings) == (0, ())
    assert bad.warnings == (f"bad: the background of {num} of {num} images is bright; are they inverted?",)
    assert (good.background, bad.background) == pytest.approx((1 / 16, 15 / 16))


def test_a_small_scanner_among_many_is_told() -> None:
    """Its images are in the group of all other scanners, where they are few."""
    common = [f"common {number}" for number in range(MAX_SCANNERS)]
    survey = Survey([name for name in common for _ in range(50)] + ["rare"] * 40 + ["old"] * 2, IMAGES)
    for number in range(40):
        show(survey, square(5000), "rare", patient=f"{number}")
    for _ in range(2):
        show(survey, square(60_000), "old")
    (others,) = survey.views()
    assert (others.name, others.images, others.bright) == (None, 42, 2)
    assert others.warnings == ("old: the background of 2 of 2 images is bright; are they inverted?",)


def test_images_whose_files_contradict_themselves_are_counted() -> None:
    survey = Survey(["x"] * 3, IMAGES)
    for contradictory in (True, False, True):
        metadata = replace(METADATA, scanner="x", contradictory=contradictory)
        survey.add(square(5000), metadata, part=Part.TRAIN, label=0)
    assert survey.views()[0].contradictory == 2


def test_equalized_images_have_no_background(mammograms: list[Mammogram]) -> None:
    images = Images(size=SIZE, intensity=Intensity.EQUALIZED)
    survey = Survey(["x"] * len(mammograms), images)
    for mammogram in mammograms:
        show(survey, to_square(replace(mammogram, inverted=not mammogram.inverted), images), mammogram=mammogram)
    assert survey.views()[0].warnings == ()


def test_padding_is_no_background() -> None:
    image = np.zeros((SIZE, SIZE), np.uint16)
    image[:, : SIZE // 4] = 60_000
    for aspect, bright in ((Aspect.PAD, 1), (Aspect.STRETCH, 0)):
        survey = Survey(["x"], Images(size=SIZE, aspect=aspect))
        survey.add(image, replace(METADATA, scanner="x", rows=400, columns=100), part=Part.TRAIN, label=0)
        assert survey.views()[0].bright == bright


@pytest.mark.parametrize(("bright", "warnings"), [(0, 0), (2, 0), (3, 1), (20, 1)])
def test_now_and_then_an_image_may_be_bright(bright: int, warnings: int) -> None:
    survey = Survey(["x"] * 20, IMAGES)
    for number in range(20):
        show(survey, square(60_000 if number < bright else 5000))
    (view,) = survey.views()
    assert (view.bright, len(view.warnings)) == (bright, warnings)


def test_histograms_add_up() -> None:
    shown = np.random.default_rng(1).integers(0, SCALE + 1, (12, SIZE, SIZE)).astype(np.uint16)
    names = [str(number % 3) for number in range(len(shown))]
    survey = Survey(names, IMAGES)
    for name, image in zip(names, shown, strict=True):
        show(survey, image, name)
    assert np.array_equal(survey.histogram, sum(histogram_of(image) for image in shown))
    assert survey.histogram.sum() == shown.size
    for view in survey.views():
        assert sum(view.shares) == pytest.approx(1)
    mean = sum(view.mean * view.images for view in survey.views()) / len(shown)
    assert mean == pytest.approx(shown.mean() / SCALE)


def test_scanners_beyond_the_first_ones_are_one_group() -> None:
    scanners = [f"scanner {number}" for number in range(MAX_SCANNERS + 3) for _ in range(20 - number)] + [""] * 50
    survey = Survey(scanners, IMAGES)
    for scanner in scanners:
        show(survey, square(9), scanner)
    views = survey.views()
    assert [view.title for view in views] == [
        "scanner not stated",
        *(f"scanner {number}" for number in range(MAX_SCANNERS - 1)),
        "all other scanners",
    ]
    assert [view.images for view in views] == [50, *range(20, 13, -1), 13 + 12 + 11 + 10]


def test_examples_are_of_different_patients() -> None:
    survey = Survey(["x"] * 12, IMAGES)
    for number in range(12):
        show(survey, square(1000 * (number + 1)), label=number % 2, patient=f"p{number // 4}")
    (view,) = survey.views()
    assert [example.label for example in view.examples] == [0] * EXAMPLES + [1] * EXAMPLES
    shades = [int(cv2.imdecode(np.frombuffer(example.png, np.uint8), cv2.IMREAD_UNCHANGED)[0, 0]) for example in view.examples]
    assert shades == [1000 * number >> 8 for number in (1, 5, 2, 6)]


@pytest.mark.parametrize(("size", "side"), [(32, 32), (160, 160), (224, EXAMPLE_SIDE)])
def test_examples_are_small_grey_pngs(size: int, side: int) -> None:
    survey = Survey(["x"], Images(size=size))
    show(survey, np.linspace(0, SCALE, size * size).astype(np.uint16).reshape(size, size))
    (example,) = survey.views()[0].examples
    decoded = cv2.imdecode(np.frombuffer(example.png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert (decoded.shape, decoded.dtype) == ((side, side), np.uint8)
    assert decoded.min() < 5
    assert decoded.max() > 250
