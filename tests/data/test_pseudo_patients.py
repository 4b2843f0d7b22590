"""Pseudo-patients: images that look as if they shared a slide are one, and are called so."""

from __future__ import annotations

import json
import re
import shutil
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_array
from scipy.spatial.distance import pdist, squareform
from tests.conftest import RecordMaker
from typer.testing import CliRunner

from eosin.artefacts.manifest import Manifest, read_manifest
from eosin.artefacts.values import NamedProtocol
from eosin.cli.app import app
from eosin.data.breakhis import read_breakhis
from eosin.data.field_overlap import close_up, field_overlap
from eosin.data.folder import read_folder
from eosin.data.identity import Identity
from eosin.data.pseudo_patients import (
    find_pseudo_patients,
    group_images,
    likeness,
    nearest,
    pair_agreement,
)
from eosin.data.signatures import slide_coordinates
from eosin.data.splits import split_into_folds
from eosin.errors import DataError
from eosin.protocol import Protocol

ON_DISK: TypeAdapter[Protocol] = TypeAdapter(NamedProtocol)


def test_a_pseudo_patient_protocol_is_never_called_patient_level() -> None:
    protocol = Protocol("patient", "5-fold", pseudo=True)
    assert protocol.name == "pseudo-patient, 5-fold"
    assert "patient-level" not in protocol.name
    assert Protocol("image", "5-fold", leaky=True, pseudo=True).name == (
        "image-level (leaky, pseudo-patients), 5-fold"
    )
    assert "a leak cannot be ruled out" in (protocol.warning or "")
    assert ON_DISK.validate_json(json.dumps(protocol.to_dict())) == protocol


def test_a_protocol_written_before_there_were_pseudo_patients_is_still_read() -> None:
    fields = Protocol("patient", "5-fold").to_dict()
    assert "pseudo" not in fields
    assert ON_DISK.validate_json(json.dumps(fields)) == Protocol("patient", "5-fold")


def test_pairs_are_counted_right_and_found_as_by_hand() -> None:
    # joined: ab, cd, ce, de; true: ab, ac, bc, de; both: ab, de
    assert pair_agreement(list("xxyyy"), list("pppqq")) == (0.5, 0.5)
    assert pair_agreement(list("abc"), list("ppp")) == (1.0, 0.0)


def test_the_sparse_average_linkage_gives_the_groups_of_scipy() -> None:
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(middle, 1.0, (20, 3)) for middle in (0, 2, 4, 9)])
    far = np.minimum(squareform(pdist(values)) / 5, 1)  # no two alike, and many not alike at all
    alike = csr_array(1 - far)
    for least in (0.05, 0.2, 0.6):
        ours = group_images([alike], [], least=least)
        theirs = fcluster(linkage(squareform(far, checks=False), "average"), 1 - least, "distance")
        assert 1 < len(set(ours)) < len(values)
        assert pair_agreement(ours.astype(str), theirs.astype(str)) == (1.0, 1.0)


def test_images_that_overlap_are_one_group_however_unlike_they_look() -> None:
    values = np.array([[0.0], [0.1], [0.2], [50.0], [50.1], [50.2]])
    alike = likeness(nearest(values, 2))
    assert group_images([alike], [], least=0.1).tolist() == [0, 0, 0, 3, 3, 3]
    assert group_images([alike], [(0, 5)], least=2.0).tolist() == [0, 1, 2, 3, 4, 0]


def test_what_varies_inside_images_counts_less_than_what_does_not() -> None:
    rng = np.random.default_rng(0)
    stain = rng.normal(0, 1, (40, 1)) + rng.normal(0, 0.05, (40, 4))
    nuclei = rng.normal(0, 1, (40, 4))
    coordinates = slide_coordinates(np.stack([stain, nuclei], axis=2).astype(np.float32))
    spread = coordinates.std(axis=0)
    assert spread[0] > 4 * spread[1]


@pytest.mark.parametrize(("right", "down"), [(90, 0), (0, 70), (60, 50)])
def test_a_field_that_overlaps_by_a_quarter_is_found(right: int, down: int) -> None:
    tissue = np.random.default_rng(1).integers(0, 255, (160, 160, 3), np.uint8)
    slide = np.asarray(cv2.resize(tissue, (320, 320), interpolation=cv2.INTER_LINEAR), np.uint8)
    first, second = slide[:100, :120], slide[down : down + 100, right : right + 120]
    found = field_overlap(close_up(first), close_up(second))
    assert found.agreement > 0.75
    assert found.share == pytest.approx((120 - right) * (100 - down) / 12000, abs=0.03)
    assert field_overlap(close_up(first), close_up(slide[160:260, 160:280])).agreement < 0.6


def hidden(source: Manifest, folder: Path) -> dict[str, Path]:
    """The images of a manifest under names that say nothing, in another order; from new to old."""
    order = np.random.default_rng(5).permutation(len(source))
    found = {}
    for number, index in enumerate(order):
        label = source.frame["label"].iloc[index]
        target = folder / label / f"img{number:04d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source.paths[index], target)
        found[target.name] = source.paths[index]
    return found


def test_copies_are_looked_for_by_as_many_threads_as_were_asked_for(
    drawn_breakhis: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []

    def nothing(*_: object, workers: int | None = None) -> list[object]:
        asked.append(workers)
        return []

    monkeypatch.setattr("eosin.data.pseudo_patients.find_near_duplicates", nothing)
    find_pseudo_patients(drawn_breakhis, workers=1)
    assert asked == [1]


def test_new_names_and_another_order_change_no_group(
    drawn_breakhis: Manifest, tmp_path: Path
) -> None:
    old_of = hidden(drawn_breakhis, tmp_path / "hidden")
    ours = find_pseudo_patients(drawn_breakhis).manifest.frame
    theirs = find_pseudo_patients(read_folder(tmp_path / "hidden").manifest).manifest.frame
    expected = dict(zip(ours["path"], ours["patient"], strict=True))
    got = {
        str(old_of[Path(path).name]): patient
        for path, patient in zip(theirs["path"], theirs["patient"], strict=True)
    }
    assert got == expected
    assert len(set(got.values())) > 1


def test_a_split_keeps_pseudo_patients_whole_and_an_image_split_is_leaky(
    drawn_breakhis: Manifest,
) -> None:
    found = find_pseudo_patients(drawn_breakhis)
    whole = split_into_folds(found.manifest, 3, seed=1)
    assert whole.crossing_patients() == ()
    assert whole.protocol.name == "pseudo-patient, 3-fold"
    torn = split_into_folds(found.manifest, 3, by="image", seed=1)
    assert torn.protocol.name == "image-level (leaky, pseudo-patients), 3-fold"
    assert found.agreement is not None
    named = found.manifest.frame["named_patient"]
    assert found.agreement == pair_agreement(found.manifest.frame["patient"], named)
    assert named.tolist() == drawn_breakhis.frame["patient"].tolist()


def test_the_command_names_what_it_could_not_read_and_keeps_the_rest(
    drawn_breakhis: Manifest, tmp_path: Path
) -> None:
    hidden(drawn_breakhis, tmp_path / "hidden")
    manifest, out = tmp_path / "m.csv", tmp_path / "m2.csv"
    read_folder(tmp_path / "hidden").manifest.write(manifest)
    broken = sorted((tmp_path / "hidden").rglob("*.png"))[0]
    broken.write_bytes(b"no image")
    result = CliRunner().invoke(app, ["data", "pseudo-patients", str(manifest), "-o", str(out)])
    assert result.exit_code != 0  # as every reader that skips files
    assert broken.name in (tmp_path / "m2.csv.errors.csv").read_text()
    written = read_manifest(out)
    assert len(written) == len(drawn_breakhis) - 1
    assert written.protocol.name == "unsplit (pseudo-patients)"
    assert not any("each image counts as its own" in note for note in written.notes)
    assert all(re.fullmatch(r"pseudo-[0-9a-f]{10}", name) for name in written.patients)


def test_weights_without_their_network_are_refused_and_so_is_too_little(
    drawn_breakhis: Manifest, tmp_path: Path
) -> None:
    manifest = tmp_path / "m.csv"
    drawn_breakhis.write(manifest)
    words = ["data", "pseudo-patients", str(manifest), "-o", str(tmp_path / "o.csv")]
    result = CliRunner().invoke(app, [*words, "--weights", "w.safetensors"])
    assert "--weights needs --backbone" in str(result.exception)
    with pytest.raises(DataError, match="want 3 or more"):
        find_pseudo_patients(drawn_breakhis.where(np.arange(len(drawn_breakhis)) < 2))


def test_memory_grows_with_the_images_and_not_with_their_square() -> None:
    values = np.random.default_rng(2).normal(0, 1, (4000, 8))
    tracemalloc.start()
    groups = group_images([likeness(nearest(values, 12))], [], least=0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 1 < len(set(groups)) < 4000
    assert peak < 400e6  # a table of all pairs of 10,000 images would be 800 MB


def test_half_the_pairs_of_breakhis_are_found_with_few_false(real_data: Path) -> None:
    found = find_pseudo_patients(read_breakhis(real_data / "breakhis100x").manifest)
    assert found.agreement is not None
    precision, recall = found.agreement
    assert precision > 0.8
    assert recall > 0.45
    assert found.overlapping > 50


def test_a_run_of_pseudo_patients_does_not_claim_to_know_whom_a_bare_file_shows(
    make_record: RecordMaker,
) -> None:
    record = make_record(
        dataset="breakhis",
        protocol=Protocol("patient", "5-fold", pseudo=True),
        train_patients=("pseudo-0123456789",),
    )
    identity = Identity.of(record)
    assert identity.patient_of(Path("SOB_M_DC-14-2523-100-001.png")) is None
    assert identity.met(["pseudo-0123456789", "14-2523"]) == {"pseudo-0123456789"}
