"""What every test may use: the real images where they are, and tiny trees with true names."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from eosin.arrays import UInt8Image
from eosin.artefacts.manifest import Manifest
from eosin.artefacts.predictions import Predictions, Provenance, make_predictions
from eosin.artefacts.preprocessing import Preprocessing
from eosin.artefacts.run import FoldsRun, TrainedRun
from eosin.data.breakhis import read_breakhis
from eosin.data.splits import split_by_fractions
from eosin.data.synthetic import SyntheticOptions, write_synthetic
from eosin.networks.run import Run
from eosin.networks.taking_in import take_in
from eosin.progress import Silent
from eosin.protocol import Protocol
from eosin.tasks import Task
from eosin.training.config import TrainingConfig

RecordMaker = Callable[..., TrainedRun]
SlideDrawer = Callable[..., Path]
_DEFAULT = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def listen() -> Iterator[Callable[[type[BaseHTTPRequestHandler]], str]]:
    """Starts a server of a handler on loopback and gives its address; it ends with the test."""
    with ExitStack() as ends:

        def begin(handler: type[BaseHTTPRequestHandler]) -> str:
            server = ends.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            ends.callback(thread.join)
            ends.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}"

        yield begin


class Told(Silent):
    """Remembers what it was told.

    Attributes:
        works: every work with its total and what of it was done before.
        done: steps done of the last work.
        steps: steps done, by work.
        errors: steps done in vain, of all works.
        notes: the sentences.
    """

    def __init__(self) -> None:
        self.works: list[tuple[str, int | None, int]] = []
        self.steps: Counter[str] = Counter()
        self.notes: list[str] = []
        self.done = self.errors = 0

    def begin(self, work: str, *, total: int | None = None, done: int = 0) -> None:
        self.works.append((work, total, done))
        self.done = done

    def advance(self, steps: int = 1, *, errors: int = 0, said: str = "") -> None:  # noqa: ARG002
        self.steps[self.works[-1][0] if self.works else ""] += steps
        self.done, self.errors = self.done + steps, self.errors + errors

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)


@pytest.fixture
def told() -> Told:
    """A progress that remembers what it was told."""
    return Told()


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder with ``data/`` and ``weights/``; skips, saying so, where it is absent."""
    folder = Path(os.environ.get("EOSIN_TEST_DATA", _DEFAULT))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}: set EOSIN_TEST_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def real_data(shared_folder: Path) -> Path:
    """The folder of real images: ``breakhis100x``, ``breakhis``, ``idc``, ``bci``."""
    return shared_folder / "data"


@pytest.fixture(scope="session")
def weights_folder(shared_folder: Path) -> Path:
    """The folder of ImageNet-pretrained feature extractors."""
    return shared_folder / "weights"


@pytest.fixture(scope="session")
def drawn_breakhis(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """48 synthetic images of 12 patients, 64 px, under BreakHis names."""
    out = tmp_path_factory.mktemp("drawn")
    write_synthetic(out, SyntheticOptions(patients=12, images=48, size=64, seed=3))
    return read_breakhis(out / "images").manifest


@pytest.fixture(scope="session")
def small_probe() -> TrainingConfig:
    """A frozen probe on a network small enough for tests, its weights random."""
    return TrainingConfig(
        backbone="test_efficientnet", weights="none", freeze=True, image_size=32, device="cpu"
    )


@pytest.fixture(scope="session")
def divided(drawn_breakhis: Manifest) -> Manifest:
    """The drawn images in splits: 6 patients to train, 3 to validate, 3 to test."""
    return split_by_fractions(drawn_breakhis, (0.5, 0.25, 0.25), seed=0)


@pytest.fixture(scope="session")
def probe(small_probe: TrainingConfig) -> TrainingConfig:
    """At 32 pixels the small network's map is a single pixel."""
    return small_probe.with_overrides({"image_size": 64})


@pytest.fixture(scope="session")
def trained(
    divided: Manifest, probe: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """A Run of such a probe, which no test may change."""
    from eosin.training.train import train

    return train(divided, tmp_path_factory.mktemp("trained") / "probe", probe).run


BINARY = Task("binary", ("benign", "malignant"), positive="malignant")
BY_PATIENT = Provenance(protocol=Protocol(unit="patient", design="5-fold"))


@pytest.fixture(scope="session")
def patients_table() -> Callable[..., Predictions]:
    """A binary table of the probability given to the truth: a row a patient, a column an image.

    Patients are benign and malignant by turns.
    """

    def build(
        truth: np.ndarray,
        provenance: Provenance = BY_PATIENT,
    ) -> Predictions:
        patients, images = truth.shape
        label = np.repeat(np.arange(patients) % 2, images)
        malignant = np.where(label == 1, truth.ravel(), 1 - truth.ravel())
        rows = pd.DataFrame(
            {
                "path": [f"/bh/{index}.png" for index in range(truth.size)],
                "patient": np.repeat([f"14-{patient}" for patient in range(patients)], images),
                "magnification": "100",
                "label": [BINARY.classes[each] for each in label],
                "fold": "",
            }
        )
        chances = np.stack([1 - malignant, malignant], axis=1)
        at = provenance.threshold
        return make_predictions(rows, chances, task=BINARY, threshold=at, provenance=provenance)

    return build


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests out of the user's cache."""
    monkeypatch.setenv("EOSIN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def make_record() -> RecordMaker:
    """The record of a trained Run that nothing is special about, but for what is asked for."""

    def make(**changes: object) -> TrainedRun:
        fields: dict[str, object] = {
            "task": Task("binary", ("benign", "malignant"), positive="malignant"),
            "dataset": "breakhis",
            "backbone": "test_efficientnet",
            "preprocessing": Preprocessing(size=64),
            "protocol": Protocol("patient", "70/15/15", seed=1),
            "fingerprint": "f0" * 32,
            "fold": None,
            "train_patients": ("14-4659", "14-13418"),
            "val_patients": ("14-9461",),
            "patient_pattern": "",
            "temperature": 1.25,
            "threshold": 0.5,
            "seed": 0,
            "training": {},
            "choices": {},
            "initial_weights": "random weights",
            "versions": {"eosin": "0.1.0"},
            "notes": (),
            "weights_sha256": "0" * 64,
            "context": None,
            "scale": None,
            "bag": None,
            "reference": None,
        }
        return TrainedRun.model_validate({**fields, **changes})

    return make


@pytest.fixture(scope="session")
def folds_of() -> Callable[[Path, Sequence[Run]], FoldsRun]:
    """The record of a Run of folds, whose members are taken into its folder."""

    def make(folder: Path, runs: Sequence[Run]) -> FoldsRun:
        own = {"kind", "fold", "weights_sha256", "graph", "reference"}
        fields = {k: v for k, v in dict(runs[0].record).items() if k not in own}
        return FoldsRun.model_validate(
            {
                **fields,
                **dict.fromkeys(("fold", "weights_sha256", "reference", "context", "bag")),
                "vote": None,
                "members": take_in(folder, runs),
            }
        )

    return make


@pytest.fixture(scope="session")
def tissue() -> UInt8Image:
    """Smooth colours with fine grain, 1,000 x 900 pixels, no two places alike."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(60, 255, (30, 34, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (1000, 900), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def drawn_slide() -> SlideDrawer:
    """Writes a tiled pyramid: ``drawn_slide(path, pixels, mpp=0.5, levels=2, compression="jpeg")``.

    ``compression`` is "jpeg" (as YCbCr), "jpeg-rgb", "j2k" (an Aperio file), "lzw", "deflate" or
    None; ``mpp`` is None, a number, or the two across and down; each level halves the one above.
    ``sub`` puts the smaller ones into sub-directories, as OME-TIFF does.
    """
    return _draw


def _draw(
    path: Path,
    pixels: UInt8Image,
    *,
    mpp: float | tuple[float, float] | None = 0.5,
    levels: int = 1,
    compression: str | None = "jpeg",
    tile: int = 256,
    sub: bool = False,
) -> Path:
    import tifffile

    across, down = mpp if isinstance(mpp, tuple) else (mpp, mpp)
    options: dict[str, object] = {
        "tile": (tile, tile),
        "photometric": "rgb",
        "metadata": None,
        "compression": compression,
    }
    if compression == "jpeg-rgb":
        options |= {"compression": "jpeg", "compressionargs": {"outcolorspace": "rgb"}}
    if compression == "j2k":
        said = "" if mpp is None else f"|MPP = {mpp}"
        options |= {
            "compression": "APERIO_JP2000_RGB",
            "compressionargs": {"level": 40},
            "description": f"Aperio Image Library v11\r\n{pixels.shape[1]}|AppMag = 20{said}",
        }
    elif across and down:
        options |= {"resolution": (1e4 / across, 1e4 / down), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, subifds=levels - 1 if sub else None, **options)
        for _ in range(levels - 1):
            height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
            kept = pixels[: 2 * height, : 2 * width]
            pixels = cv2.resize(kept, (width, height), interpolation=cv2.INTER_AREA)
            file.write(pixels, subfiletype=1, **options)
    return path
