"""Copies in one stain: their names, an honest target, work continued and nothing overwritten."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from eosin.artefacts.codec import plain
from eosin.artefacts.manifest import Manifest, read_manifest
from eosin.data.stained import StainOptions, normalize_stains
from eosin.errors import ConfigError, DataError, DiskError
from eosin.pixels.reading import read_image
from eosin.pixels.stain import create_normalizer
from eosin.pixels.stain_copies import StainCopies

MACENKO = StainOptions("macenko")


def test_each_copy_is_the_image_in_the_median_stain_of_the_training_split(
    divided: Manifest, tmp_path: Path
) -> None:
    stained = normalize_stains(divided, tmp_path / "out", MACENKO)
    assert stained.warning == ""
    training = [read_image(path) for path in divided.in_split("train").paths]
    normalizer = create_normalizer("macenko").fit(training)
    for path, copy in zip(divided.paths[:5], stained.manifest.paths[:5], strict=True):
        assert copy == tmp_path / "out" / path.name
        np.testing.assert_array_equal(read_image(copy), normalizer.transform(read_image(path)))
    recorded = json.loads((tmp_path / "out" / "stain.json").read_text())
    assert recorded["step"] == plain(StainCopies(step=normalizer.step()))["step"]
    for column in ("label", "patient", "split", "slide", "subtype"):
        assert stained.manifest.frame[column].equals(divided.frame[column])
    assert "the median of" in stained.manifest.notes[-1]


def test_a_manifest_without_a_training_split_is_told_that_test_images_set_the_target(
    drawn_breakhis: Manifest, tmp_path: Path
) -> None:
    stained = normalize_stains(drawn_breakhis, tmp_path / "out", MACENKO)
    assert "images that will be tested had a part in it" in stained.warning
    assert stained.warning in stained.manifest.notes


def test_a_target_of_the_test_split_follows_the_manifest_in_a_sentence(
    divided: Manifest, tmp_path: Path
) -> None:
    target = divided.in_split("test").paths[0]
    options = dataclasses.replace(MACENKO, target=target)
    stained = normalize_stains(divided, tmp_path / "out", options)
    assert stained.warning == (
        f"The stain target {target.name} is itself an image of the test split."
    )


def test_what_is_done_is_kept_and_what_is_missing_or_outdated_is_made(
    divided: Manifest, tmp_path: Path
) -> None:
    first = normalize_stains(divided, tmp_path / "out", MACENKO)
    assert first.kept == 0
    copies = first.manifest.paths
    before = {copy: copy.stat().st_mtime_ns for copy in copies}
    content = copies[3].read_bytes()
    copies[3].unlink()
    copies[5].write_bytes(b"")  # as a power cut can leave it
    os.utime(copies[7], (1.0, 1.0))  # older than its image
    again = normalize_stains(divided, tmp_path / "out", MACENKO)
    assert again.kept == len(divided) - 3
    assert copies[3].read_bytes() == content
    changed = {copy for copy in copies if copy.stat().st_mtime_ns != before[copy]}
    assert changed == {copies[3], copies[5], copies[7]}
    assert again.manifest.frame.equals(first.manifest.frame)


def test_a_folder_of_other_copies_or_of_anything_else_is_left_alone(
    divided: Manifest, tmp_path: Path
) -> None:
    normalize_stains(divided, tmp_path / "out", MACENKO)
    with pytest.raises(ConfigError, match="copies of another method, target or images"):
        normalize_stains(divided, tmp_path / "out", StainOptions("reinhard"))
    originals = divided.paths[0].parent
    held = divided.paths[0].read_bytes()
    with pytest.raises(ConfigError, match=r"holds files and no stain\.json"):
        normalize_stains(divided, originals, MACENKO)
    assert divided.paths[0].read_bytes() == held
    assert not (originals / "stain.json").exists()


def test_notes_are_remembered_when_copies_are_kept(divided: Manifest, tmp_path: Path) -> None:
    blank, broken = tmp_path / "in" / "blank.png", tmp_path / "in" / "broken.png"
    blank.parent.mkdir()
    assert cv2.imwrite(str(blank), np.full((64, 64, 3), 255, np.uint8))
    broken.write_bytes(b"no image")
    past = time.time() - 60
    os.utime(blank, (past, past))
    frame = divided.frame
    paths = [str(blank), str(broken), *frame["path"][2:]]
    odd = dataclasses.replace(divided, frame=frame.assign(path=paths))
    for kept in (0, len(divided) - 1):
        stained = normalize_stains(odd, tmp_path / "out", MACENKO)
        noted = stained.manifest.frame[stained.manifest.frame["stain_note"] != ""]
        assert noted["path"].map(lambda path: Path(path).name).tolist() == ["blank.png"]
        assert noted["stain_note"].tolist() == ["blank"]
        assert [item.path for item in stained.skipped] == [broken]
        assert stained.kept == kept


def test_a_patients_copies_come_from_the_patients_stain_within_the_split(
    divided: Manifest, tmp_path: Path
) -> None:
    options = dataclasses.replace(MACENKO, per="patient")
    stained = normalize_stains(divided, tmp_path / "out", options)
    training = [read_image(path) for path in divided.in_split("train").paths]
    normalizer = create_normalizer("macenko").fit(training)
    rows = divided.frame["patient"] == divided.frame["patient"].iloc[0]
    source = normalizer.estimate(map(read_image, divided.where(rows).paths))
    expected = normalizer.transform(read_image(divided.paths[0]), source=source)
    np.testing.assert_array_equal(read_image(stained.manifest.paths[0]), expected)
    unknown = dataclasses.replace(
        divided, protocol=dataclasses.replace(divided.protocol, patients_known=False)
    )
    with pytest.raises(ConfigError, match="not known"):
        normalize_stains(unknown, tmp_path / "other", options)


def test_a_full_disk_ends_the_work_and_is_no_fault_of_an_image(
    divided: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DiskError, match=r"No space left.*make room.*the copies made are kept"):
        normalize_stains(divided, tmp_path / "out", MACENKO)


def test_two_images_that_would_share_a_copy_are_named(divided: Manifest, tmp_path: Path) -> None:
    frame = divided.frame
    twin = divided.paths[0].with_suffix(".jpg")
    clash = dataclasses.replace(
        divided, frame=frame.assign(path=[frame["path"][0], str(twin), *frame["path"][2:]])
    )
    with pytest.raises(DataError, match=rf"{twin.name} would both be copied to {twin.stem}\.png"):
        normalize_stains(clash, tmp_path / "out", MACENKO)


def test_the_manifest_of_copies_reads_back(divided: Manifest, tmp_path: Path) -> None:
    stained = normalize_stains(divided, tmp_path / "out", MACENKO)
    stained.manifest.write(tmp_path / "out" / "manifest.csv")
    again = read_manifest(tmp_path / "out" / "manifest.csv")
    assert again.frame.equals(stained.manifest.frame)
    assert again.notes == stained.manifest.notes
