"""Draw the figures of the documentation: `python docs/figures`, or `python docs/figures NAME ...`.

Each module here has a function ``draw`` that gives a figure of formulas or of tissue drawn by
eosin, the same each time. Figures with pictures in them are kept as PNG, others as SVG.
"""

from __future__ import annotations

import io
import sys
from importlib import import_module
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

HERE = Path(__file__).resolve().parent
STYLE = {
    "axes.prop_cycle": plt.cycler(color=["#c2396b", "#4b3b8f", "#0b6b4f", "#7a4b00"]),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "font.size": 10,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "eosin",
}


def small_png(figure: Figure, path: Path) -> None:
    """Save with a palette, a third of the bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=96)
    Image.open(stream).convert("RGB").quantize(200).save(path, optimize=True)


def main(names: list[str]) -> None:
    """Draw the figures of these names; of none given, all."""
    known = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "__main__")
    with plt.rc_context(STYLE):
        for name in names or known:
            figure = import_module(name).draw()
            pictures = any(axes.images for axes in figure.axes)
            path = HERE / f"{name}.{'png' if pictures else 'svg'}"
            if pictures:
                small_png(figure, path)
            else:
                figure.savefig(path, metadata={"Date": None})
            print(f"{path.relative_to(HERE.parents[1])}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
