"""The stain step lies in the preprocessing, survives JSON, and says what it left alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import TypeAdapter

from eosin.artefacts.preprocessing import Preprocessing
from eosin.errors import ConfigError
from eosin.pixels.batches import read_batches
from eosin.pixels.preprocessing import normalise, prepare, resize, view
from eosin.pixels.stain import NORMALIZERS, UnstainedError, create_normalizer
from eosin.pixels.stain_normalizer import source_key
from eosin.pixels.stain_sources import ImageStains, patient_sources, pooled_sources
from eosin.pixels.stain_step import normalizer_of, step_of

Image = np.ndarray
Tissue = Callable[..., Image]
PALE = ((0.49, 0.77, 0.41), (0.12, 0.85, 0.51))


def through_json(spec: Preprocessing) -> Preprocessing:
    adapter = TypeAdapter(Preprocessing)
    found: Preprocessing = adapter.validate_json(adapter.dump_json(spec), strict=True)
    return found


def write(path: Path, image: Image) -> Path:
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path


@pytest.fixture
def spec(tissue: Tissue) -> Preprocessing:
    return Preprocessing(size=96, stain=create_normalizer("macenko").fit(tissue(seed=1)).step())


@pytest.mark.parametrize("method", sorted(NORMALIZERS))
@pytest.mark.parametrize("per", ["image", "patient"])
def test_a_preprocessing_is_the_same_after_a_trip_through_json(
    method: str, per: str, tissue: Tissue
) -> None:
    step = step_of(create_normalizer(method).fit(tissue(seed=2)), per)  # type: ignore[arg-type]
    spec = Preprocessing(size=64, stain=step)
    again = through_json(spec)
    assert again == spec
    assert hash(again) == hash(spec)
    assert again != replace(spec, stain=None)
    image = tissue(PALE, seed=3)
    np.testing.assert_array_equal(prepare(image, again), prepare(image, spec))


def test_what_is_not_a_stain_step_is_refused(tissue: Tissue) -> None:
    with pytest.raises(ConfigError, match="not fitted"):
        step_of(create_normalizer("macenko"))
    fitted = create_normalizer("macenko").fit(tissue())
    with pytest.raises(ConfigError, match="stain per 'slide'"):
        step_of(fitted, "slide")  # type: ignore[arg-type]


def test_the_stain_is_changed_at_full_resolution_and_then_resized(
    spec: Preprocessing, tissue: Tissue
) -> None:
    image = tissue(PALE, seed=4)
    assert spec.stain is not None
    normalised = normalizer_of(spec.stain).transform(image)
    np.testing.assert_array_equal(view(image, spec), resize(normalised, spec))
    np.testing.assert_array_equal(prepare(image, spec), normalise(view(image, spec), spec))
    assert np.abs(view(image, spec).astype(int) - resize(image, spec)).mean() > 3


def test_an_image_without_stain_is_passed_on_as_it_is_with_its_reason(
    spec: Preprocessing, tissue: Tissue, tmp_path: Path
) -> None:
    blank = np.full((96, 96, 3), 250, np.uint8)
    files = [write(tmp_path / "a.png", tissue(PALE)), write(tmp_path / "b.png", blank)]
    (batch,) = read_batches(files, spec)
    assert batch.notes == ("", "blank")
    np.testing.assert_array_equal(batch.pixels[1], normalise(blank, spec))


def test_a_patients_images_share_the_stain_of_all_of_them(
    spec: Preprocessing, tissue: Tissue, tmp_path: Path
) -> None:
    assert spec.stain is not None
    images = [tissue(PALE, seed=5, strength=0.6), tissue(PALE, seed=6, strength=1.3)]
    files = [write(tmp_path / f"{k}.png", image) for k, image in enumerate(images)]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image")
    normalizer = normalizer_of(spec.stain)
    found = pooled_sources([*files, broken], ["p", "p", "p"], normalizer)
    assert found[0] is found[1] is found[2]
    assert found[0] is not None
    assert source_key(found[0]) == source_key(normalizer.estimate(images))
    by_patient = replace(spec, stain=step_of(normalizer, "patient"))
    (batch,) = read_batches(files, by_patient, sources=found[:2])
    assert batch.notes == ("", "")
    expected = resize(normalizer.transform(images[0], source=found[0]), spec)
    np.testing.assert_array_equal(batch.pixels[0], normalise(expected, spec))
    assert not np.array_equal(batch.pixels[0], prepare(images[0], spec))


def test_a_patient_without_a_stain_to_estimate_falls_back_on_each_image_and_says_so(
    spec: Preprocessing, tissue: Tissue, tmp_path: Path
) -> None:
    assert spec.stain is not None
    by_patient = replace(spec, stain=step_of(normalizer_of(spec.stain), "patient"))
    files = [write(tmp_path / "a.png", np.full((64, 64, 3), 255, np.uint8))]
    sources = patient_sources(files, ["p"], by_patient)
    assert sources == (None,)
    assert next(iter(read_batches(files, by_patient, sources=sources))).notes == ("blank",)
    stained = write(tmp_path / "b.png", tissue(PALE))
    (batch,) = read_batches([stained], by_patient, sources=[None])
    assert batch.notes == ("own-stain",)
    np.testing.assert_array_equal(batch.pixels[0], prepare(tissue(PALE), spec))


def test_a_stain_per_patient_of_unknown_patients_is_refused(spec: Preprocessing) -> None:
    assert spec.stain is not None
    by_patient = replace(spec, stain=step_of(normalizer_of(spec.stain), "patient"))
    with pytest.raises(ConfigError, match="patients of these images are not known"):
        patient_sources([], None, by_patient)
    assert patient_sources([], None, spec) is None
    assert patient_sources([], None, Preprocessing()) is None


def test_the_stains_of_images_are_estimated_once_and_none_where_there_is_none(
    tissue: Tissue, tmp_path: Path
) -> None:
    good = write(tmp_path / "good.png", tissue(seed=7))
    grey = write(tmp_path / "grey.png", np.repeat(tissue(seed=8)[:, :, :1], 3, axis=2))
    normalizer = create_normalizer("macenko")
    with pytest.raises(UnstainedError, match="grey"):
        normalizer.estimate(np.repeat(tissue(seed=8)[:, :, :1], 3, axis=2))
    stains = ImageStains(normalizer)
    first = stains.of([good, grey, tmp_path / "absent.png", good])
    assert first[0] is first[3] is not None
    assert first[1] is first[2] is None
    good.unlink()
    assert stains.of([good])[0] is first[0]
