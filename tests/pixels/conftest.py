"""Images of known stains, drawn by Beer-Lambert, for the tests of the stain rooms."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest

Image = npt.NDArray[np.uint8]

MACENKO_STAINS = ((0.5626, 0.7201, 0.4062), (0.2159, 0.8012, 0.5581))  # Macenko et al. 2009


def unit_rows(stains: object) -> npt.NDArray[np.float64]:
    rows = np.array(stains, dtype=np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def draw_tissue(
    stains: object = MACENKO_STAINS, *, seed: int = 0, strength: float = 1.0, size: int = 256
) -> Image:
    """Nuclei in stroma with some glass, (size, size, 3): light 240, camera noise of one value."""
    generator = np.random.default_rng(seed)

    def texture(scale: float) -> npt.NDArray[np.float64]:
        field = cv2.GaussianBlur(generator.normal(size=(size, size)), (0, 0), scale)
        return (field - field.mean()) / field.std()

    nuclei, glass = texture(6) > 0.6, texture(20) > 1.3
    traces = 0.1 * np.abs(texture(4))
    haematoxylin = np.where(nuclei, 1.2 + 0.35 * texture(3), traces)
    eosin = np.where(nuclei, traces, 0.8 + 0.3 * texture(5))
    amounts = strength * np.stack([haematoxylin, eosin], axis=-1).clip(0)
    amounts[glass] = 0
    light = 240.0 * np.exp(-amounts @ unit_rows(stains)) - 1
    light[glass] = 255
    noisy = np.where(glass[..., None], light, light + generator.normal(size=light.shape))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def tissue() -> Callable[..., Image]:
    """``draw_tissue``: a maker of synthetic two-stain images."""
    return draw_tissue


@pytest.fixture(scope="session")
def originals(real_data) -> dict[str, Image]:
    """The ten real BreakHis originals by name, RGB, 700 x 460."""
    files = sorted((real_data / "breakhis").glob("*.png"))
    if not files:
        pytest.skip(f"no BreakHis originals in {real_data / 'breakhis'}")
    return {file.name: cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files}
