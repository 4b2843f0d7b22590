"""Embeddings are an AnnData file: streamed, resumed, read by others, trained on without images."""

import shutil

import numpy as np
import pytest

from eosin.artefacts.manifest import read_manifest
from eosin.errors import ConfigError, DataError
from eosin.training import embed as embedding
from eosin.training import features
from eosin.training.embed import EmbedOptions, embed
from eosin.training.embeddings import read_embeddings
from eosin.training.train import train

h5py = pytest.importorskip("h5py", reason="h5py is not installed here")
OPTIONS = EmbedOptions(backbone="test_vit", weights="none", device="cpu", batch_size=4)


@pytest.fixture
def few(drawn_breakhis, tmp_path):
    """20 images of their own, that a test may damage or remove; in splits."""
    rows = drawn_breakhis.where(np.arange(len(drawn_breakhis)) < 20)
    folder = tmp_path / "images"
    folder.mkdir()
    paths = [shutil.copy(path, folder) for path in rows.paths]
    from dataclasses import replace

    return replace(rows, frame=rows.frame.assign(path=[str(path) for path in paths]))


def matrix(path):
    with h5py.File(path) as file:
        return file["X"][:]


def test_rows_are_the_manifests_images_with_its_columns_and_what_made_them(few, tmp_path):
    done = embed(few, tmp_path / "e.h5ad", OPTIONS)
    assert (done.images, done.width, done.skipped) == (20, 64, ())
    found = read_embeddings(tmp_path / "e.h5ad")
    assert found.images == tuple(str(path) for path in few.paths)
    assert found.made["backbone"] == "test_vit"
    assert found.made["initial_weights"] == "random weights"
    with h5py.File(tmp_path / "e.h5ad") as file:
        assert list(file["obs"]["label"].asstr()[:]) == few.frame["label"].tolist()
        assert file["X"].dtype == np.float32


def test_anndata_reads_it(few, tmp_path):
    anndata = pytest.importorskip("anndata", reason="anndata is not installed here")
    embed(few, tmp_path / "e.h5ad", OPTIONS)
    found = anndata.read_h5ad(tmp_path / "e.h5ad")
    assert found.shape == (20, 64)
    assert found.obs["patient"].tolist() == few.frame["patient"].tolist()
    assert found.obs_names.tolist() == [str(path) for path in few.paths]
    assert found.uns["eosin"]["backbone"] == "test_vit"
    np.testing.assert_array_equal(found.X, matrix(tmp_path / "e.h5ad"))
    assert anndata.read_h5ad(tmp_path / "e.h5ad", backed="r").X.shape == (20, 64)


def of_tiles(manifest, **changes):
    """The manifest as one of tiles, 448 px apart in four columns, of two slides."""
    from dataclasses import replace

    rows = np.arange(len(manifest))
    columns = {
        "slide": [f"{row // 10}.svs" for row in rows],
        "x": [str(row % 4 * 448) for row in rows],
        "y": [str(row // 4 * 448) for row in rows],
        "mpp": ["0.5" for _ in rows],
    }
    return replace(manifest, frame=manifest.frame.assign(**{**columns, **changes}))


def test_tiles_of_slides_lie_where_wsidata_and_lazyslide_look_for_them(few, tmp_path):
    broken = few.paths[3]
    broken.write_bytes(b"no image")
    embed(of_tiles(few), tmp_path / "e.h5ad", OPTIONS)
    kept = np.delete(np.arange(20), 3)
    with h5py.File(tmp_path / "e.h5ad") as file:
        spatial, obs = file["obsm/spatial"], file["obs"]
        assert spatial.attrs["encoding-type"] == "array"
        np.testing.assert_array_equal(spatial, np.stack([kept % 4, kept // 4], axis=1) * 448)
        for name in ("x", "y", "mpp", "tile_id"):
            assert obs[name].attrs["encoding-type"] == "array"
            assert name in obs.attrs["column-order"]
        assert obs["tile_id"][:].tolist() == list(range(19))
        assert obs["x"][:].tolist() == (kept % 4 * 448).tolist()
        assert obs["slide"].asstr()[:].tolist() == [f"{row // 10}.svs" for row in kept]
    assert len(read_embeddings(tmp_path / "e.h5ad").images) == 19


@pytest.mark.parametrize("changes", [{"x": ""}, {"y": "left"}, {"slide": ""}])
def test_images_that_are_not_all_tiles_keep_their_columns_as_text(few, tmp_path, changes):
    embed(of_tiles(few, **changes), tmp_path / "e.h5ad", OPTIONS)
    with h5py.File(tmp_path / "e.h5ad") as file:
        assert "spatial" not in file["obsm"]
        assert "tile_id" not in file["obs"]
        assert file["obs/mpp"].asstr()[0] == "0.5"


def test_an_interrupted_one_goes_on_to_the_same_bytes_of_features(few, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "_EACH", 8)
    embed(few, tmp_path / "whole.h5ad", OPTIONS)
    real, calls = embedding.TorchEngine.features, []

    def dies(self, batch):
        calls.append(len(batch))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(embedding.TorchEngine, "features", dies)
    out = tmp_path / "e.h5ad"
    with pytest.raises(KeyboardInterrupt):
        embed(few, out, OPTIONS)
    assert not out.exists()
    with pytest.raises(DataError, match=r"e\.h5ad\.partial: left by an interrupted.*--resume"):
        embed(few, out, OPTIONS)
    other = EmbedOptions(**{**{k: getattr(OPTIONS, k) for k in OPTIONS.__slots__}, "fit": "crop"})
    with pytest.raises(DataError, match="what differs is fit, preprocessing"):
        embed(few, out, other, resume=True)
    calls.clear()
    calls.extend([0] * 10)
    embed(few, out, OPTIONS, resume=True)
    assert sum(calls[10:]) == 12  # the first part of 8 was kept
    np.testing.assert_array_equal(matrix(out), matrix(tmp_path / "whole.h5ad"))
    assert not (tmp_path / "e.h5ad.partial").exists()


def test_an_unreadable_file_is_listed_and_left_out(few, tmp_path):
    few.paths[3].write_bytes(b"no image")
    done = embed(few, tmp_path / "e.h5ad", OPTIONS)
    assert done.images == 19
    assert [item.path for item in done.skipped] == [few.paths[3]]
    assert few.paths[3].name in (tmp_path / "e.h5ad.errors.csv").read_text()


def test_a_folder_has_one_row_an_image_and_half_precision_is_asked_for(few, tmp_path):
    options = EmbedOptions(backbone="test_vit", weights="none", device="cpu", dtype="float16")
    done = embed([few.paths[0].parent], tmp_path / "e.h5ad", options)
    assert done.images == 20
    assert matrix(tmp_path / "e.h5ad").dtype == np.float16


def test_another_file_is_never_overwritten(few, tmp_path):
    with h5py.File(tmp_path / "e.h5ad", "w") as file:
        file["mine"] = [1, 2]
    with pytest.raises(ConfigError, match="no embeddings of eosin's"):
        embed(few, tmp_path / "e.h5ad", OPTIONS)


def test_a_probe_on_embeddings_is_the_probe_on_images_and_needs_none(
    divided, small_probe, tmp_path
):
    probe = small_probe.with_overrides({"backbone": "test_vit", "image_size": 160})
    on_images = train(divided, tmp_path / "images", probe).run
    embed(divided, tmp_path / "e.h5ad", OPTIONS)
    gone = tmp_path / "gone.csv"
    divided.write(gone)
    manifest = read_manifest(gone)
    settings = small_probe.with_overrides({"image_size": 160})
    settings = settings.with_overrides(read_embeddings(tmp_path / "e.h5ad").settings)
    for path in manifest.paths:  # they could not be read any more
        path.rename(path.with_suffix(".away"))
    try:
        run = train(manifest, tmp_path / "run", settings).run
    finally:
        for path in manifest.paths:
            path.with_suffix(".away").rename(path)
    assert run.record.backbone == "test_vit"
    assert run.record.choices == on_images.record.choices
    assert run.record.temperature == pytest.approx(on_images.record.temperature, abs=1e-6)
    assert run.record.training["embeddings"] == str(tmp_path / "e.h5ad")


def test_embeddings_of_other_images_or_another_network_are_one_clear_sentence(
    few, divided, small_probe, tmp_path
):
    embed(few, tmp_path / "e.h5ad", OPTIONS)
    settings = small_probe.with_overrides(read_embeddings(tmp_path / "e.h5ad").settings)
    settings = settings.with_overrides({"image_size": 160})
    with pytest.raises(DataError, match=r"holds 0 of the 48 images.*embed these images again"):
        train(divided, tmp_path / "run", settings)
    with pytest.raises(DataError, match="made with other weights"):
        train(divided, tmp_path / "run", settings.with_overrides({"backbone": "test_vit2"}))
    (tmp_path / "cut.h5ad").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(DataError, match="not a whole HDF5 file"):
        read_embeddings(tmp_path / "cut.h5ad")
    with pytest.raises(ConfigError, match="want freeze = true"):
        settings.with_overrides({"freeze": False})


def test_memory_does_not_grow_with_the_images(few, tmp_path, monkeypatch):
    """What is held at once is one part: its arrays are gone before the next one's are made."""
    monkeypatch.setattr(embedding, "_EACH", 4)
    live, most = [0], [0]
    real = features.Features

    class Counted(real):
        def __init__(self, *args, **named):
            super().__init__(*args, **named)
            live[0] += 1
            most[0] = max(most[0], live[0])

        def __del__(self):
            live[0] -= 1

    for module in (embedding, features):
        monkeypatch.setattr(module, "Features", Counted)
    embed(few, tmp_path / "e.h5ad", OPTIONS)
    assert most[0] <= 2
    assert matrix(tmp_path / "e.h5ad").shape == (20, 64)


def test_what_lies_in_a_folder_and_is_not_embedded_is_listed_with_its_reason(few, tmp_path):
    folder = few.paths[0].parent
    (folder / "again.png").symlink_to(few.paths[0])
    done = embed([folder], tmp_path / "e.h5ad", OPTIONS)
    assert done.images == 20
    assert [item.path.name for item in done.skipped] == ["again.png"]
    assert "again.png" in (tmp_path / "e.h5ad.errors.csv").read_text()
