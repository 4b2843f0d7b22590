"""Drawing of H&E in optical density: stroma, fat, epithelium, nuclei, and the scanner's picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from eosin.arrays import Bools, Floats32, UInt8Image
from eosin.data.glands import ARCHITECTURES, Plan, Sheet, lattice, territories
from eosin.data.nuclei import INK, STROMAL, Cells, Nuclei, epithelial_cells, paint, stromal_cells

SUPERSAMPLING = 1.5  # drawn larger and averaged, which smooths every edge
_LEAST = 0.08  # share of a field that epithelium covers at least
_TRIES = 20  # at 400X one field in three shows too little; at 100X hardly any
_TILE = 1024  # side of the periodic textures that all images cut their crops from


@dataclass(frozen=True, slots=True)
class Stroma:
    """The tissue around the epithelium: cells in 100 x 100 microns, eosin, gaps, share of fat."""

    spindles: float
    lymphocytes: float
    collagen: float
    clefts: float
    fat: float


@dataclass(frozen=True, slots=True)
class Stain:
    """Colour and sharpness of one slide on one scanner.

    ``vectors`` are two unit rows (haematoxylin, eosin) of optical density in R, G, B; ``amounts``
    scale them; ``white`` is the light without tissue (0 to 255); ``blur`` in pixels of the
    picture, ``noise`` in grey levels, ``gamma`` of the camera.
    """

    vectors: tuple[tuple[float, float, float], tuple[float, float, float]]
    amounts: tuple[float, float]
    white: tuple[float, float, float]
    blur: float
    noise: float
    gamma: float


@dataclass(frozen=True, slots=True)
class Tissue:
    """Everything that one patient's images share: architecture, nuclei, stroma and stain."""

    architecture: str
    nuclei: Nuclei
    stroma: Stroma
    stain: Stain
    layers: int
    cytoplasm: float
    membrane: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """One picture and its truth.

    ``image`` is (size, size, 3) RGB uint8; ``epithelium`` (where the label lies) and ``nuclei``
    (the epithelial ones) are (size, size) bool.
    """

    image: UInt8Image
    epithelium: Bools
    nuclei: Bools


@dataclass(frozen=True, slots=True)
class _Amounts:
    """Optical density of both stains over the sheet, before any patient's amounts scale them."""

    haematoxylin: Floats32
    eosin: Floats32


@lru_cache(maxsize=8)
def _texture(along: float, across: float) -> Floats32:
    """Periodic Gaussian noise, zero mean and unit deviation, correlated over x and y (pixels)."""
    white = np.random.default_rng(int(along * 100 + across)).normal(size=(_TILE, _TILE))
    fy, fx = np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None]
    low_pass = np.exp(-2 * (np.pi**2) * ((fx * along) ** 2 + (fy * across) ** 2))
    smooth = np.fft.irfft2(np.fft.rfft2(white) * low_pass, s=(_TILE, _TILE))
    return np.asarray((smooth - smooth.mean()) / smooth.std(), np.float32)


def _crop(sheet: Sheet, sigma: float, *, zoom: float = 1.0) -> Floats32:
    """A random, randomly mirrored crop of isotropic texture, enlarged by ``zoom``."""
    tile, rng = _texture(sigma, sigma), sheet.rng
    side = int(np.ceil(sheet.side / zoom))
    tile = np.tile(tile, (-(-side // _TILE), -(-side // _TILE))) if side > _TILE else tile
    row, column = (int(rng.integers(0, extent - side + 1)) for extent in tile.shape)
    flip = tuple(slice(None, None, int(rng.choice([-1, 1]))) for _ in range(2))
    crop = np.ascontiguousarray(tile[row : row + side, column : column + side][flip])
    if side == sheet.side:
        return crop
    return np.asarray(cv2.resize(crop, (sheet.side, sheet.side)), np.float32)


def _smoothed(sheet: Sheet, mask: UInt8Image) -> UInt8Image:
    """The mask with corners rounded to about two microns."""
    if not mask.any():
        return mask
    half = cv2.resize(mask, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    soft = cv2.resize(cv2.GaussianBlur(half, (0, 0), sheet.pixels_per_micron), mask.shape[::-1])
    return np.asarray((soft > 127) * np.uint8(255), np.uint8)


def _fibre_flow(sheet: Sheet, obstacles: UInt8Image) -> tuple[Floats32, Floats32]:
    """Coordinates along and across the fibres in microns, bending round what is in their way."""
    rng, low = sheet.rng, 64
    grid = (np.arange(low) + 0.5) / low * sheet.side / sheet.pixels_per_micron
    x, y = np.meshgrid(grid, grid)
    turn = rng.uniform(0, np.pi)
    along = x * np.cos(turn) + y * np.sin(turn)
    across = -x * np.sin(turn) + y * np.cos(turn)
    for wavelength, height in ((190, 11), (80, 3.0), (26, 0.7)):
        wave = rng.normal(0, 1, 2) / wavelength
        phase = 2 * np.pi * ((x * wave[0] + y * wave[1]) + along / wavelength + rng.uniform())
        across = across + height * rng.uniform(0.4, 1.2) * np.sin(phase)
    free = cv2.resize(255 - obstacles, (low, low), interpolation=cv2.INTER_AREA)
    distance = cv2.distanceTransform((free > 127).astype(np.uint8), cv2.DIST_L2, 3) * grid[1]
    distance = cv2.GaussianBlur(distance, (0, 0), 1.5) - grid[0] * 1.0
    across = across + 22 * np.exp(-np.maximum(distance, 0) / 16) * rng.choice([-1, 1])
    return along.astype(np.float32), across.astype(np.float32)


def _fibres(
    sheet: Sheet, flow: tuple[Floats32, Floats32], along: float, across: float, *, side: int
) -> Floats32:
    """Oriented noise that follows the flow; ``along`` and ``across`` are its steps a micron."""
    shift = sheet.rng.uniform(0, _TILE / 2, 2)
    u = cv2.resize(flow[0] * np.float32(along) + np.float32(shift[0]), (side, side))
    v = cv2.resize(flow[1] * np.float32(across) + np.float32(shift[1]), (side, side))
    tile = _texture(7.0, 1.4)
    return np.asarray(cv2.remap(tile, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))


def _stroma(sheet: Sheet, stroma: Stroma, flow: tuple[Floats32, Floats32]) -> Floats32:
    """Eosin of the collagen: fine fibres in bundles, pale in the gaps between them."""
    fine = _fibres(sheet, flow, 1.5, 1.7, side=sheet.side)
    # Bundles are broad: half the pixels show as much.
    half = _fibres(sheet, flow, 0.7, 0.6, side=sheet.side // 2)
    bundles = np.asarray(cv2.resize(half, (sheet.side, sheet.side)), np.float32)
    patches, grain = _crop(sheet, 18.0), _crop(sheet, 1.2)
    eosin = 0.80 + 0.17 * fine + 0.12 * bundles + 0.16 * patches + 0.14 * grain
    openness = (stroma.clefts - 1.6) - 0.7 * fine - 0.45 * bundles - 0.6 * patches - 0.2 * grain
    eosin *= stroma.collagen * (1.0 - 0.8 / (1.0 + np.exp(-4.0 * openness)))
    return np.asarray(np.maximum(eosin, 0.02), np.float32)


def _fat(sheet: Sheet, share: float) -> tuple[Bools, Floats32]:
    """Where fat lies, and the thin walls of its cells (0 to 1)."""
    shape = (sheet.side, sheet.side)
    if sheet.rng.random() >= share:
        return np.zeros(shape, bool), np.zeros(shape, np.float32)
    centres = lattice(sheet, sheet.microns(38, 60), jitter=0.12)
    label, edge = territories(sheet.side, centres)
    # A wide blur fills the corners where three cells meet, so that the cells come out round.
    wall = cv2.GaussianBlur(edge, (0, 0), 1.1 * sheet.pixels_per_micron)
    wall = 1.0 / (1.0 + np.exp(-(wall / max(float(wall.max()), 1e-6) - 0.55) * 14.0))
    spot, reach = sheet.anywhere(1)[0], sheet.microns(45, 85)
    near = centres[np.linalg.norm(centres - spot, axis=1) < reach] / 2
    at = np.clip(np.rint(near), 0, len(label) - 1).astype(int)
    chosen = np.zeros(int(label.max()) + 1, bool)
    chosen[label[at[:, 1], at[:, 0]]] = True
    inside = cv2.resize(chosen[label].astype(np.uint8) * 255, shape) > 127
    return inside, np.asarray(cv2.resize(wall.astype(np.float32), shape), np.float32)


def draw(tissue: Tissue, *, size: int, seed: int, magnification: int = 100) -> Drawing:
    """Draw one field of a patient's tissue; the same arguments give the same bytes.

    At 100X one micron is one pixel of an image of 224 pixels; a larger image shows the same field.
    """
    side = round(size * SUPERSAMPLING)
    sheet = Sheet(side, magnification / 100.0 * side / 224.0, np.random.default_rng(seed))
    plan, cells, epithelium = _epithelium(sheet, tissue)
    own = paint(sheet, cells, look=tissue.nuclei)
    ground, others = _ground(sheet, tissue, plan, epithelium)
    covered = _with_epithelium(sheet, tissue, ground, cells=cells, where=epithelium)
    amounts = _with_nuclei(sheet, covered, np.maximum(own, others))
    image = develop(
        _shrink(amounts.haematoxylin, size),
        _shrink(amounts.eosin, size),
        tissue.stain,
        rng=sheet.rng,
    )
    masks = [_shrink(mask.astype(np.float32), size) > 0.5 for mask in (epithelium, own > 0)]
    return Drawing(image, masks[0], masks[1])


def _epithelium(sheet: Sheet, tissue: Tissue) -> tuple[Plan, Cells, Bools]:
    """An architecture that shows what its label rests on: a field of stroma alone is redrawn."""
    for _ in range(_TRIES):
        raw = ARCHITECTURES[tissue.architecture](sheet)
        plan = Plan(*(_smoothed(sheet, mask) for mask in (raw.cavity, raw.solid, raw.mucin)))
        cells, epithelium = epithelial_cells(sheet, tissue.nuclei, plan, layers=tissue.layers)
        if epithelium.mean() >= _LEAST:
            break
    return plan, cells, epithelium


def _shrink(field: Floats32, size: int) -> Floats32:
    return np.asarray(cv2.resize(field, (size, size), interpolation=cv2.INTER_AREA), np.float32)


def _ground(
    sheet: Sheet, tissue: Tissue, plan: Plan, epithelium: Bools
) -> tuple[_Amounts, UInt8Image]:
    """All that is not epithelium: stroma, fat, mucin, lumen; and the ink of stromal nuclei."""
    stroma, occupied = tissue.stroma, plan.cavity | plan.solid
    flow = _fibre_flow(sheet, occupied)
    eosin = _stroma(sheet, stroma, flow)
    haematoxylin = np.asarray(0.16 * eosin, np.float32)
    fat, walls = _fat(sheet, stroma.fat)
    fat &= occupied == 0
    np.copyto(eosin, stroma.collagen * walls, where=fat)
    haematoxylin[fat] *= 0.3
    cloud, grain = _crop(sheet, 9.0), _crop(sheet, 1.2)
    lake, lumen = plan.mucin > 0, (occupied > 0) & ~epithelium
    np.copyto(eosin, 0.06 + 0.02 * cloud + 0.02 * grain, where=lake)
    np.copyto(haematoxylin, 0.12 + 0.04 * cloud + 0.03 * grain, where=lake)
    np.copyto(eosin, np.maximum(0.10 * (cloud - 0.7) * (1.5 + grain), 0.0), where=lumen)
    haematoxylin[lumen] = 0.0
    # Fixation shrinks epithelium off the stroma here and there.
    around = cv2.dilate(epithelium.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=2)
    eosin[(around > 0) & (cloud > 0.8)] *= 0.15
    free = (~(epithelium | fat | lumen | lake)).astype(np.uint8)
    distance = np.asarray(cv2.distanceTransform(free, cv2.DIST_L2, 3), np.float32)
    counts = (stroma.spindles, stroma.lymphocytes)
    others = stromal_cells(sheet, counts, across=flow[1], free=distance)
    return _Amounts(haematoxylin, eosin), paint(sheet, others, look=STROMAL)


def _with_epithelium(
    sheet: Sheet, tissue: Tissue, ground: _Amounts, *, cells: Cells, where: Bools
) -> _Amounts:
    """Cytoplasm with its cell borders in place of the ground where the epithelium stands."""
    _, edge = territories(sheet.side, cells.centres)
    soft = cv2.GaussianBlur(edge, (0, 0), max(0.6, 0.4 * sheet.pixels_per_micron))
    border = cv2.resize(soft, (sheet.side, sheet.side))
    body = tissue.cytoplasm * (0.85 + 0.14 * _crop(sheet, 9.0) + 0.12 * _crop(sheet, 1.2))
    body = np.maximum(body + tissue.membrane * border - 0.10, 0.05)
    return _Amounts(
        np.where(where, 0.36 * body + 0.05, ground.haematoxylin).astype(np.float32),
        np.where(where, body, ground.eosin).astype(np.float32),
    )


def _with_nuclei(sheet: Sheet, amounts: _Amounts, ink: UInt8Image) -> _Amounts:
    """Nuclei with clumps of chromatin; they leave no room for cytoplasm."""
    soft = cv2.GaussianBlur(ink, (0, 0), 0.42 * sheet.pixels_per_micron).astype(np.float32) / INK
    clumps = 1.0 + 0.20 * _crop(sheet, 1.2, zoom=max(sheet.pixels_per_micron / SUPERSAMPLING, 0.5))
    return _Amounts(
        amounts.haematoxylin * np.maximum(1.0 - soft, 0.0) + soft * clumps,
        amounts.eosin * (1.0 - 0.45 * np.minimum(soft, 1.0)),
    )


def develop(
    haematoxylin: Floats32, eosin: Floats32, stain: Stain, *, rng: np.random.Generator
) -> UInt8Image:
    """The picture of two concentrations: I = I0 exp(-C S) (Beer-Lambert; Ruifrok & Johnston 2001).

    ``haematoxylin`` and ``eosin`` are (h, w) optical densities; returns (h, w, 3) RGB uint8.
    """
    amounts = np.stack([haematoxylin * stain.amounts[0], eosin * stain.amounts[1]], axis=2)
    density = cv2.transform(amounts, np.asarray(stain.vectors, np.float32).T)
    light = np.exp(-stain.gamma * np.maximum(density, 0.0)) * np.asarray(stain.white, np.float32)
    if stain.blur > 0.2:
        light = cv2.GaussianBlur(light, (0, 0), stain.blur)
    height, width = haematoxylin.shape
    row, column = (int(start) for start in rng.integers(0, _TILE, 2))
    rows, columns = (row + np.arange(height)) % _TILE, (column + np.arange(3 * width)) % _TILE
    noise = _texture(0.3, 0.3)[rows][:, columns].reshape(height, width, 3)
    return np.asarray(np.clip(np.rint(light + stain.noise * noise), 0, 255), np.uint8)
