"""Encoders on the command line: listed, their licence said once, embedded, trained, reported."""

import json
import sys

import pytest
from typer.testing import CliRunner

from eosin.cli.app import app
from eosin.cli.encoders import say_licence
from eosin.data.splits import split_by_fractions
from eosin.errors import NoMapError


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def split(drawn_breakhis, tmp_path):
    path = tmp_path / "S.csv"
    split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0).write(path)
    return path


def test_encoders_lists_twenty_with_where_their_weights_are(monkeypatch, tmp_path):
    monkeypatch.setenv("EOSIN_WEIGHTS", str(tmp_path))
    (tmp_path / "uni2-h.safetensors").touch()
    known = {row["name"]: row for row in json.loads(run("encoders", "--json"))}
    assert len(known) == 20
    uni = known["uni2-h"]
    assert uni["here"] == str(tmp_path / "uni2-h.safetensors")
    assert uni["page"] == "https://huggingface.co/MahmoodLab/UNI2-h"
    assert (uni["design"], uni["width"], uni["size"], uni["mpp"]) == (
        "ViT-g/14 reg8",
        1536,
        224,
        0.5,
    )
    assert uni["looked_for"] == ["EOSIN_WEIGHTS/uni2-h.safetensors", "hf-hub:MahmoodLab/UNI2-h"]
    assert (uni["gated"], uni["licence"]) == (True, "CC-BY-NC-ND-4.0")
    assert {row["revision"] for row in known.values()} == {"not pinned: confirm"}
    table = run("encoders")
    assert "uni2-h" in table
    assert "1 of 20 have their weights here" in table


def test_a_licence_is_said_at_first_use_and_not_again(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("EOSIN_CACHE", str(tmp_path))
    say_licence("Virchow2")
    said = capsys.readouterr().out
    assert "the weights of virchow2 are under CC-BY-NC-ND-4.0" in said
    assert "https://huggingface.co/paige-ai/Virchow2" in said
    say_licence("hf-hub:paige-ai/Virchow2")
    say_licence("efficientnetv2-b0")
    assert capsys.readouterr().out == ""


def test_embeddings_made_and_trained_on_give_a_run_that_is_reported_with_heatmaps(split, tmp_path):
    pytest.importorskip("h5py", reason="h5py is not installed here")
    out, trained = tmp_path / "e.h5ad", tmp_path / "run"
    said = run("embed", split, "-o", out, "--backbone", "test_vit", "--weights", "none")
    assert "48 images, 64 features each" in said
    run("train", split, "-o", trained, "--embeddings", out, "--device", "cpu")
    run("predict", trained, split, "-o", tmp_path / "p.csv", "--device", "cpu")
    run("report", trained, tmp_path / "p.csv", "-o", tmp_path / "r.html", "--heatmaps")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Exact patch terms" in page
    assert "of what moves the score comes from no patch" in page


def test_a_report_with_heatmaps_goes_out_though_the_network_has_none(split, tmp_path, monkeypatch):
    trained = tmp_path / "run"
    words = ["--backbone", "test_efficientnet", "--weights", "none", "--freeze", "--image-size", 64]
    run("train", split, "-o", trained, *words, "--device", "cpu")
    run("predict", trained, split, "-o", tmp_path / "p.csv", "--device", "cpu")

    def none(*_, **__):
        raise NoMapError("backbone 'odd' has several feature maps and no single one")

    monkeypatch.setattr("eosin.explanation.examples.open_to_explain", none)
    run("report", trained, tmp_path / "p.csv", "-o", tmp_path / "r.html", "--heatmaps")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "There is no heatmap of this model: backbone &#39;odd&#39; has several" in page


def test_a_run_of_merged_adapters_predicts_reports_and_is_exported_without_peft(
    split, tmp_path, monkeypatch
):
    pytest.importorskip("peft", reason="peft is not installed here")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed here")
    trained, graph = tmp_path / "run", tmp_path / "graph"
    words = ["--backbone", "test_vit", "--weights", "none", "--adapters", 2, "--epochs", 1]
    run("train", split, "-o", trained, *words, "--device", "cpu")
    monkeypatch.setitem(sys.modules, "peft", None)
    run("predict", trained, split, "-o", tmp_path / "p.csv", "--device", "cpu")
    run("report", trained, tmp_path / "p.csv", "-o", tmp_path / "r.html", "--heatmaps")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Exact patch terms" in page
    assert "Trained in part, adapters of rank 2 and the head" in page
    run("export", trained, "-o", graph)
    assert json.loads((graph / "run.json").read_text())["graph"]["parity"]["probabilities"] < 1e-4


def test_the_last_blocks_are_trained_from_the_command_line(split, tmp_path):
    words = ["--backbone", "test_efficientnet", "--weights", "none", "--image-size", 64]
    words += ["--train-blocks", 2, "--epochs", 1, "--device", "cpu"]
    run("train", split, "-o", tmp_path / "run", *words)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["training"]["train_blocks"] == 2
    assert any("the last 2 of 5 blocks" in note for note in record["notes"])
