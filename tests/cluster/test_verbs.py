"""What each verb writes by two workers is, byte for byte, what it writes by one process."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from acts import fatally, refused, score, tree

from eosin.artefacts.manifest import Manifest
from eosin.explanation.explain import ExplainOptions, explain
from eosin.inference.scoring import PredictOptions
from eosin.inference.slides import SlideOptions
from eosin.inference.stress import stress_tables
from eosin.networks.run import Run
from eosin.pixels.reading import read_image
from eosin.reporting.heatmap_folder import write_heatmaps
from eosin.reporting.slide_folder import predict_slides
from eosin.spread import Here, Spread, Work
from eosin.study.config import read_study
from eosin.study.study import run_study
from eosin.training.embed import EmbedOptions, embed

STUDY = """
title = "Miniature"
dataset = "manifest"
protocols = ["patient 2-fold", "image 70/15/15"]
backbones = ["test_efficientnet", "test_resnet"]
votes = ["soft"]
weights = "none"
freeze = true
image_size = 32
device = "cpu"
resamples = 100
"""


class Verbs:
    """Each writes into a folder that is the current one, so that all paths are the same."""

    def __init__(self, run: Run, split: Manifest) -> None:
        self.run, self.split = run, split

    def slides(self, spread: Spread | None) -> None:
        """Images laid side by side in glass, read as tiles of their size."""
        tifffile = pytest.importorskip("tifffile", reason="slides need tifffile")
        pixels = np.full((8 * 64, 8 * 64, 3), 243, np.uint8)
        for number, path in enumerate(self.split.paths[:16]):
            row, column = divmod(number, 4)
            top, left = 64 * (row + 2), 64 * (column + 2)
            pixels[top : top + 64, left : left + 64] = read_image(path)[:64, :64]
        slide = Path.cwd().parent / "a.tiff"
        tifffile.imwrite(slide, pixels, tile=(256, 256), photometric="rgb", compression="zlib")
        read, options = SlideOptions(1.0, 1.0, 64), PredictOptions(device="cpu", batch_size=4)
        predict_slides(self.run, [slide], Path("out"), read, options, spread=spread)

    def embed(self, spread: Spread | None) -> None:
        options = EmbedOptions("test_resnet", "none", device="cpu", batch_size=8)
        embed(self.split, Path("e.h5ad"), options, spread=spread)

    def explain(self, spread: Spread | None) -> None:
        options = ExplainOptions(device="cpu", batch_size=2, limit=9)
        write_heatmaps(explain([self.run], self.split, options, spread=spread), Path("maps"))

    def stress(self, spread: Spread | None) -> None:
        options = PredictOptions(device="cpu", batch_size=4)
        stress_tables(self.run, self.split, Path("stress"), options, shifts=["blur"], spread=spread)

    def study(self, spread: Spread | None) -> None:
        self.split.write(Path("s.csv"))
        Path("study.toml").write_text(STUDY)
        run_study(read_study("study.toml", root="s.csv"), "study", spread=spread)


def timeless(files: dict[str, bytes]) -> dict[str, object]:
    """But for how long something took."""
    kept: dict[str, object] = dict(files)
    for name, data in files.items():
        if name.endswith("cell.json"):
            kept[name] = {**json.loads(data), "seconds": 0, "checksum": ""}
        if name.endswith("history.csv"):
            kept[name] = re.sub(rb",[\d.]+\r?\n", b"\n", data)
    return kept


@pytest.mark.parametrize("verb", ["slides", "embed", "explain", "stress", "study"])
def test_two_workers_write_what_one_process_writes(
    verb: str,
    spread: Spread,
    trained: Run,
    divided: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for over in (None, spread):
        home = tmp_path / ("there" if over else "here")
        home.mkdir()
        with monkeypatch.context() as patch:
            patch.chdir(home)
            getattr(Verbs(trained, divided), verb)(over)
        found.append(timeless(tree(home)))
    assert found[0]
    here, there = found
    differing = {name for name in {*here, *there} if here.get(name) != there.get(name)}
    assert not differing


def test_an_image_that_kills_its_workers_is_named_in_the_error_table_like_an_unreadable_one(
    spread: Spread, run: Run, images: Path, tmp_path: Path
) -> None:
    poison = frozenset([sorted(images.iterdir())[21].name])
    for name, alter, over in (("here", refused, None), ("there", fatally, spread)):
        (tmp_path / name).mkdir()
        table = tmp_path / name / "p.csv"
        score(run, images, table, alter=partial(alter, poison), spread=over)
    assert tree(tmp_path / "here") == tree(tmp_path / "there")
    named = (tmp_path / "there" / "p.csv.errors.csv").read_text()
    assert f"{next(iter(poison))},2 workers ended over it" in named
    assert len(named.splitlines()) == 3  # the head, the damaged image and this one


def test_blocks_have_the_batches_of_all_rows_where_large_images_fill_them_sooner(
    trained: Run, divided: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eosin.explanation import rows as room

    class ByBlock:
        """Each block by itself."""

        def each(self, work: Work, rows: range) -> Iterator[object]:
            for start in rows[:: work.step]:
                yield from Here().each(work, range(start, min(start + work.step, rows.stop)))

    true, sizes = room._explain_batch, list[int]()
    monkeypatch.setattr("eosin.explanation.loading._BATCH_PIXELS", 3 * 64 * 64)
    monkeypatch.setattr(
        room,
        "_explain_batch",
        lambda loaded, asked: sizes.append(len(loaded)) or true(loaded, asked),
    )
    options = ExplainOptions(device="cpu", batch_size=4, limit=10)
    for spread in (Here(), ByBlock()):
        sizes.clear()
        assert len(list(explain([trained], divided, options, spread=spread))) == 10
        assert sizes == [3, 1, 3, 1, 2]
