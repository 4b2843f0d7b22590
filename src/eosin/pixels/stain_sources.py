"""The stains of files: of each image by itself, and of all images of a patient together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from eosin.artefacts.preprocessing import Preprocessing
from eosin.errors import ConfigError, DataError
from eosin.machine import reading_threads
from eosin.pixels.reading import UInt8Image, image_in_turn, read_image
from eosin.pixels.stain import Macenko, StainEstimate
from eosin.pixels.stain_normalizer import Source, StainNormalizer
from eosin.pixels.stain_step import normalizer_of

Sources: TypeAlias = tuple[Source | None, ...]


class ImageStains:
    """The stain of each image by itself, estimated once however often it is asked for.

    An image's stain depends on its own pixels alone, so folds may share this: what one of them
    fits to is decided by the images that it asks about.
    """

    def __init__(self, normalizer: StainNormalizer, *, workers: int | None = None) -> None:
        self._normalizer = normalizer
        self._workers = reading_threads(workers)
        self._known: dict[Path, Source | None] = {}

    def of(self, paths: Sequence[Path]) -> Sources:
        """Of each file, its stain; None where it shows none or cannot be read."""
        missing = [path for path in dict.fromkeys(paths) if path not in self._known]
        with ThreadPoolExecutor(self._workers) as pool:
            self._known.update(zip(missing, pool.map(self._estimate, missing), strict=True))
        return tuple(self._known[path] for path in paths)

    def _estimate(self, path: Path) -> Source | None:
        try:
            with image_in_turn(path) as image:
                return self._normalizer.estimate(image)
        except DataError:  # it has no vote; whoever reads it for its pixels names it
            return None


def fit_to_median(
    normalizer: StainNormalizer, paths: Sequence[Path], stains: ImageStains
) -> StainNormalizer:
    """Fit to the median of the images' stains; those that show none have no vote.

    Raises:
        DataError: none of them shows stained tissue.
    """
    found = [stain for stain in stains.of(paths) if stain is not None]
    if not found:
        raise DataError(
            f"none of the {len(paths)} images to take the stain target from shows stained tissue; "
            "name a target image, or leave the stain as it is"
        )
    return normalizer.fit_estimates(found)


def fit_to_file(normalizer: StainNormalizer, target: Path) -> StainNormalizer:
    """Fit to one image file; DataError naming it where it cannot be read or shows no stain."""
    image = read_image(target)
    try:
        return normalizer.fit(image)
    except DataError as error:
        raise DataError(f"{target}: cannot be the stain target: {error}") from error


def pooled_sources(
    paths: Sequence[Path],
    patients: Sequence[str],
    normalizer: StainNormalizer,
    *,
    workers: int | None = None,
) -> Sources:
    """Of each file, the stain of its patient: of all of that patient's files here together.

    None where none of them shows a stain that could be estimated.

    Args:
        paths: image files.
        patients: of each file; what shares a name shares a stain.
        normalizer: estimates.
        workers: reading threads.
    """
    files: dict[str, list[Path]] = {}
    for path, patient in zip(paths, patients, strict=True):
        files.setdefault(patient, []).append(path)

    def estimate(patient: str) -> Source | None:
        try:
            return normalizer.estimate(_readable(files[patient]))
        except DataError:  # the caller notes the images that fall back on their own stain
            return None

    with ThreadPoolExecutor(reading_threads(workers)) as pool:
        found = dict(zip(files, pool.map(estimate, files), strict=True))
    return tuple(found[patient] for patient in patients)


def patient_stains(
    paths: Sequence[Path], patients: Sequence[str], *, workers: int | None = None
) -> dict[str, StainEstimate]:
    """The stains of every patient that shows any, by Macenko's method, which is the fastest.

    Args:
        paths: image files.
        patients: of each file.
        workers: reading threads.
    """
    found = pooled_sources(paths, patients, Macenko(), workers=workers)
    pairs = zip(patients, found, strict=True)
    return {name: stain for name, stain in pairs if isinstance(stain, StainEstimate)}


def patient_sources(
    paths: Sequence[Path],
    patients: Sequence[str] | None,
    spec: Preprocessing,
    *,
    workers: int | None = None,
) -> Sources | None:
    """What each file's stain is brought from, where the preprocessing goes by patient; else None.

    Args:
        paths: image files.
        patients: of each file; None where they are not known.
        spec: the preprocessing.
        workers: reading threads.

    Raises:
        ConfigError: the preprocessing goes by patient, and patients are not known.
    """
    if spec.stain is None or spec.stain.per == "image":
        return None
    if patients is None:
        raise ConfigError(
            "the stain step estimates one stain a patient, but the patients of these images are "
            "not known; give a manifest that names them, or train with stain_per = 'image'"
        )
    return pooled_sources(paths, patients, normalizer_of(spec.stain), workers=workers)


def _readable(paths: Sequence[Path]) -> Iterator[UInt8Image]:
    for path in paths:
        try:
            with image_in_turn(path) as image:
                yield image
        except DataError:  # whoever reads it for its pixels names it
            continue
