"""An export is the same Run with a graph for a network: whole, checked, or not there at all."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eosin.artefacts.codec import with_changes
from eosin.artefacts.graph import Parity
from eosin.artefacts.manifest import Manifest
from eosin.artefacts.run import ExportedRun, FoldsRun
from eosin.errors import ConfigError, DataError, DiskError, ModelError
from eosin.export import export as export_module
from eosin.export.check_images import choose_images
from eosin.export.export import ExportOptions, export_run
from eosin.export.folders import drafting
from eosin.export.parity import map_difference, measure_parity, require_parity
from eosin.inference.predict import predict
from eosin.networks.classifier import save_classifier
from eosin.networks.run import Run, read_run, weights_digest, write_run
from eosin.networks.weights import load_classifier


def test_an_export_keeps_everything_that_the_run_knows(trained: Run, exported: Run) -> None:
    own = {"kind", "graph"}
    assert exported.record.model_dump(exclude=own) == trained.record.model_dump(exclude=own)
    assert exported.exported
    assert not trained.exported
    assert not (exported.folder / "model.safetensors").exists()
    assert read_run(exported.folder) == exported


def test_predictions_of_an_export_are_those_of_pytorch(
    trained: Run, exported: Run, divided: Manifest
) -> None:
    wanted, found = (predict(run, divided).predictions for run in (trained, exported))
    np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=1e-4)
    assert found.frame["predicted"].tolist() == wanted.frame["predicted"].tolist()


def test_the_record_holds_what_the_check_found(exported: Run) -> None:
    assert isinstance(exported.record, ExportedRun)
    graph = exported.record.graph
    assert graph.parity.images > 0
    assert graph.parity.probabilities <= 1e-4
    assert graph.parity.maps is not None
    assert graph.parity.maps <= 1e-3
    assert graph.outputs == ("logits", "features", "maps")
    assert graph.map_size == (2, 2)


def test_a_graph_tells_nothing_of_the_machine_that_made_it(onnx: Run) -> None:
    graph = (onnx.folder / "model.onnx").read_bytes()
    assert b"site-packages" not in graph
    assert str(Path.home()).encode() not in graph


def test_an_export_of_a_newer_format_is_refused(copied: Run) -> None:
    record = copied.folder / "run.json"
    record.write_text(record.read_text().replace('"format_version": 2', '"format_version": 3'))
    with pytest.raises(ModelError, match="reads up to 2: update eosin"):
        read_run(copied.folder)


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_damaged_graph_file_is_named(copied: Run, damage: str, divided: Manifest) -> None:
    path = copied.folder / "model.onnx"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelError, match=f"model.onnx: {damage}.*make the Run again"):
        predict(copied, divided)


def test_a_graph_file_outside_its_folder_is_refused(copied: Run) -> None:
    record = copied.folder / "run.json"
    record.write_text(record.read_text().replace('"model.onnx"', '"../model.onnx"'))
    with pytest.raises(ModelError, match="is no file in the Run's own folder"):
        read_run(copied.folder)


def test_a_graph_that_differs_from_pytorch_fails_and_leaves_nothing(
    trained: Run, onnx: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_the_graph_of_another(
        self: object, module: object, folder: Path, *, size: int
    ) -> list[Path]:
        return [Path(shutil.copy(onnx.folder / "model.onnx", folder))]

    shutil.copytree(trained.folder, tmp_path / "turned")
    network = load_classifier(trained)
    assert isinstance(network.head, torch.nn.Linear)
    network.head.weight.data.neg_()
    save_classifier(network, tmp_path / "turned" / "model.safetensors")
    sha256 = weights_digest(tmp_path / "turned")
    record = with_changes(trained.record, weights_sha256=sha256, reference=None)
    turned = write_run(tmp_path / "turned", record)
    monkeypatch.setattr(export_module._Exporter, "_write", write_the_graph_of_another)
    with pytest.raises(ModelError, match=r"maps differ by up to .* \(the most allowed is 0.001\)"):
        export_run(turned, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["turned"]


def test_a_disk_that_fills_up_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "run.json").write_text("{}")

    def fill_up() -> None:
        with drafting(folder) as draft:
            (draft / "model.onnx").write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskError, match=r"out: .*No space left on device.*make room"):
        fill_up()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (folder / "run.json").read_text() == "{}"


def test_a_folder_with_other_things_is_never_touched(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty; export into a new folder"):
        export_run(trained, tmp_path, ExportOptions(overwrite=True))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_finished_export_is_recognised_and_another_runs_is_kept(trained: Run, onnx: Run) -> None:
    with pytest.raises(ConfigError, match=r"already a finished export of .*--overwrite"):
        export_run(trained, onnx.folder)
    other = replace(
        trained, record=with_changes(trained.record, weights_sha256="a" * 64, reference=None)
    )
    with pytest.raises(ConfigError, match="holds another Run"):
        export_run(other, onnx.folder, ExportOptions(overwrite=True))


def test_an_export_is_not_exported_again_nor_opened_in_pytorch(onnx: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exported already, as onnx"):
        export_run(onnx, tmp_path / "out")
    with pytest.raises(ModelError, match="a graph without PyTorch weights"):
        load_classifier(onnx)


def test_an_ensemble_takes_its_members_with_it_and_notices_a_changed_one(
    onnx: Run, divided: Manifest, tmp_path: Path, folds_of: Callable[..., FoldsRun]
) -> None:
    folder = tmp_path / "outer"
    shutil.copytree(onnx.folder, folder / "members" / "1-probe")
    inside = read_run(folder / "members" / "1-probe")
    outer = write_run(folder, folds_of(folder, [inside]))
    moved = read_run(Path(shutil.move(folder, tmp_path / "elsewhere")))
    assert moved.exported
    single, both = (predict(run, divided).predictions for run in (onnx, moved))
    np.testing.assert_allclose(both.probabilities, single.probabilities)
    (moved.folder / "members" / "1-probe" / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"1-probe/model\.onnx: missing"):
        predict(moved, divided)
    assert outer.record.members[0].path == "members/1-probe"


def test_images_to_check_on_are_those_asked_for_or_drawn(
    trained: Run, divided: Manifest, tmp_path: Path
) -> None:
    asked = choose_images(trained, divided)
    assert (len(asked.images), asked.source) == (16, "the images asked for")
    tested = choose_images(trained, None)
    assert (len(tested.images), tested.source) == (
        12,
        f"images of {trained.folder / 'predictions.csv'}",
    )
    (trained.folder / "predictions.csv").rename(tmp_path / "kept.csv")
    drawn = choose_images(trained, None)
    (tmp_path / "kept.csv").rename(trained.folder / "predictions.csv")
    assert (len(drawn.images), drawn.source) == (16, "synthetic tissue")
    assert drawn.prepared(trained.record.preprocessing).shape == (16, 3, 64, 64)
    with pytest.raises(DataError, match="no image found"):
        choose_images(trained, [tmp_path])


def test_maps_are_compared_at_the_scale_they_are_drawn_at() -> None:
    wanted = np.zeros((1, 2, 2, 2), np.float32)
    wanted[0, 0, 0, 0], wanted[0, 1, 1, 1] = 2.0, 0.001
    found = wanted.copy()
    found[0, 0, 0, 0] += 0.002  # a thousandth of 2
    found[0, 1, 1, 1] += 0.0001  # a tenth of itself, but a two-hundredth of what counts for it
    assert map_difference(found, wanted) == pytest.approx(0.005, rel=1e-3)
    assert map_difference(np.zeros_like(wanted), np.zeros_like(wanted)) == 0


def test_what_is_not_a_number_is_never_alike() -> None:
    with pytest.raises(ModelError, match="probabilities differ by up to nan"):
        require_parity(Parity(1, "drawn", "onnxruntime", float("nan")), name="bh")


def test_a_graph_that_has_no_number_for_a_later_image_is_not_alike() -> None:
    class Network:
        outputs = ("logits",)

        def __call__(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (torch.zeros(len(pixels), 2),)

    class Graph:
        name = "onnxruntime"

        def logits(self, pixels: np.ndarray) -> np.ndarray:
            return np.log(1 - pixels[:, :2, 0, 0].astype(float)) * 0

    pixels = np.zeros((4, 3, 8, 8), np.float32)
    pixels[2] = 1  # whose logits are 0 times minus infinity
    with np.errstate(divide="ignore", invalid="ignore"):
        found = measure_parity(Graph(), Network(), pixels, temperature=1.0, source="drawn")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="probabilities differ by up to nan"):
        require_parity(found, name="bh")
