"""Decoded images are kept once, served as they were decoded, and never wrong whatever happened."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from eosin.artefacts.preprocessing import Preprocessing
from eosin.errors import DataError
from eosin.pixels import cache as cache_module
from eosin.pixels import views as views_module
from eosin.pixels.cache import CacheError, PixelCache
from eosin.pixels.pixel_store import INDEX_NAME, PIXELS_NAME
from eosin.pixels.preprocessing import view
from eosin.pixels.reading import image_in_turn, read_image
from eosin.pixels.stain import create_normalizer
from eosin.pixels.views import Views, view_batches

SOURCE = Path(__file__).resolve().parents[2] / "src"
SPEC = Preprocessing(size=32)
# Slow enough to be killed in the middle, or to be met by another process.
BUILD = """
import sys, time
from pathlib import Path
from eosin.pixels import views
from eosin.pixels.cache import PixelCache
from eosin.artefacts.preprocessing import Preprocessing
from eosin.pixels.reading import image_in_turn, read_image
def slowly(path):
    time.sleep(0.005)
    return read_image(path)
views.read_image = slowly
files, root = sorted(Path(sys.argv[1]).glob("*.png")), Path(sys.argv[2])
spec = Preprocessing(size=32)
PixelCache.of(spec, root=root).pack(views.Views(tuple(files), spec))
"""


class Tissue(NamedTuple):
    """Images under BreakHis names, and an empty cache for them."""

    views: Views
    cache: PixelCache


@pytest.fixture
def draw(tmp_path: Path) -> Callable[[int], Tissue]:
    def drawn(count: int) -> Tissue:
        paths = [tmp_path / f"SOB_M_DC-14-2523-100-{k:03d}.png" for k in range(count)]
        for seed, path in enumerate(paths):
            pixels = np.random.default_rng(seed).integers(0, 256, (46, 70, 3), dtype=np.uint8)
            assert cv2.imwrite(str(path), pixels)
        views = Views(tuple(paths), SPEC)
        return Tissue(views, PixelCache.of(SPEC, root=tmp_path / "cache"))

    return drawn


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise AssertionError(f"{path} was decoded")

    monkeypatch.setattr(views_module, "image_in_turn", refuse)


def require_true(packed: Views) -> None:
    """Every image is what decoding its file gives now, and lies in the cache."""
    assert min(packed.rows) >= 0
    for index, path in enumerate(packed.paths):
        source = packed.sources[index] if packed.sources else None
        decoded = view(read_image(path), packed.spec, source=source)
        assert np.array_equal(packed.view(index), decoded), path


def build_elsewhere(tissue: Tissue) -> subprocess.Popen[bytes]:
    words = [str(tissue.views.paths[0].parent), str(tissue.cache.folder.parents[1])]
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, *words], env={**os.environ, "PYTHONPATH": str(SOURCE)}
    )


def wait_for_lines(cache: PixelCache, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    index = cache.folder / INDEX_NAME
    while not (index.exists() and index.stat().st_size):  # it exists a moment before its first line
        assert child.poll() is None, "the building ended before it could be met"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def rows_on_disk(cache: PixelCache) -> int:
    return (cache.folder / PIXELS_NAME).stat().st_size // (3 * SPEC.size**2)


def test_what_is_served_is_what_decoding_gives_and_the_second_time_nothing_is_decoded(
    draw, monkeypatch, told
):
    tissue = draw(10)
    require_true(tissue.cache.pack(tissue.views))
    with monkeypatch.context() as patch:
        patch.setattr(views_module, "image_in_turn", lambda path: pytest.fail(f"{path} decoded"))
        again = tissue.cache.pack(tissue.views, progress=told)
    require_true(again)
    assert told.done == 10
    assert rows_on_disk(tissue.cache) == 10


def test_files_that_did_not_change_are_not_even_hashed_again(draw, monkeypatch):
    tissue = draw(5)
    monkeypatch.setattr(cache_module, "_SETTLED", -1)
    tissue.cache.pack(tissue.views)
    monkeypatch.setattr(cache_module, "sha256_of", lambda path: pytest.fail(f"{path} hashed"))
    require_true(tissue.cache.pack(tissue.views))


def test_another_image_under_the_same_name_size_and_time_is_noticed(draw, tmp_path, monkeypatch):
    tissue = draw(2)
    monkeypatch.setattr(cache_module, "_SETTLED", -1)
    first, second = tissue.views.paths
    bare = np.zeros((46, 70, 3), np.uint8)
    for path, level in ((first, 40), (second, 200)):
        cv2.imwrite(str(path.with_suffix(".bmp")), bare + np.uint8(level))
        path.with_suffix(".bmp").replace(path)  # BMP, so that sizes agree
    before = first.stat()
    tissue.cache.pack(tissue.views)
    first.write_bytes(second.read_bytes())
    os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = first.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    packed = tissue.cache.pack(tissue.views)
    require_true(packed)
    assert packed.view(0)[0, 0, 0] == 200


def test_a_dataset_that_was_moved_is_known_by_its_content(draw, tmp_path, monkeypatch):
    tissue = draw(3)
    tissue.cache.pack(tissue.views)
    (tmp_path / "moved").mkdir()
    moved = tuple(path.rename(tmp_path / "moved" / path.name) for path in tissue.views.paths)
    with monkeypatch.context() as patch:
        patch.setattr(views_module, "image_in_turn", lambda path: pytest.fail(f"{path} decoded"))
        packed = tissue.cache.pack(replace(tissue.views, paths=moved))
    require_true(packed)


def test_no_images_at_all_are_packed_too(draw):
    tissue = draw(0)
    assert tissue.cache.pack(tissue.views).rows == ()


def test_copies_of_an_image_share_a_row(draw, tmp_path):
    tissue = draw(3)
    tissue.cache.pack(tissue.views)
    (tmp_path / "copied").mkdir()
    copies = tuple(Path(shutil.copy(path, tmp_path / "copied")) for path in tissue.views.paths)
    both = tissue.cache.pack(replace(tissue.views, paths=tissue.views.paths + copies))
    require_true(both)
    assert both.rows[:3] == both.rows[3:]
    assert rows_on_disk(tissue.cache) == 3


@pytest.mark.parametrize("harm", ["byte", "cut", "swapped lines", "torn line", "no index", "noise"])
def test_whatever_is_damaged_is_decoded_again(draw, harm):
    tissue = draw(6)
    tissue.cache.pack(tissue.views)
    pixels, index = tissue.cache.folder / PIXELS_NAME, tissue.cache.folder / INDEX_NAME
    lines = index.read_text().splitlines(keepends=True)
    if harm == "byte":
        data = bytearray(pixels.read_bytes())
        data[7000] ^= 1
        pixels.write_bytes(data)
    elif harm == "cut":
        os.truncate(pixels, 3 * SPEC.size**2 * 4 + 17)
    elif harm == "swapped lines":
        words = [line.split() for line in lines]
        words[1][1], words[2][1] = words[2][1], words[1][1]
        index.write_text("".join(" ".join(line) + "\n" for line in words))
    elif harm == "torn line":
        index.write_text("".join(lines)[:-20])
    elif harm == "no index":
        index.unlink()
    else:
        index.write_bytes(b"\xff\x00 7 zz\n" + os.urandom(300) + b"\n")
    require_true(tissue.cache.pack(tissue.views))
    require_true(tissue.cache.pack(tissue.views))


def test_a_building_killed_in_the_middle_goes_on_from_there_and_serves_nothing_wrong(draw):
    tissue = draw(300)
    child = build_elsewhere(tissue)
    wait_for_lines(tissue.cache, child)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    kept = len((tissue.cache.folder / INDEX_NAME).read_text().splitlines())
    assert 0 < kept < 300
    with (tissue.cache.folder / PIXELS_NAME).open("ab") as stream:
        stream.write(b"half a row")  # as a kill between bytes and line leaves it
    decoded = []
    reading = views_module.image_in_turn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            views_module, "image_in_turn", lambda path: decoded.append(path) or reading(path)
        )
        packed = tissue.cache.pack(tissue.views)
    assert len(decoded) == 300 - kept
    require_true(packed)


def test_two_processes_that_build_at_once_wait_for_each_other_and_store_each_image_once(draw, told):
    tissue = draw(150)
    child = build_elsewhere(tissue)
    wait_for_lines(tissue.cache, child)
    packed = tissue.cache.pack(tissue.views, progress=told)
    assert child.wait() == 0
    assert [note.split()[0] for note in told.notes] == ["waiting"]
    require_true(packed)
    assert rows_on_disk(tissue.cache) == 150


def test_a_disk_without_room_is_named_with_what_is_needed_before_anything_is_decoded(
    draw, monkeypatch, no_decoding
):
    tissue = draw(4)
    usage = shutil.disk_usage(tissue.views.paths[0].parent)._replace(free=2**30 + 4 * 3072 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CacheError, match=r"4 decoded images take 0\.0 GB .* EOSIN_CACHE") as caught:
        tissue.cache.pack(tissue.views)
    assert str(tissue.cache.folder) in str(caught.value)


def test_a_disk_that_fills_up_ends_in_a_sentence_and_what_was_packed_stays(draw, monkeypatch):
    tissue = draw(100)
    syncing, calls = os.fsync, []

    def full(number: int) -> None:
        calls.append(number)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        syncing(number)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CacheError, match=r"No space left on device.*cache = false"):
        tissue.cache.pack(tissue.views)
    decoded = []
    monkeypatch.setattr(
        views_module, "image_in_turn", lambda path: decoded.append(path) or image_in_turn(path)
    )
    packed = tissue.cache.pack(tissue.views)
    assert len(decoded) == 36  # the first 64 were kept
    require_true(packed)


def test_a_folder_that_is_a_file_is_named(draw, tmp_path):
    tissue = draw(1)
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(CacheError, match=str(tmp_path / "cache")):
        tissue.cache.pack(tissue.views)


def test_mean_and_std_share_a_cache_while_size_fit_and_stain_have_their_own(draw, tmp_path):
    image = np.random.default_rng(0).integers(60, 220, (64, 64, 3), dtype=np.uint8)
    reinhard = create_normalizer("reinhard").fit(image).step()
    folders = [
        PixelCache.of(spec, root=tmp_path).folder
        for spec in (
            SPEC,
            replace(SPEC, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
            replace(SPEC, size=48),
            replace(SPEC, fit="crop"),
            replace(SPEC, stain=reinhard),
        )
    ]
    assert folders[0] == folders[1]
    assert len(set(folders)) == 4


def test_an_image_brought_from_another_patients_stain_is_another_row(real_data, tmp_path):
    paths = tuple(sorted((real_data / "breakhis").glob("*.png"))[:3])
    images = [read_image(path) for path in paths]
    normalizer = create_normalizer("macenko").fit(images[0])
    spec = replace(SPEC, stain=normalizer.step("patient"))
    cache = PixelCache.of(spec, root=tmp_path)
    seen = []
    for source in (images[1], images[2]):
        views = Views(paths, spec, (normalizer.estimate(source),) * 3)
        seen.append(cache.pack(views))
        require_true(seen[-1])
    assert not set(seen[0].rows) & set(seen[1].rows)
    assert not np.array_equal(seen[0].view(0), seen[1].view(0))


def test_a_file_that_cannot_be_read_is_left_to_the_reader_who_names_it(draw):
    tissue = draw(20)
    bad, gone = tissue.views.paths[3], tissue.views.paths[17]
    bad.write_text("not an image")
    gone.unlink()
    packed = tissue.cache.pack(tissue.views)
    assert [index for index, row in enumerate(packed.rows) if row < 0] == [3, 17]
    with pytest.raises(DataError, match="is not an image"):
        packed.view(3)
    batches = list(view_batches(packed, range(19, -1, -1), batch_size=12))
    assert [batch.indices.tolist() for batch in batches] == [
        [19, 18, 16, 15, 14, 13, 12, 11, 10, 9, 8],
        [7, 6, 5, 4, 2, 1, 0],
    ]
    assert [item.path for batch in batches for item in batch.skipped] == [gone, bad]
    assert [len(batch.indices) + len(batch.skipped) for batch in batches] == [12, 8]
    for batch in batches:
        for image, index in zip(batch.images, batch.indices, strict=True):
            assert np.array_equal(image, view(read_image(tissue.views.paths[index]), SPEC))


def test_batches_are_the_same_packed_or_not_and_with_any_number_of_readers(draw):
    tissue = draw(37)
    packed = tissue.cache.pack(tissue.views)
    order = np.random.default_rng(5).permutation(37)

    def darken(index: int, image: np.ndarray) -> np.ndarray:
        return image // np.uint8(index + 1)

    seen = [
        np.concatenate(
            [b.images for b in view_batches(v, order, batch_size=16, workers=w, alter=darken)]
        )
        for v, w in ((packed, 1), (packed, 5), (tissue.views, 2))
    ]
    assert np.array_equal(seen[0], seen[1])
    assert np.array_equal(seen[0], seen[2])
    assert not packed.view(0).flags.writeable
