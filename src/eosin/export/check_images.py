"""The images that an export is checked on, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eosin.artefacts.manifest import Manifest
from eosin.errors import DataError
from eosin.networks.run import PREDICTIONS_NAME
from eosin.pixels.image_files import find_image_files
from eosin.pixels.preprocessing import prepare
from eosin.pixels.reading import read_image
from eosin.remote import as_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eosin.arrays import Pixels
    from eosin.artefacts.preprocessing import Preprocessing
    from eosin.networks.run import Run
    from eosin.pixels.reading import UInt8Image


MOST = 16
_DRAWN_SIZE = 256


@dataclass(frozen=True, eq=False)
class CheckImages:
    """Images in memory."""

    images: tuple[UInt8Image, ...]  # RGB bytes (H, W, 3), of any sizes
    source: str  # where they come from, in words

    def prepared(self, spec: Preprocessing) -> Pixels:
        """Network input (n, 3, size, size); a stain step takes each image by itself."""
        return np.stack([prepare(image, spec) for image in self.images])


def choose_images(run: Run, asked: Manifest | Sequence[Path] | None) -> CheckImages:
    """Up to 16 images: those asked for, or ones that the Run was scored on, or drawn tissue.

    Args:
        run: to be exported.
        asked: a manifest, or image files and folders; None takes the images of the predictions
            in the Run's own folder where they still exist, and synthetic tissue elsewhere.

    Raises:
        DataError: no image among those asked for, or one that cannot be read.
    """
    if asked is not None:
        if isinstance(asked, Manifest):
            return _read(asked.paths, "the images asked for")
        found = find_image_files(asked)
        found.require_images(asked)
        return _read(found.images, "the images asked for")
    scored = _scored_paths(run)
    if scored:
        return _read(scored, f"images of {run.folder / PREDICTIONS_NAME}")
    return _drawn()


def _scored_paths(run: Run) -> list[Path]:
    from eosin.artefacts.predictions import read_predictions

    table = run.folder / PREDICTIONS_NAME
    if not table.is_file():
        return []
    return [path for path in map(as_path, read_predictions(table).frame["path"]) if path.is_file()]


def _read(paths: Sequence[Path], source: str) -> CheckImages:
    """Images spread evenly over ``paths``."""
    if not paths:
        raise DataError(f"{source}: none to check the export on")
    indices = np.unique(np.linspace(0, len(paths) - 1, MOST).round().astype(int))
    images = tuple(read_image(paths[index]) for index in indices)
    return CheckImages(images, source)


def _drawn() -> CheckImages:
    from eosin.data.synthetic import SyntheticOptions, synthetic_patients
    from eosin.data.tissue import draw

    options = SyntheticOptions(patients=MOST, images=MOST, size=_DRAWN_SIZE)
    images = [
        draw(patient.tissue, size=_DRAWN_SIZE, seed=number).image
        for number, patient in enumerate(synthetic_patients(options))
    ]
    return CheckImages(tuple(images), "synthetic tissue")
