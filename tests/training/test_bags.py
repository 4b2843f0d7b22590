"""Labels of slides: what is learned of them, who answers, and that nothing is answered twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from eosin.artefacts.codec import with_changes
from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import Predictions, read_predictions
from eosin.artefacts.run import Bag
from eosin.artefacts.tables import ATTENTION, companion
from eosin.data.splits import split_by_fractions, split_into_folds
from eosin.errors import ConfigError, DataError, EosinError, ModelError
from eosin.evaluation.calibration import apply_temperature
from eosin.evaluation.evaluate import evaluate_predictions
from eosin.inference.bags import Gate, find_slides, load_gate, tile_values, tile_weights
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.inference.table import predict_to_table
from eosin.networks.run import Run, read_run
from eosin.pixels.acquisition import ACQUISITION
from eosin.progress import Silent
from eosin.protocol import UNSPLIT
from eosin.slides.tile import Tile
from eosin.tasks import Task
from eosin.training.config import TrainingConfig
from eosin.training.ensemble import make_ensemble
from eosin.training.train import train

TASK = Task("her2", ("negative", "positive"), positive="positive")
TILES = 40  # of a drawn slide, 2 of which carry the label of a positive one


def manifest_of(rows: list[dict[str, str]]) -> Manifest:
    blank = {"magnification": "", "split": "", "fold": ""}
    return Manifest(pd.DataFrame([{**blank, **row} for row in rows]), TASK, "drawn", UNSPLIT)


@pytest.fixture(scope="module")
def tiles() -> tuple[Manifest, np.ndarray, np.ndarray]:
    """Tiles of 40 patients' slides, their features, and which carry the label."""
    random, rows, features, carry = np.random.default_rng(1), [], [], []
    for patient in range(40):
        label = TASK.classes[patient % 2]
        own = random.normal(size=64) * 0.3
        for tile in range(TILES):
            path = f"/slides/S{patient}.svs/tile_x{tile * 448}_y0_w448_s224"
            row = {"path": path, "label": label, "patient": f"P{patient}"}
            rows.append({**row, "slide": f"S{patient}"})
            carry.append(label == "positive" and tile in (7, 23))
            features.append(own + random.normal(size=64))
            features[-1][:4] += 5 * carry[-1]
    return manifest_of(rows), np.array(features), np.array(carry)


@pytest.fixture(scope="module")
def embedded(tiles: tuple[Manifest, np.ndarray, np.ndarray], tmp_path_factory) -> Path:
    """The features as `eosin embed` would have written them, of a network of 64 features."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed here")
    from eosin.training import embed, embeddings

    manifest, features, _ = tiles
    network = embed._open(embed.EmbedOptions(backbone="test_vit", weights="none", device="cpu"))
    out = tmp_path_factory.mktemp("embedded") / "e.h5ad"
    with h5py.File(out, "w") as file:
        embeddings.tag(file.create_dataset("X", data=features.astype(np.float32)), "array")
        embeddings.write_frames(file, manifest.frame, "test_vit", 64)
        embeddings.write_measures(file, np.ones((len(features), len(ACQUISITION))))
        embeddings.write_made(file, {**network.made, "skipped": "[]"})
    return out


@pytest.fixture(scope="module")
def config(embedded: Path) -> TrainingConfig:
    from eosin.training.embeddings import read_embeddings

    settings = read_embeddings(embedded).settings
    settings |= {"bag": "slide", "inner_folds": 3, "bag_epochs": 15, "device": "cpu"}
    return TrainingConfig(**settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folds(tiles: tuple[Manifest, np.ndarray, np.ndarray]) -> Manifest:
    return split_into_folds(tiles[0], 4, by="patient", seed=0)


@pytest.fixture(scope="module")
def abmil(folds: Manifest, config: TrainingConfig, tmp_path_factory) -> tuple[Run, Predictions]:
    trained = train(folds, tmp_path_factory.mktemp("abmil") / "run", config, fold="all")
    assert trained.predictions is not None
    return trained.run, trained.predictions


def test_attention_tells_slides_of_which_few_tiles_carry_the_label_and_finds_these(
    abmil: tuple[Run, Predictions], tiles: tuple[Manifest, np.ndarray, np.ndarray]
) -> None:
    manifest, _, carry = tiles
    predictions = abmil[1]
    assert len(predictions) == 40
    assert predictions.frame["path"].tolist() == [f"/slides/S{k}.svs" for k in range(40)]
    assert predictions.frame["patient"].tolist() == [f"P{k}" for k in range(40)]
    scored = evaluate_predictions(predictions, resamples=200)
    found = scored.value("roc_auc")
    assert found.value is not None
    assert found.value >= 0.95
    assert (found.images, found.patients) == (40, 40)
    table = predictions.attention
    assert table is not None
    known = table.set_index("path").loc[manifest.frame["path"]]
    positive = (manifest.frame["label"] == "positive").to_numpy()
    assert roc_auc_score(carry[positive], known["attention"].to_numpy()[positive]) >= 0.9
    np.testing.assert_allclose(table.groupby("slide")["attention"].sum(), 1, atol=1e-9)


@pytest.mark.parametrize(("aggregator", "least", "most"), [("topk", 0.9, 1), ("mean", 0, 0.85)])
def test_the_mean_of_all_tiles_drowns_what_the_best_few_tell(
    aggregator: str,
    least: float,
    most: float,
    folds: Manifest,
    config: TrainingConfig,
    tmp_path: Path,
) -> None:
    other = config.with_overrides({"aggregator": aggregator})
    predictions = train(folds, tmp_path / "run", other, fold="all").predictions
    assert predictions is not None
    value = evaluate_predictions(predictions, resamples=200).value("roc_auc").value
    assert value is not None
    assert least <= value <= most


def test_the_table_of_a_training_has_its_tiles_beside_it_and_is_read_alone(
    abmil: tuple[Run, Predictions],
) -> None:
    run, predictions = abmil
    path = run.folder / "predictions.csv"
    beside = pd.read_csv(companion(path, ATTENTION))
    named = ["path", "slide", "x", "y", "attention", "p_negative", "p_positive"]
    assert beside.columns.tolist() == named
    assert len(beside) == 40 * TILES
    assert sorted(set(beside["x"])) == [448 * k for k in range(TILES)]
    again = read_predictions(path)
    np.testing.assert_allclose(again.probabilities, predictions.probabilities, atol=1e-12)
    replace(predictions, attention=None).write(path)  # as of images: nothing old stays beside it
    assert not companion(path, ATTENTION).exists()
    predictions.write(path)


def test_numpy_says_what_the_network_that_learned_says(
    tiles: tuple[Manifest, np.ndarray, np.ndarray], config: TrainingConfig
) -> None:
    import torch

    from eosin.inference.bags import pooled
    from eosin.training.bag_network import BagLearner, Bags, rule_of

    manifest, features, _ = tiles
    split = replace(manifest, frame=manifest.frame.assign(split="train"))
    bags = Bags.of(split, features, "train")
    assert bags is not None
    for components in (16, 64):
        learner = BagLearner(
            bags,
            np.arange(30),
            np.ones(30),
            components=components,
            config=config,
            task=TASK,
        )
        for _ in range(3):
            learner.learn()
        head, gate = learner.folded()
        assert gate is not None
        values = tile_values(head.logits(features), features, gate)
        weights = tile_weights(rule_of(config), values, bags.slide, TASK)
        learner.network.double()
        learner._tiles = (torch.from_numpy(features) - learner._centre) @ learner._axes
        by_torch = learner.logits(np.arange(40))
        np.testing.assert_allclose(pooled(weights, values, bags.slide), by_torch, atol=1e-6)
        assert np.ptp(by_torch) > 0.1


def test_each_rule_weighs_tiles_as_by_hand() -> None:
    slide = np.array([1, 0, 1, 1, 0, 1])
    margins = np.array([2.0, 9, 5, 1, 3, 4])
    values = np.column_stack([-margins / 2, margins / 2, [0.0, np.log(3), 0, 0, 0, np.log(5)]])

    def weights(**fields: object) -> list[float]:
        bag = Bag.model_validate({"share": None, "attention_sha256": None, **fields})
        return tile_weights(bag, values, slide, TASK).tolist()

    assert weights(aggregator="mean") == [0.25, 0.5, 0.25, 0.25, 0.5, 0.25]
    assert weights(aggregator="max") == [0, 1, 1, 0, 0, 0]
    assert weights(aggregator="topk", share=0.5) == [0, 1, 0.5, 0, 0, 0.5]
    gated = weights(aggregator="abmil", attention_sha256="0" * 64)
    np.testing.assert_allclose(gated, [1 / 8, 3 / 4, 1 / 8, 1 / 8, 1 / 4, 5 / 8])


def test_the_best_tile_of_grades_is_the_one_furthest_above_the_first() -> None:
    grades = Task("her2", ("0", "1+", "2+"), ordinal=True)
    values = np.array([[0.0, 1, 0, 0], [1, 0, 3.5, 0], [9, 9, 9, 0]])
    bag = Bag(aggregator="max", share=None, attention_sha256=None)
    assert tile_weights(bag, values, np.zeros(3, np.int64), grades).tolist() == [0, 1, 0]


def test_gated_attention_is_equation_9_of_ilse_tomczak_and_welling() -> None:
    random = np.random.default_rng(0)
    tanh, sigmoid, weight = random.normal(size=(3, 5)), random.normal(size=(3, 5)), np.ones(3)
    features, none = random.normal(size=(4, 5)), np.zeros(3)
    gate = Gate(tanh, none, sigmoid, none, weight)
    by_hand = [weight @ (np.tanh(tanh @ h) * (1 / (1 + np.exp(-sigmoid @ h)))) for h in features]
    np.testing.assert_allclose(gate.scores(features), by_hand, atol=1e-12)
    with pytest.raises(ModelError, match="takes 5 features and the network gives 4"):
        gate.scores(features[:, :4])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Files of 24 patients' tiles: 2 of 12 are darker in a slide that is positive."""
    top, random, rows = tmp_path_factory.mktemp("tiles"), np.random.default_rng(3), []
    for patient in range(24):
        label = TASK.classes[patient % 2]
        tint = random.normal(0, 4, 3)
        for tile in range(12):
            dark = label == "positive" and tile in (4, 9)
            colour = np.array([215.0, 180, 210]) - [70 * dark, 90 * dark, 20 * dark] + tint
            pixels = np.clip(colour + random.normal(0, 12, (32, 32, 3)), 0, 255)
            path = top / f"S{patient}_{tile}.png"
            assert cv2.imwrite(str(path), pixels.astype(np.uint8))
            row = {"path": str(path), "label": label, "patient": f"P{patient}", "x": str(tile)}
            rows.append({**row, "y": "0", "slide": f"S{patient}"})
    return split_by_fractions(manifest_of(rows), (0.5, 0.2, 0.3), seed=1)


@pytest.fixture(scope="module")
def drawn(images: Manifest, small_probe: TrainingConfig, tmp_path_factory) -> Run:
    config = small_probe.with_overrides(
        {"bag": "slide", "image_size": 64, "bag_epochs": 20, "inner_folds": 3}
    )
    return train(images, tmp_path_factory.mktemp("drawn") / "run", config).run


def test_a_run_answers_a_row_a_slide_and_its_tiles_are_beside_it(
    drawn: Run, images: Manifest, tmp_path: Path
) -> None:
    out = tmp_path / "p.csv"
    scored = predict_to_table(drawn, images, out, PredictOptions(batch_size=16)).predictions
    test = images.in_split("test").frame
    assert len(scored) == test["slide"].nunique()
    top = Path(test["path"].iloc[0]).parent
    assert set(scored.frame["path"]) == {str(top / name) for name in test["slide"]}
    assert set(scored.frame["patient"]) == set(test["patient"])
    beside = pd.read_csv(companion(out, ATTENTION))
    assert (beside["slide"].tolist(), beside["x"].tolist()) == (
        test["slide"].tolist(),
        test["x"].astype(int).tolist(),
    )
    held = pd.read_csv(companion(drawn.folder / "predictions.csv", ATTENTION))
    np.testing.assert_allclose(held["attention"], beside["attention"], atol=1e-5)
    assert scored.frame["familiarity"].isna().all()  # what is strange in a slide is not known
    assert any("cannot tell the unfamiliar" in note for note in scored.provenance.notes)
    assert any("a slide is answered by its tiles as gated" in n for n in drawn.record.notes)
    found = evaluate_predictions(read_predictions(out), resamples=50).value("accuracy")
    assert found.images == len(scored)


def test_probabilities_are_those_by_hand_of_logits_and_attention(
    drawn: Run, images: Manifest
) -> None:
    test, network, gate = images.in_split("test"), drawn.networks(device="cpu")[0], load_gate(drawn)
    assert gate is not None
    from eosin.pixels.batches import read_batches

    batches = list(read_batches(test.paths, drawn.record.preprocessing, batch_size=32))
    pairs = [network.answers(batch.pixels) for batch in batches]
    logits, features = (np.concatenate(each) for each in zip(*pairs, strict=True))
    chances = predict(drawn, images).predictions.frame
    for row in chances.itertuples():
        own = (test.frame["slide"] == Path(row.path).name).to_numpy()
        grown = np.exp(gate.scores(features[own]))
        slide = (grown[:, None] * logits[own]).sum(axis=0) / grown.sum()
        by_hand = apply_temperature(slide[None], drawn.record.temperature)[0, 1]
        assert row.p_positive == pytest.approx(by_hand, abs=1e-5)


def test_an_exported_run_answers_alike_without_torch(
    drawn: Run, images: Manifest, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    from eosin.export.export import ExportOptions, export_run

    exported = export_run(drawn, tmp_path / "graph", ExportOptions(check=images))
    assert exported.record.bag == drawn.record.bag
    here, there = (predict(each, images).predictions for each in (drawn, exported))
    np.testing.assert_allclose(there.probabilities, here.probabilities, atol=1e-5)
    with pytest.raises(ConfigError, match="answers for slides, and int8 is judged one image"):
        export_run(drawn, tmp_path / "small", ExportOptions(int8=images))
    (exported.folder / "attention.safetensors").write_bytes(b"none")
    with pytest.raises(ModelError, match=r"attention\.safetensors: changed since run\.json"):
        predict(read_run(exported.folder), images)


def test_a_stopped_prediction_goes_on_to_the_same_table_byte_for_byte(
    drawn: Run, images: Manifest, tmp_path: Path
) -> None:
    class Stops(Silent):
        def advance(self, steps: int = 1, *, errors: int = 0, said: str = "") -> None:
            del errors, said
            self.done = getattr(self, "done", 0) + steps
            if self.done >= 32:
                raise KeyboardInterrupt

    options, whole, again = PredictOptions(batch_size=16), tmp_path / "a.csv", tmp_path / "b.csv"
    predict_to_table(drawn, images, whole, options)
    with pytest.raises(KeyboardInterrupt):
        predict_to_table(drawn, images, again, options, progress=Stops())
    predict_to_table(drawn, images, again, options, resume=True)
    assert again.read_bytes() == whole.read_bytes()
    assert companion(again, ATTENTION).read_bytes() == companion(whole, ATTENTION).read_bytes()


def test_a_tile_that_cannot_be_read_is_told_and_the_others_answer(
    drawn: Run, images: Manifest, tmp_path: Path
) -> None:
    test = images.in_split("test")
    first = test.where(test.frame["slide"] == test.frame["slide"].iloc[0])
    broken = tmp_path / "S_broken.png"
    broken.write_bytes(b"no image")
    frame = first.frame.assign(split="")
    frame.loc[3, "path"] = str(broken)
    scored = predict(drawn, replace(first, frame=frame))
    assert [item.path for item in scored.skipped] == [broken]
    assert len(scored.predictions) == 1
    assert scored.predictions.attention is not None
    assert len(scored.predictions.attention) == 11


def test_labels_of_held_out_slides_change_nothing(
    folds: Manifest, config: TrainingConfig, tmp_path: Path
) -> None:
    frame = folds.frame.copy()
    held = frame["fold"] == "1"
    flipped = {"negative": "positive", "positive": "negative"}
    frame.loc[held, "label"] = frame.loc[held, "label"].map(flipped)
    quick = config.with_overrides({"bag_epochs": 5})
    own, turned = (
        train(each, tmp_path / name, quick, fold=1).run.record
        for name, each in (("own", folds), ("turned", replace(folds, frame=frame)))
    )
    assert own.bag is not None
    assert (own.bag, own.choices, own.weights_sha256) == (
        turned.bag,
        turned.choices,
        turned.weights_sha256,
    )
    assert (own.temperature, own.threshold) == (turned.temperature, turned.threshold)


def test_slides_are_named_by_their_file_where_it_is_theirs_alone() -> None:
    def named(*tiles: tuple[str, str]) -> list[str]:
        fields = {"label": "", "patient": "", "split": "", "fold": ""}
        frame = pd.DataFrame([{"path": path, "slide": slide, **fields} for path, slide in tiles])
        return find_slides(frame)[0]["path"].tolist()

    first, second = (str(Tile(Path("/a/1.svs"), x, 0, 448.0, 224).path) for x in (0, 448))
    assert named((first, "A"), (second, "A")) == ["/a/1.svs"]
    assert named((first, "A"), (second, "B")) == ["/a/1.svs/A", "/a/1.svs/B"]
    assert named(("/a/x/1.png", "A"), ("/a/y/2.png", "A")) == ["/a/A"]


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        (lambda f: f.drop(columns="slide"), "no column 'slide'.*names the slide of each tile"),
        (lambda f: f.assign(slide=f["slide"].where(f.index != 4, "")), "names no slide; fill"),
        (
            lambda f: f.assign(label=f["label"].where(f.index != 4, "positive")),
            "slide 'S0': its tiles have 2 values of 'label'.*give all tiles of a slide one label",
        ),
        (
            lambda f: f.assign(patient=f["patient"].where(f.index != 4, "P2")),
            "slide 'S0': its tiles have 2 values of 'patient'",
        ),
        (
            lambda f: f[(f["label"] == "positive") | (f["slide"] == "S0")].assign(
                split="train", fold=""
            ),
            "the only slide of class 'negative' to learn from",
        ),
    ],
)
def test_a_manifest_that_will_not_do_is_one_sentence(
    changed: object, match: str, folds: Manifest, config: TrainingConfig, tmp_path: Path
) -> None:
    assert callable(changed)
    frame = changed(folds.frame.assign(split="train", fold="")).reset_index(drop=True)
    with pytest.raises(DataError, match=match):
        train(replace(folds, frame=frame), tmp_path / "run", config)


def test_settings_that_do_not_go_with_slides_are_one_sentence(
    config: TrainingConfig,
    abmil: tuple[Run, Predictions],
    drawn: Run,
    images: Manifest,
    tmp_path: Path,
) -> None:
    with pytest.raises(EosinError, match="fine-tuning has none; set freeze = true"):
        config.with_overrides({"freeze": False, "embeddings": ""})
    with pytest.raises(ConfigError, match="set one of them to 'none'"):
        config.with_overrides({"context": "neighbours"})
    with pytest.raises(ConfigError, match="lets images vote, and bag = 'slide' answers for slides"):
        config.with_overrides({"probe": "knn"})
    with pytest.raises(ConfigError, match="a mean of networks answers for images"):
        config.with_overrides({"committee": ("resnet18",)})
    with pytest.raises(ConfigError, match=r"answers for slides.*an ensemble is made of"):
        make_ensemble([drawn, abmil[0]], tmp_path / "both")
    with pytest.raises(DataError, match="no column 'slide'"):
        predict(drawn, images.in_split("test").paths)


def test_a_record_says_what_its_rule_needs_and_nothing_else(drawn: Run) -> None:
    with pytest.raises(ValueError, match="share belongs to 'topk'"):
        Bag(aggregator="topk", share=None, attention_sha256=None)
    with pytest.raises(ValueError, match="attention_sha256 belongs to 'abmil'"):
        Bag(aggregator="mean", share=None, attention_sha256="0" * 64)
    assert with_changes(drawn.record, bag=drawn.record.bag) == drawn.record
