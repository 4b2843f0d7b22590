"""Reading pixels: every format equals Pillow's, and every bad file is named with its reason."""

from __future__ import annotations

import csv
import io
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from eosin.errors import DataError
from eosin.pixels.reading import (
    ImageFacts,
    ReadLimits,
    SkippedFile,
    error_table_path,
    inspect_image,
    is_image_name,
    read_image,
    write_error_table,
)

NAME = "SOB_M_DC-14-2523-400-001.png"


@pytest.fixture
def tissue() -> np.ndarray:
    """A pink field with a dark nucleus off its middle, so that a turn or a flip shows."""
    image = np.full((46, 70, 3), (224, 168, 205), np.uint8)
    cv2.circle(image, (20, 12), 7, (82, 48, 120), -1)
    noise = np.random.default_rng(7).integers(0, 24, image.shape, dtype=np.uint8)
    return image - noise


def saved(image: Image.Image, path: Path, format: str = "PNG", **options: object) -> Path:
    image.save(path, format=format, **options)
    return path


def test_breakhis_originals_read_as_pillow_reads_them(real_data: Path) -> None:
    paths = sorted((real_data / "breakhis").glob("*.png"))
    assert len(paths) == 10
    for path in paths:
        image = read_image(path)
        assert image.shape == (460, 700, 3)
        assert image.flags.c_contiguous
        assert np.array_equal(image, np.asarray(Image.open(path).convert("RGB")))


def test_bci_files_are_jpeg_behind_a_png_name_and_still_read(real_data: Path) -> None:
    path = real_data / "bci/HE/test/00345_test_0.png"
    assert inspect_image(path) == ImageFacts(1024, 1024, "JPEG", path.stat().st_size)
    difference = read_image(path).astype(int) - np.asarray(Image.open(path).convert("RGB"))
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_give_the_very_pixels_whatever_the_suffix(
    tmp_path: Path, tissue: np.ndarray, format: str
) -> None:
    path = saved(Image.fromarray(tissue), tmp_path / "tile.jpg", format)
    assert np.array_equal(read_image(path), tissue)
    assert inspect_image(path).format == format


@pytest.mark.parametrize("packing", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_packed_tiff_gives_the_very_pixels(
    tmp_path: Path, tissue: np.ndarray, packing: str
) -> None:
    path = saved(Image.fromarray(tissue), tmp_path / "tile.tif", "TIFF", compression=packing)
    assert np.array_equal(read_image(path), tissue)


def test_a_jpeg_reads_as_pillow_reads_it_grey_progressive_or_subsampled(
    tmp_path: Path, tissue: np.ndarray
) -> None:
    colour = Image.fromarray(tissue)
    for name, image, options in (
        ("grey.jpg", colour.convert("L"), {}),
        ("progressive.jpg", colour, {"progressive": True}),
        ("subsampled.jpg", colour, {"quality": 60, "subsampling": 2}),
    ):
        path = saved(image, tmp_path / name, "JPEG", **options)
        wanted = np.asarray(Image.open(path).convert("RGB")).astype(int)
        assert np.abs(read_image(path) - wanted).max() <= 1


def test_a_cmyk_jpeg_reads_as_rgb(tmp_path: Path) -> None:
    pink = Image.new("CMYK", (16, 16), (0, 100, 40, 10))
    image = read_image(saved(pink, tmp_path / "scan.jpg", "JPEG", quality=100))
    assert np.abs(image.reshape(-1, 3).astype(int) - (245, 149, 207)).max() <= 3


def test_grey_one_bit_and_palette_images_become_rgb(tmp_path: Path, tissue: np.ndarray) -> None:
    colour = Image.fromarray(tissue)
    for mode in ("L", "1", "P"):
        image = colour.convert(mode)
        path = saved(image, tmp_path / f"{mode}.png")
        assert np.array_equal(read_image(path), np.asarray(image.convert("RGB")))


def test_alpha_is_laid_on_white(tmp_path: Path) -> None:
    layers = np.zeros((1, 3, 4), np.uint8)
    layers[0, :, :3] = (100, 0, 200)
    layers[0, :, 3] = (0, 128, 255)
    wanted = [[[255, 255, 255], [177, 127, 227], [100, 0, 200]]]
    assert read_image(saved(Image.fromarray(layers), tmp_path / "a.png")).tolist() == wanted
    assert read_image(saved(Image.fromarray(layers), tmp_path / "a.tif", "TIFF")).tolist() == wanted


def test_a_transparent_palette_entry_and_a_transparent_colour_are_white(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    path = saved(palette, tmp_path / "palette.png", transparency=0)
    assert read_image(path).tolist() == [[[255, 255, 255], [40, 50, 60]]]
    colour = Image.fromarray(np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8))
    path = saved(colour, tmp_path / "colour.png", transparency=(10, 20, 30))
    assert read_image(path).tolist() == [[[255, 255, 255], [40, 50, 60]]]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_divided_by_257_and_rounded(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[[0, 128, 129], [257, 385, 386], [65535, 65406, 65407]]], np.uint16)
    path = tmp_path / f"deep{suffix}"
    assert cv2.imwrite(str(path), deep[:, :, ::-1])
    assert read_image(path).tolist() == [[[0, 0, 1], [1, 1, 2], [255, 254, 255]]]


def test_sixteen_bit_grey_and_alpha_read_as_well(tmp_path: Path) -> None:
    grey = np.array([[0, 257 * 90, 65535]], np.uint16)
    assert cv2.imwrite(str(tmp_path / "grey.png"), grey)
    assert read_image(tmp_path / "grey.png").tolist() == [[[0] * 3, [90] * 3, [255] * 3]]
    layers = np.zeros((1, 2, 4), np.uint16)
    layers[0, :, 0] = 257 * 200  # blue comes first in OpenCV
    layers[0, 1, 3] = 65535
    assert cv2.imwrite(str(tmp_path / "alpha.png"), layers)
    assert read_image(tmp_path / "alpha.png").tolist() == [[[255, 255, 255], [0, 0, 200]]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_the_exif_orientation_is_applied(
    tmp_path: Path, tissue: np.ndarray, format: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(Image.fromarray(tissue), tmp_path / "photo", format, exif=exif)
    with Image.open(path) as image:
        wanted = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
    assert wanted.shape[:2] == ((46, 70) if orientation < 5 else (70, 46))
    assert read_image(path).shape == wanted.shape
    assert np.abs(read_image(path) - wanted).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_the_exif_orientation_is_applied_to_sixteen_bits(
    tmp_path: Path, format: str, orientation: int
) -> None:
    grey = np.arange(6, dtype=np.uint16).reshape(2, 3) * 257 * 40
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(Image.fromarray(grey), tmp_path / "photo", format, exif=exif)
    shallow = Image.fromarray((grey // 257).astype(np.uint8))
    shallow.getexif()[0x0112] = orientation
    wanted = np.asarray(ImageOps.exif_transpose(shallow))
    assert read_image(path)[:, :, 0].tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("format", "kept"),
    [("PNG", 0.5), ("PNG", 0.999), ("JPEG", 0.5), ("JPEG", 0.999), ("TIFF", 0.6), ("BMP", 0.9)],
)
def test_a_truncated_file_is_refused_by_both_readers(
    tmp_path: Path, tissue: np.ndarray, format: str, kept: float
) -> None:
    whole = io.BytesIO()
    Image.fromarray(tissue).save(whole, format)
    path = tmp_path / NAME
    path.write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * kept)])
    for read in (read_image, inspect_image):
        with pytest.raises(DataError, match=rf"{NAME}: truncated.*{format}.*download it again"):
            read(path)


@pytest.mark.parametrize("size", [1, 9, 20, 40])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP"])
def test_a_file_cut_inside_its_header_is_refused(
    tmp_path: Path, tissue: np.ndarray, format: str, size: int
) -> None:
    whole = io.BytesIO()
    Image.fromarray(tissue).save(whole, format)
    path = tmp_path / NAME
    path.write_bytes(whole.getvalue()[:size])
    for read in (read_image, inspect_image):
        with pytest.raises(DataError, match=NAME):
            read(path)


def test_a_jpeg_cut_before_its_pixels_is_not_saved_by_the_end_of_its_thumbnail(
    tmp_path: Path, tissue: np.ndarray
) -> None:
    thumbnail, whole = io.BytesIO(), io.BytesIO()
    Image.fromarray(tissue).resize((16, 16)).save(thumbnail, "JPEG")
    Image.fromarray(tissue).save(whole, "JPEG", comment=thumbnail.getvalue())
    path = tmp_path / "photo.jpg"
    path.write_bytes(whole.getvalue()[:-200])
    assert b"\xff\xd9" in path.read_bytes()
    with pytest.raises(DataError, match="end-of-image"):
        inspect_image(path)


def test_bytes_behind_the_end_of_an_image_do_no_harm(tmp_path: Path, tissue: np.ndarray) -> None:
    for format in ("PNG", "JPEG"):
        path = saved(Image.fromarray(tissue), tmp_path / format, format)
        wanted = read_image(path)
        path.write_bytes(path.read_bytes() + b"\x00" * 9000)
        assert np.array_equal(read_image(path), wanted)
        assert inspect_image(path).width == 70


def test_a_png_with_one_flipped_byte_is_refused_for_its_checksum(
    tmp_path: Path, tissue: np.ndarray
) -> None:
    path = saved(Image.fromarray(tissue), tmp_path / NAME)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"{NAME}: truncated or damaged PNG.*download it again"):
        read_image(path)


@pytest.mark.parametrize("deep", [False, True])
def test_a_tiff_with_damaged_strips_is_refused(
    tmp_path: Path, tissue: np.ndarray, deep: bool
) -> None:
    path = tmp_path / "tile.tif"
    pixels = tissue.astype(np.uint16) * 257 if deep else tissue
    assert cv2.imwrite(str(path), pixels, [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 200] = b"\x5a" * 200
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"tile.tif: .*download it again"):
        read_image(path)


def test_a_png_with_sound_checksums_and_too_few_pixels_is_refused(
    tmp_path: Path, tissue: np.ndarray
) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    rows = b"".join(b"\x00" + row.tobytes() for row in tissue[:20])
    path = tmp_path / NAME
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 70, 46, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(DataError, match=NAME):
        read_image(path)


def test_empty_missing_and_foreign_files_are_named_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "page.png").write_text("<html>404</html>")
    (tmp_path / "folder.png").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "web.png", "GIF")
    for name, words in (
        ("empty.png", r"empty \(0 bytes\); copy or download it again"),
        ("page.png", r"not an image.*<html>.*convert it to PNG, JPEG, TIFF or BMP"),
        ("web.png", "not an image.*GIF"),
        ("folder.png", "is a folder"),
        ("gone.png", "cannot be opened.*No such file"),
    ):
        for read in (read_image, inspect_image):
            with pytest.raises(DataError, match=rf"{name}: .*{words}"):
                read(tmp_path / name)


def test_float_pixels_are_refused_because_their_white_is_unknown(tmp_path: Path) -> None:
    path = saved(Image.new("F", (8, 8), 0.5), tmp_path / "density.tif", "TIFF")
    with pytest.raises(
        DataError, match=r"density.tif: .*not supported \(sample format \[3\].*convert it"
    ):
        read_image(path)


def test_limits_hold_before_a_pixel_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + ihdr
        + struct.pack(">I", zlib.crc32(ihdr))
        + b"\x00\x00\x00\x00IDAT\x35\xaf\x06\x1e"
        + b"\x00\x00\x00\x00IEND\xaeB`\x82"
    )
    for read in (read_image, inspect_image):
        with pytest.raises(
            DataError, match=r"bomb.png: is 60000 x 60000.*32 megapixels.*--max-megapixels"
        ):
            read(path)
        with pytest.raises(DataError, match=r"bomb.png: has 57 bytes.*limit of 56"):
            read(path, limits=ReadLimits(max_bytes=56))


def test_an_image_larger_than_pillows_own_limit_but_within_ours_reads_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tissue: np.ndarray
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    colour = Image.fromarray(tissue)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for image, name, format in (
            (colour, "a.png", "PNG"),
            (colour.convert("P"), "b.png", "PNG"),
            (colour, "c.jpg", "JPEG"),
            (colour, "d.tif", "TIFF"),
            (colour, "e.bmp", "BMP"),
        ):
            path = saved(image, tmp_path / name, format)
            assert read_image(path).shape == (46, 70, 3)
            assert inspect_image(path).height == 46


def test_an_image_name_ends_like_one_in_any_case_and_is_not_hidden() -> None:
    for name in (NAME, "a.PNG", "a.jpg", "a.JPEG", "a.tif", "a.Tiff", "a.bmp"):
        assert is_image_name(Path(name))
    for name in (".hidden.png", "._SOB_M_DC-14-2523-400-001.png", "notes.txt", "a.svs", "png"):
        assert not is_image_name(Path(name))


def test_the_error_table_lists_files_and_reasons_and_leaves_when_there_are_none(
    tmp_path: Path,
) -> None:
    table = error_table_path(tmp_path / "bh.csv")
    assert table == tmp_path / "bh.csv.errors.csv"
    skipped = SkippedFile(tmp_path / "Zürich, 3.png", 'is "empty", remove it')
    write_error_table([skipped], table)
    with table.open(encoding="utf-8", newline="") as stream:
        assert list(csv.DictReader(stream)) == [
            {"file": str(skipped.path), "reason": 'is "empty", remove it'}
        ]
    write_error_table([], table)
    assert not table.exists()
    write_error_table([], table)


def test_a_skipped_file_keeps_the_reason_without_repeating_its_path(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.touch()
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert SkippedFile.from_error(path, caught.value).reason.startswith("is empty (0 bytes)")
