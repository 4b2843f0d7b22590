"""Batches are read once for every view, ahead of whoever uses them, from where one likes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest

from eosin.artefacts.preprocessing import Preprocessing
from eosin.pixels import batches as room
from eosin.pixels.batches import View, read_batches, read_views
from eosin.pixels.preprocessing import normalise, prepare
from eosin.pixels.reading import image_in_turn, read_image

LARGE, SMALL = Preprocessing(size=32), Preprocessing(size=16, fit="crop")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Ten images of noise, the fourth of them empty."""
    noise = np.random.default_rng(2).integers(0, 256, (10, 40, 60, 3), dtype=np.uint8)
    paths = [tmp_path / f"SOB_M_DC-14-2523-100-{k:03d}.png" for k in range(10)]
    for path, image in zip(paths, noise, strict=True):
        assert cv2.imwrite(str(path), image)
    paths[3].write_bytes(b"")
    return paths


def test_a_file_is_read_once_for_two_views_and_each_is_its_own_preprocessing(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(path: Path) -> AbstractContextManager[object]:
        read.append(path)
        return image_in_turn(path)

    monkeypatch.setattr(room, "image_in_turn", counted)
    found = list(read_views(files, [View(LARGE), View(SMALL)], batch_size=4))
    assert sorted(read) == files
    assert [pair[0].indices.tolist() for pair in found] == [[0, 1, 2], [4, 5, 6, 7], [8, 9]]
    for large, small in found:
        for row, index in enumerate(large.indices):
            image = read_image(files[index])
            np.testing.assert_array_equal(large.pixels[row], prepare(image, LARGE))
            np.testing.assert_array_equal(small.pixels[row], prepare(image, SMALL))
    assert [item.path for item in found[0][1].skipped] == [files[3]]


def test_reading_from_the_middle_gives_the_batches_that_reading_all_gives(
    files: list[Path],
) -> None:
    whole = list(read_batches(files, LARGE, batch_size=4))
    rest = [pair[0] for pair in read_views(files, [View(LARGE)], batch_size=4, start=4)]
    for late, early in zip(rest, whole[1:], strict=True):
        np.testing.assert_array_equal(late.indices, early.indices)
        np.testing.assert_array_equal(late.pixels, early.pixels)


def test_only_two_batches_are_read_ahead(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(path: Path) -> AbstractContextManager[object]:
        read.append(path)
        return image_in_turn(path)

    monkeypatch.setattr(room, "image_in_turn", counted)
    coming = read_batches(files, LARGE, batch_size=2, workers=1)
    next(coming)
    assert len(read) <= 6
    coming.close()  # type: ignore[attr-defined]
    assert len(read) <= 6


def test_normalised_planes_are_scaled_shifted_and_exact() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    scale = 1.0 / (255.0 * np.asarray(SMALL.std, np.float32))
    shift = np.asarray(SMALL.mean, np.float32) / np.asarray(SMALL.std, np.float32)
    expected = (image * scale - shift).transpose(2, 0, 1)
    row = np.empty((3, 16, 16), np.float32)
    assert normalise(image, SMALL, out=row) is row
    np.testing.assert_array_equal(row, expected)
    assert row[0, 0, 0] == pytest.approx(-0.485 / 0.229)
    assert row[2, 15, 15] == pytest.approx((1 - 0.406) / 0.225)
