"""Synthetic H&E under true BreakHis and BCI names, with the mask of what carries the label."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from eosin.arrays import Floats
from eosin.artefacts.outputs import require_output_folder
from eosin.data.bci import HER2
from eosin.data.breakhis import MAGNIFICATIONS
from eosin.data.nuclei import Nuclei
from eosin.data.tissue import Stain, Stroma, Tissue, draw
from eosin.errors import ConfigError, DataError
from eosin.files import StrPath
from eosin.locks import one_writer
from eosin.machine import reading_threads
from eosin.pixels.writing import write_png
from eosin.progress import SILENT, Progress, shown, working
from eosin.settings import checked_options

Kind = Literal["breakhis", "her2"]

BENIGN = ("F", "A", "PT", "TA")  # in the order in which patients take them
MALIGNANT = ("DC", "PC", "LC", "MC")
HER2_LEVELS = HER2.classes
_HER2_LAYOUTS = ("DC", "LC", "PC", "DC", "TA")
_TEST_SHARE = 0.2
_MASKS = "masks"


@checked_options
@dataclass(frozen=True, slots=True)
class SyntheticOptions:
    """How much to draw: ``images`` in all, ``size`` in pixels a side, over ``patients`` slides.

    Raises ConfigError, naming the value and the fix, when an option cannot be drawn.
    """

    kind: Kind = "breakhis"
    patients: int = 24
    images: int = 240
    size: int = 224
    seed: int = 0
    magnification: int = 100

    def __post_init__(self) -> None:
        if self.kind not in ("breakhis", "her2"):
            raise ConfigError(f"kind {self.kind!r} is not known: use 'breakhis' or 'her2'")
        fewest = 2 if self.kind == "breakhis" else len(HER2_LEVELS)
        if not fewest <= self.patients <= 9999:
            raise ConfigError(
                f"patients = {self.patients}: use {fewest} to 9999 for {self.kind}, one a class"
            )
        if not self.patients <= self.images <= 99_999:
            raise ConfigError(
                f"images = {self.images} for {self.patients} patients: "
                f"ask for {self.patients} to 99999, one a patient or more"
            )
        if not 64 <= self.size <= 2048:
            raise ConfigError(f"size = {self.size} pixels: use 64 to 2048")
        if self.magnification not in MAGNIFICATIONS:
            raise ConfigError(f"magnification = {self.magnification}: use 40, 100, 200 or 400")
        if self.seed < 0:
            raise ConfigError(f"seed = {self.seed}: use 0 or more")


@dataclass(frozen=True, slots=True)
class SyntheticPatient:
    """One slide of one patient: what its file names say and the tissue that they share."""

    label: str
    slide: str
    split: str
    tissue: Tissue


@dataclass(frozen=True, slots=True)
class _Scanner:
    """What one scanner does to each of its slides."""

    white: tuple[float, float, float]
    tint: tuple[float, float, float]
    blur: float
    noise: float
    gamma: float


# White points and sharpness span what real BreakHis and BCI images show: greenish, warm, clean.
_SCANNERS = (
    _Scanner((247, 246, 250), (0.00, 0.00, 0.00), 0.45, 2.0, 1.00),
    _Scanner((224, 234, 222), (0.05, -0.02, 0.06), 0.80, 3.0, 0.85),
    _Scanner((252, 246, 236), (-0.03, 0.00, 0.08), 0.60, 4.0, 1.10),
    _Scanner((236, 236, 238), (0.02, 0.04, -0.06), 0.00, 1.5, 1.20),
    _Scanner((238, 228, 240), (0.06, -0.05, 0.00), 1.00, 2.5, 0.95),
)


def _unit(vector: Floats) -> tuple[float, float, float]:
    """A stain vector of unit length with no channel below 0.02."""
    positive = np.maximum(vector, 0.02)
    red, green, blue = (positive / np.linalg.norm(positive)).tolist()
    return red, green, blue


def _stain(rng: np.random.Generator, scanner: _Scanner) -> Stain:
    """The stain of one patient: the laboratory's vectors and amounts, seen by one scanner."""
    tint = np.asarray(scanner.tint)
    haematoxylin = _unit(np.array([0.54, 0.77, 0.33]) + tint + rng.normal(0, 0.035, 3))
    eosin = _unit(np.array([0.17, 0.88, 0.42]) + tint + rng.normal(0, 0.05, 3))
    amounts = np.exp(rng.normal(0, 0.22, 2)).clip(0.75, 1.5)
    white = np.clip(np.asarray(scanner.white) + rng.normal(0, 3, 3), 200, 255).tolist()
    return Stain(
        vectors=(haematoxylin, eosin),
        amounts=(float(amounts[0]), float(amounts[1])),
        white=(white[0], white[1], white[2]),
        blur=scanner.blur,
        noise=scanner.noise * float(rng.uniform(0.8, 1.2)),
        gamma=scanner.gamma,
    )


def _stroma(rng: np.random.Generator, *, cellular: float) -> Stroma:
    return Stroma(
        spindles=float(rng.uniform(12, 30)) * cellular,
        lymphocytes=float(rng.gamma(1.2, 3.0)),
        collagen=float(rng.uniform(0.35, 0.8)),
        clefts=float(rng.uniform(0.2, 1.1)),
        fat=float(rng.choice([0.0, 0.25, 0.6])),
    )


def _nuclei(rng: np.random.Generator, atypia: float) -> Nuclei:
    """Nuclei for an ``atypia`` from 0 (benign) to 1 (malignant), each trait varied on its own.

    Every trait has its own spread between patients, wide enough that none alone tells the class.
    """
    grades = (atypia + rng.normal(0, 0.15) + rng.normal(0, 0.35, 8)).clip(-0.2, 1.3)
    return Nuclei(
        diameter=6.6 + 2.2 * float(grades[0]),
        spread=0.09 + 0.12 * max(0.0, float(grades[1])),
        elongation=1.35 - 0.1 * float(grades[2]) + float(rng.normal(0, 0.12)),
        irregularity=0.08 + 0.11 * max(0.0, float(grades[3])),
        density=1.1 + 0.08 * float(grades[4]) + float(rng.normal(0, 0.13)),
        spacing=1.22 - 0.05 * float(grades[5]) + float(rng.normal(0, 0.04)),
        disorder=float(np.clip(0.2 + 0.45 * grades[6], 0.05, 1.0)),
        vesicular=float(np.clip(0.25 + 0.45 * grades[7], 0.0, 1.0)),
        nucleoli=float(np.clip(0.05 + 0.45 * grades[7], 0.0, 0.8)),
    )


def _tissue(
    rng: np.random.Generator, architecture: str, atypia: float, scanner: _Scanner
) -> Tissue:
    """All that the images of one patient share."""
    cellular = {"F": 1.5, "PT": 2.0, "A": 0.9, "TA": 0.9}.get(architecture, 1.0)
    return Tissue(
        architecture=architecture,
        nuclei=_nuclei(rng, atypia),
        stroma=_stroma(rng, cellular=cellular),
        stain=_stain(rng, scanner),
        layers=int(rng.choice([2, 2, 3, 4])) if atypia < 0.5 else int(rng.choice([2, 3, 4])),
        cytoplasm=float(rng.uniform(0.3, 0.55)),
        membrane=0.10 + 0.08 * max(0.0, atypia) + float(rng.normal(0, 0.03)),
    )


def synthetic_patients(options: SyntheticOptions) -> list[SyntheticPatient]:
    """The patients of a synthetic dataset, classes in turn so that they are balanced.

    Scanners rotate within each class: a scanner's colour tells the patient, never the class.
    """
    return [_patient(options, number) for number in range(options.patients)]


def _patient(options: SyntheticOptions, number: int) -> SyntheticPatient:
    rng = np.random.default_rng([options.seed, number])
    classes = 2 if options.kind == "breakhis" else len(HER2_LEVELS)
    level, turn = number % classes, number // classes
    scanner = _SCANNERS[(turn + options.seed) % len(_SCANNERS)]
    if options.kind == "breakhis":
        subtype = (BENIGN, MALIGNANT)[level][turn % 4]
        tissue = _tissue(rng, subtype, float(level), scanner)
        block = "AB" if turn % 4 == 3 else ""
        return SyntheticPatient(subtype, f"14-{(level + 1) * 10000 + turn + 1}{block}", "", tissue)
    layout = _HER2_LAYOUTS[turn % len(_HER2_LAYOUTS)]
    tissue = _tissue(rng, layout, level / 3 + float(rng.normal(0, 0.1)), scanner)
    of_level = len(range(level, options.patients, classes))
    held_out = round(_TEST_SHARE * of_level) or int(of_level > 1)
    split = "test" if turn >= of_level - held_out else "train"
    return SyntheticPatient(HER2_LEVELS[level], f"{number:04d}", split, tissue)


@dataclass(frozen=True, slots=True)
class _Job:
    """One image to draw: where it goes, relative to the output folder, and from what."""

    path: Path
    tissue: Tissue
    seed: int


def _jobs(options: SyntheticOptions) -> Iterator[_Job]:
    patients = synthetic_patients(options)
    order = np.arange(options.images)
    if options.kind == "her2":  # BCI numbers do not run slide by slide
        order = np.random.default_rng(options.seed).permutation(options.images)
    for image, number in enumerate(order.tolist()):
        patient = patients[number % len(patients)]
        seed = int(np.random.SeedSequence([options.seed, number, 1]).generate_state(1)[0])
        sequence = number // len(patients) + 1
        yield _Job(_relative_path(options, patient, image, sequence), patient.tissue, seed)


def _relative_path(
    options: SyntheticOptions, patient: SyntheticPatient, image: int, sequence: int
) -> Path:
    if options.kind == "her2":
        return Path("HE", patient.split, f"{image:05d}_{patient.split}_{patient.label}.png")
    tumour = "B" if patient.label in BENIGN else "M"
    name = (
        f"SOB_{tumour}_{patient.label}-{patient.slide}-{options.magnification}-{sequence:03d}.png"
    )
    return Path("images", name)


def mask_path(image_path: StrPath) -> Path:
    """Where ``write_synthetic`` put the mask of one of its images (PNG, 255 on epithelium)."""
    image_path = Path(image_path)
    if image_path.parent.name == "images":
        return image_path.parent.parent / _MASKS / image_path.name
    if image_path.parent.parent.name == "HE":
        root = image_path.parent.parent.parent
        return root / _MASKS / image_path.relative_to(root)
    raise DataError(
        f"{image_path} was not written by eosin data synthetic: "
        "want a file in OUT/images, OUT/HE/train or OUT/HE/test"
    )


def write_synthetic(
    out: StrPath,
    options: SyntheticOptions | None = None,
    *,
    workers: int | None = None,
    progress: Progress | bool = SILENT,
) -> list[Path]:
    """Draw a dataset into ``out`` and return the paths of its images, in order.

    BreakHis names lie flat in ``out/images``; BCI names in ``out/HE/train`` and ``out/HE/test``.
    Masks stand beside them under ``out/masks`` (see :func:`mask_path`). The same options write the
    same bytes with any number of ``workers`` (threads). Raises DataError when ``out``
    already holds images of another dataset, or another process is drawing there.
    """
    options = options or SyntheticOptions()
    out, progress = Path(out), shown(progress)
    jobs = list(_jobs(options))
    require_output_folder(out, dict.fromkeys(("images", "HE", _MASKS)))
    _refuse_strangers(out, {job.path for job in jobs})
    written: list[Path] = []
    work = working(progress, "drawing", total=len(jobs))
    with one_writer(out), work, ThreadPoolExecutor(reading_threads(workers)) as pool:
        for path in pool.map(lambda job: _write_image(out, job, options), jobs):
            written.append(path)
            progress.advance()
    return written


def _write_image(out: Path, job: _Job, options: SyntheticOptions) -> Path:
    drawing = draw(
        job.tissue, size=options.size, seed=job.seed, magnification=options.magnification
    )
    path = out / job.path
    write_png(drawing.image, path)
    write_png(drawing.epithelium.astype(np.uint8) * 255, mask_path(path))
    return path


def _refuse_strangers(out: Path, own: set[Path]) -> None:
    """Images of an earlier, different dataset would be read as part of this one."""
    for folder, _, names in os.walk(out):
        for name in sorted(names):
            path = (Path(folder) / name).relative_to(out)
            hidden = name.startswith(".")  # what a process that was killed left
            if path.parts[0] in ("images", "HE") and path not in own and not hidden:
                raise DataError(
                    f"{out} already holds {path}, which is not part of this dataset: "
                    "choose an empty folder"
                )
