"""What an explanation is: the map of one network on one image, and all maps of one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from eosin.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

    from eosin.arrays import FloatMap
    from eosin.artefacts.preprocessing import Fit
    from eosin.evaluation.calibration import Around
    from eosin.explanation.faithfulness_table import FaithfulnessRow
    from eosin.pixels.reading import UInt8Image
    from eosin.pixels.stain_normalizer import Source

Method = Literal[
    "auto",
    "gradcam",
    "gradcam++",
    "hirescam",
    "layercam",
    "eigencam",
    "scorecam",
    "ablationcam",
]
METHODS: tuple[Method, ...] = get_args(Method)
EXACT = "exact"  # what ``"auto"`` draws of a transformer whose logits are sums over patches
METHOD_NAMES: dict[str, str] = {
    EXACT: "Exact patch terms",
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "eigencam": "Eigen-CAM",
    "scorecam": "Score-CAM",
    "ablationcam": "Ablation-CAM",
}


def require_method(name: str) -> Method:
    """``name`` as a method; ConfigError listing all where it is none."""
    for method in METHODS:
        if name == method:
            return method
    raise ConfigError(f"method {name!r} is unknown; want one of {list(METHODS)}")


@dataclass(frozen=True, eq=False)
class Terms:
    """A logit as a sum: that of ``patches``, and ``rest``."""

    patches: FloatMap  # each patch's term (h, w), of either sign
    rest: float  # what no patch explains

    @property
    def unexplained(self) -> float:
        """The size of the rest as a share of the sizes of all terms together, 0 to 1."""
        rest = abs(self.rest)
        return rest / max(rest + float(np.abs(self.patches).sum()), 1e-30)


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Where a network found its evidence for one class.

    Attributes:
        method: how it was made, e.g. ``"gradcam"``.
        model: the network's name among those explained, e.g. ``"bh/fold-1"``.
        backbone: its architecture.
        family: the design that it belongs to, e.g. ``"EfficientNetV2"``.
        target: the class explained.
        probabilities: what the network gives each class, calibrated, 0 to 1.
        values: on the image's own grid (H, W), 0 to 1; 1 is the strongest position of this image.
            All zero where nothing speaks for the class.
        raw: as the method made it, on the feature map's grid (h, w), at least 0.
        seen: whether the network was trained or validated on this image's patient; None where
            the patient is not known.
        source: the stain that the network's preprocessing brought the image from, where it goes
            by patient.
        around: how its logits become probabilities, where neighbours on the slide count.
        exact: what it is the positive part of, where the target's logit is a sum over patches.
    """

    method: str
    model: str
    backbone: str
    family: str
    target: str
    probabilities: Mapping[str, float]
    values: FloatMap
    raw: FloatMap
    seen: bool | None = None
    source: Source | None = None
    around: Around | None = None
    exact: Terms | None = None

    @property
    def beside(self) -> str:
        """What must be read with the map, where it is exact: how much it leaves out."""
        if self.exact is None:
            return ""
        return f"{100 * self.exact.unexplained:.0f} % of what moves the score comes from no patch"

    @property
    def probability(self) -> float:
        """What the network gives ``target``."""
        return self.probabilities[self.target]

    @property
    def predicted(self) -> str:
        """The network's most probable class."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def why_empty(self) -> str:
        """Why there is nothing on the map; empty where there is something."""
        if self.values.any():
            return ""
        method = METHOD_NAMES.get(self.method, self.method)
        return (
            f"Empty map: {method} shows only what raises the score of {self.target}, and no place "
            "of this image does. Explain another class to see what speaks against it."
        )


@dataclass(frozen=True, eq=False)
class Explanation:
    """One image and its maps, all of the same class.

    Attributes:
        path: of the image.
        image: its RGB bytes (H, W, 3), at most 3.2 megapixels: a larger one is reduced.
        label: its true class; empty where unknown.
        target: the class explained.
        members: one map a network.
        merged: their mean weighted by probability; None where maps were not merged.
        disagreement: where they differ (H, W), 0 to 0.5; None as well.
        scores: how faithful each member's map is, where that was asked.
        patient: the image's patient; a name of the image's own where it is not known.
    """

    path: Path
    image: UInt8Image
    label: str
    target: str
    members: tuple[Heatmap, ...]
    merged: Heatmap | None = None
    disagreement: FloatMap | None = None
    scores: tuple[FaithfulnessRow, ...] = ()
    patient: str = ""

    def __str__(self) -> str:
        maps = self.members[0].method if len(self.members) == 1 else f"{len(self.members)} maps"
        return f"{self.path.name}: what speaks for {self.target} ({maps})"

    def _repr_html_(self) -> str:
        from eosin.artefacts.looks import as_html, as_picture

        return as_html(self, self.frame()) + as_picture(self.plot)

    def frame(self) -> pd.DataFrame:
        """A row a network: what it says of the image, and how faithful its map is where asked."""
        import pandas as pd

        judged = {row.model: row for row in self.scores}
        return pd.DataFrame(
            {
                "model": each.model,
                "backbone": each.backbone,
                "method": each.method,
                "target": each.target,
                "probability": each.probability,
                "predicted": each.predicted,
                "seen": each.seen,
                "faithful": judged[each.model].faithful if each.model in judged else None,
            }
            for each in self.members
        )

    def plot(self, ax: Axes | None = None, *, model: str | None = None) -> Axes:
        """The map over its image: of ``model``, else the merged one, else the first network's."""
        from eosin.artefacts.looks import draw_map

        maps = {each.model: each for each in self.members}
        if model is not None and model not in maps:
            raise ConfigError(f"model {model!r} has no map here; want one of {list(maps)}")
        drawn = maps[model] if model is not None else self.merged or self.members[0]
        title = f"{self.path.name}: {drawn.target}, p = {drawn.probability:.2f}, {drawn.model}"
        return draw_map(self.image, drawn.values, ax, title=title)

    @property
    def shown(self) -> tuple[Heatmap, ...]:
        """The map that stands for the image: the merged one, or those of all networks."""
        return self.members if self.merged is None else (self.merged,)

    @property
    def probabilities(self) -> dict[str, float]:
        """The mean of what the networks give each class."""
        names = self.members[0].probabilities
        return {
            name: float(np.mean([member.probabilities[name] for member in self.members]))
            for name in names
        }

    @property
    def seen(self) -> bool | None:
        """Whether any network met the image's patient before; None where that is not known."""
        answers = {heatmap.seen for heatmap in self.members}
        return True if True in answers else None if None in answers else False


def on_image_grid(raw: FloatMap, shape: tuple[int, int], *, fit: Fit) -> FloatMap:
    """Bring a raw map (h, w) back onto the image it came from, scaled to a maximum of 1.

    Bilinear, and the inverse of the preprocessing's ``fit``: a stretched image is covered whole, a
    cropped one in its middle square, with 0 in the margins that the network never saw.

    Args:
        raw: at least 0.
        shape: height and width of the image, in pixels.
        fit: of the preprocessing.

    Returns:
        Shape (height, width), 0 to 1; all 0 where ``raw`` is.
    """
    import cv2

    height, width = shape
    full = np.zeros((height, width), np.float32)
    side = min(shape)
    top, left = ((height - side) // 2, (width - side) // 2) if fit == "crop" else (0, 0)
    if fit == "crop":
        height, width = side, side
    scaled = cv2.resize(raw, (width, height), interpolation=cv2.INTER_LINEAR)
    peak = float(scaled.max())
    if peak > 0:
        full[top : top + height, left : left + width] = scaled / peak
    return full
