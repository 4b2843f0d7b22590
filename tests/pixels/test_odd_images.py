"""Odd images: tags are obeyed or refused by name, half a file is no picture, limits come first."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from threading import Thread

import cv2
import numpy as np
import pytest
from PIL import Image

from eosin.errors import DataError
from eosin.pixels.reading import image_in_turn, inspect_image, read_image

CONTIGUOUS, SEPARATE = 1, 2
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK = 0, 1, 2, 5
UNSPECIFIED, PREMULTIPLIED, ALPHA = 0, 1, 2


@pytest.fixture
def tissue() -> np.ndarray:
    """Squares of many pinks, shape (48, 64, 3)."""
    squares = np.random.default_rng(0).integers(60, 250, (12, 16, 3), dtype=np.uint8)
    return np.repeat(np.repeat(squares, 4, axis=0), 4, axis=1)


def write_tiff(path: Path, samples: np.ndarray, tags: Mapping[int, int], *, big: bool) -> Path:
    """An uncompressed TIFF of (height, width, samples), in the classic or the 64-bit form."""
    height, width, count = samples.shape
    planar = tags.get(284, CONTIGUOUS) == SEPARATE
    data = (np.moveaxis(samples, 2, 0) if planar else samples).tobytes()
    strips = count if planar else 1
    each = len(data) // strips
    start = 16 if big else 8
    values = {
        256: [width],
        257: [height],
        258: [8 * samples.itemsize] * count,
        259: [1],
        273: [start + k * each for k in range(strips)],
        277: [count],
        278: [height],
        279: [each] * strips,
        **{tag: [value] for tag, value in tags.items()},
    }
    room, number, entry = (8, "Q", "<HHQ") if big else (4, "I", "<HHI")
    directory = start + len(data)
    after = directory + (8 if big else 2) + len(values) * (struct.calcsize(entry) + room) + room
    body, extra = struct.pack("<Q" if big else "<H", len(values)), b""
    for tag, numbers in sorted(values.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(packed) > room:
            packed, extra = struct.pack(f"<{number}", after + len(extra)), extra + packed
        body += struct.pack(entry, tag, 4, len(numbers)) + packed.ljust(room, b"\x00")
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, directory) if big else b""
    head = head or struct.pack("<2sHI", b"II", 42, directory)
    path.write_bytes(head + data + body + bytes(room) + extra)
    return path


def of_kind(kind: str, tissue: np.ndarray) -> tuple[np.ndarray, dict[int, int], np.ndarray]:
    """Stored samples, tags and the picture that they are."""
    grey = tissue[:, :, :1]
    quarter = np.full_like(grey, 64)
    shade = np.rint(tissue * (64 / 255)).astype(np.uint8)
    on_white = np.rint(tissue * (64 / 255) + 191).astype(np.uint8)
    half = np.full_like(grey, 128)
    inks = np.concatenate([255 - tissue, half], axis=2)
    printed = np.rint(tissue * (127 / 255)).astype(np.uint8)
    plain = np.concatenate([tissue, quarter], axis=2)
    return {
        "planar": (tissue, {262: RGB, 284: SEPARATE}, tissue),
        "white is zero": (255 - grey, {262: WHITE_IS_ZERO}, np.repeat(grey, 3, axis=2)),
        "grey": (grey, {262: BLACK_IS_ZERO}, np.repeat(grey, 3, axis=2)),
        "fourth unspecified": (plain, {262: RGB, 338: UNSPECIFIED}, tissue),
        "fourth unsaid": (plain, {262: RGB}, tissue),
        "alpha": (plain, {262: RGB, 338: ALPHA}, on_white),
        "premultiplied": (
            np.concatenate([shade, quarter], axis=2),
            {262: RGB, 338: PREMULTIPLIED},
            on_white,
        ),
        "CMYK": (inks, {262: CMYK}, printed),
    }[kind]


@pytest.mark.parametrize("big", [False, True], ids=["classic", "64-bit"])
@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize(
    "kind",
    [
        *("planar", "white is zero", "grey", "fourth unspecified", "fourth unsaid", "alpha"),
        *("premultiplied", "CMYK"),
    ],
)
def test_a_tiff_shows_the_picture_that_its_tags_say(
    tmp_path: Path, tissue: np.ndarray, kind: str, deep: bool, big: bool
) -> None:
    samples, tags, wanted = of_kind(kind, tissue)
    stored = samples.astype(np.uint16) * 257 if deep else samples
    image = read_image(write_tiff(tmp_path / "tile.tif", stored, tags, big=big))
    assert np.abs(image.astype(int) - wanted).max() <= 1


def test_every_16_bit_value_is_divided_by_257_and_rounded(tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for name in ("ramp.png", "ramp.tif"):
        assert cv2.imwrite(str(tmp_path / name), values)
        wanted = (values.astype(int) + 128) // 257
        assert np.array_equal(read_image(tmp_path / name)[:, :, 1], wanted)


@pytest.mark.parametrize(
    ("kind", "dtype", "tags", "words"),
    [
        ("float", np.float32, {262: RGB, 339: 3}, r"sample format \[3\]"),
        ("signed", np.int16, {262: RGB, 339: 2}, r"sample format \[2\]"),
        ("32 bits", np.uint32, {262: RGB}, r"\[32\] bits"),
        ("CIELAB", np.uint8, {262: 8}, "photometric interpretation 8"),
        ("Zstandard", np.uint8, {262: RGB, 259: 50000}, "compression 50000"),
        ("many channels", np.uint8, {262: BLACK_IS_ZERO}, "3 samples"),
    ],
)
def test_a_sound_tiff_of_a_kind_that_is_not_read_is_called_not_supported_and_never_damaged(
    tmp_path: Path,
    tissue: np.ndarray,
    kind: str,
    dtype: type[np.generic],
    tags: dict[int, int],
    words: str,
) -> None:
    path = write_tiff(tmp_path / "tile.tif", tissue.astype(dtype), tags, big=False)
    for read in (read_image, inspect_image):
        with pytest.raises(DataError, match=rf"not supported \({words}.*convert it") as caught:
            read(path)
        assert "damaged" not in str(caught.value), kind


def test_a_tiff_whose_last_strips_are_missing_or_empty_is_refused(
    tmp_path: Path, tissue: np.ndarray
) -> None:
    whole = write_tiff(tmp_path / "whole.tif", tissue, {262: RGB, 284: SEPARATE}, big=False)
    data = whole.read_bytes()
    assert read_image(whole).shape == (48, 64, 3)
    each = struct.pack("<I", 48 * 64)
    empty = data.replace(each * 3, each * 2 + bytes(4))
    offsets = struct.pack("<III", 8, 8 + 48 * 64, 8 + 2 * 48 * 64)
    unplaced = data.replace(offsets, offsets[:8] + bytes(4))
    fewer = data.replace(
        struct.pack("<HHI", 278, 4, 1) + struct.pack("<I", 48),
        struct.pack("<HHI", 278, 4, 1) + struct.pack("<I", 20),
    )
    for number, cut in enumerate((empty, unplaced, fewer)):
        assert cut != data
        path = tmp_path / f"{number}.tif"
        path.write_bytes(cut)
        for read in (read_image, inspect_image):
            with pytest.raises(DataError, match=r"truncated TIFF .*missing or empty"):
                read(path)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def repacked(png: bytes, *, rows: float = 1.0, drop: bytes = b"", sums: int = 4) -> bytes:
    """The PNG with fewer of its rows or without a chunk, all its checksums right."""
    start, parts, pixels = 8, [], b""
    while start < len(png):
        length, kind = struct.unpack_from(">I4s", png, start)
        body = png[start + 8 : start + 8 + length]
        pixels += body if kind == b"IDAT" else b""
        parts += [(kind, body)] if kind not in (b"IDAT", b"IEND", drop) else []
        start += 12 + length
    raw = zlib.decompress(pixels)
    packed = zlib.compress(raw[: int(len(raw) * rows)])
    parts += [(b"IDAT", packed[: len(packed) - 4 + sums]), (b"IEND", b"")]
    return png[:8] + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "1", "I;16"])
def test_a_png_whose_stream_ends_early_is_refused_in_every_mode(
    tmp_path: Path, tissue: np.ndarray, mode: str
) -> None:
    image = Image.fromarray(tissue)
    if mode == "I;16":
        image = Image.fromarray(tissue[:, :, 0].astype(np.uint16) * 257)
    whole, path = io.BytesIO(), tmp_path / "tile.png"
    (image if mode == "I;16" else image.convert(mode)).save(whole, "PNG")
    path.write_bytes(repacked(whole.getvalue()))
    assert read_image(path).shape == (48, 64, 3)
    for cut in (
        repacked(whole.getvalue(), rows=0.01),
        repacked(whole.getvalue(), rows=0.5),
        repacked(whole.getvalue(), rows=0.9999),
        repacked(whole.getvalue(), sums=0),
    ):
        path.write_bytes(cut)
        with pytest.raises(DataError, match="truncated or damaged PNG"):
            read_image(path)


def test_a_palette_without_colours_is_an_error_of_its_file(
    tmp_path: Path, tissue: np.ndarray
) -> None:
    whole, path = io.BytesIO(), tmp_path / "tile.png"
    Image.fromarray(tissue).convert("P").save(whole, "PNG")
    path.write_bytes(repacked(whole.getvalue(), drop=b"PLTE"))
    for read in (read_image, inspect_image):
        with pytest.raises(DataError, match=r"damaged PNG.*download it again"):
            read(path)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cut_in_its_scan_with_an_end_marker_added_is_refused(
    tmp_path: Path, tissue: np.ndarray, progressive: bool, kept: float
) -> None:
    whole, path = io.BytesIO(), tmp_path / "tile.jpg"
    Image.fromarray(tissue).resize((280, 210)).save(whole, "JPEG", progressive=progressive)
    data = whole.getvalue()
    path.write_bytes(data[: int(len(data) * kept)] + b"\xff\xd9")
    with pytest.raises(DataError, match="truncated or damaged JPEG"):
        read_image(path)


def test_whatever_the_bytes_are_reading_gives_a_picture_or_an_error_of_the_file(
    tmp_path: Path, tissue: np.ndarray
) -> None:
    draw, path, refused, sound = np.random.default_rng(3), tmp_path / "tile", 0, 0
    for form in ("PNG", "JPEG", "TIFF", "BMP"):
        whole = io.BytesIO()
        Image.fromarray(tissue).save(whole, form)
        for _ in range(60):
            data = np.frombuffer(whole.getvalue(), np.uint8).copy()
            count = int(draw.integers(1, 6))
            head = draw.integers(0, min(200, len(data)), count)
            data[head] = draw.integers(0, 256, count)
            path.write_bytes(data.tobytes())
            try:
                image = read_image(path)
            except DataError as error:
                refused += str(error).startswith(f"{path}: ")
            else:
                assert image.dtype == np.uint8
                assert image.shape[2] == 3
                sound += 1
    assert refused > 60
    assert refused + sound == 240


def claimed(path: Path, width: int, height: int) -> Path:
    """A small PNG whose header claims these sides."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(5000))), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    return path


def test_a_png_of_few_bytes_that_claims_120_million_pixels_is_refused_at_once(
    tmp_path: Path,
) -> None:
    began = time.perf_counter()
    for width, height, words in (
        (1, 119_999_999, "1 x 119999999, more than the limit of 65,500 pixels a side"),
        (11_000, 11_000, "11000 x 11000, more than the limit of 32 megapixels"),
    ):
        path = claimed(tmp_path / "bomb.png", width, height)
        assert path.stat().st_size < 1000
        for read in (read_image, inspect_image):
            with pytest.raises(DataError, match=words):
                read(path)
    assert time.perf_counter() - began < 10


def test_files_made_of_nothing_but_chunks_markers_or_tags_are_refused_at_once(
    tmp_path: Path,
) -> None:
    began = time.perf_counter()
    png, jpeg, tiff = (tmp_path / name for name in ("a.png", "b.jpg", "c.tif"))
    png.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"tEXt", b"") * 1_000_000 + bytes(5000))
    jpeg.write_bytes(b"\xff\xd8\xff" + b"\xff" * 20_000_000)
    count = 1_000_000
    tiff.write_bytes(struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, count) + bytes(20 * count))
    for path, words in ((png, "truncated PNG"), (jpeg, "no end"), (tiff, "1,000,000 tags")):
        with pytest.raises(DataError, match=words):
            read_image(path)
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (1, 1)])
def test_thin_images_are_read_in_every_format(tmp_path: Path, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(5).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for form in ("PNG", "TIFF", "BMP"):
        Image.fromarray(image).save(tmp_path / form, form)
        assert np.array_equal(read_image(tmp_path / form), image)


def test_large_images_wait_for_one_another_and_small_ones_do_not(tmp_path: Path) -> None:
    large, small = tmp_path / "large.png", tmp_path / "small.png"
    Image.new("L", (5000, 5000)).save(large)
    Image.new("L", (60, 60)).save(small)
    done: list[str] = []

    def read(path: Path) -> None:
        with image_in_turn(path):
            done.append(path.name)

    threads = [Thread(target=read, args=(path,)) for path in (large, small)]
    with image_in_turn(large):
        for thread in threads:
            thread.start()
        threads[1].join(timeout=30)
        time.sleep(0.5)
        assert done == ["small.png"]
    for thread in threads:
        thread.join(timeout=30)
    assert done == ["small.png", "large.png"]


def test_decoders_print_nothing_themselves(tmp_path: Path, tissue: np.ndarray) -> None:
    whole, cut = io.BytesIO(), tmp_path / "cut.jpg"
    Image.fromarray(tissue).save(whole, "JPEG")
    cut.write_bytes(whole.getvalue()[:-300] + b"\xff\xd9")
    inks = np.concatenate([tissue, tissue[:, :, :1]], axis=2).astype(np.uint16) * 257
    write_tiff(tmp_path / "inks.tif", inks, {262: CMYK, 65000: 7}, big=False)
    write_tiff(tmp_path / "zstd.tif", tissue, {262: RGB, 259: 50000}, big=False)
    (tmp_path / "few.png").write_bytes(claimed(tmp_path / "few.png", 100, 100).read_bytes())
    code = (
        "import sys\nfrom pathlib import Path\nfrom eosin.errors import DataError\n"
        "from eosin.pixels.reading import read_image\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try: read_image(path)\n    except DataError: print(path.name)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["cut.jpg", "few.png", "zstd.tif"]
    assert said.stderr == ""


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG", "BMP"])
@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_an_image_of_one_pixel_has_a_height_a_width_and_three_colours(
    tmp_path: Path, form: str, mode: str
) -> None:
    path = tmp_path / "one"
    Image.new(mode, (1, 1), "white").save(path, form)
    image = read_image(path)
    assert image.shape == (1, 1, 3)
    assert image.min() >= 254
