# %% [markdown]
# # A slide to QuPath
#
# A Run scores a whole slide, and the result opens in QuPath as tiles and as a map. You need the parts `train`
# and `slides`.
#
# ## A Run that knows its scale
#
# A slide is read at the um/px of the images that the Run learnt from, so the manifest must state it. Drawn
# tissue at 200X has about 0.45 um/px; yours is in the scanner's notes.

# %%
from pathlib import Path
from shutil import copy

import numpy as np
import tifffile
from PIL import Image

import eosin

MPP = 0.45
drawn = eosin.SyntheticOptions(
    patients=120, images=120, size=128, magnification=200
)
for path in eosin.write_synthetic("drawn", drawn):
    folder = Path("fields", "benign" if "_B_" in path.name else "malignant")
    folder.mkdir(parents=True, exist_ok=True)
    copy(path, folder)
manifest = eosin.read_folder(
    "fields", patient=r"-(14-\d+)", positive="malignant", mpp=MPP
).manifest
divided = eosin.split_by_fractions(
    manifest, (0.8, 0.2, 0.0), by="patient", seed=7
)
config = eosin.TrainingConfig(
    backbone="nf_resnet26@stride4", weights="none", image_size=128, freeze=True
)
run = eosin.train(divided, "runs/fields", config).run
run

# %% [markdown]
# ## A slide
#
# You would take a scanner's file, `.svs` or `.ndpi`. Here a small one is put together from fields of patients
# that the Run has not met: benign on the left, malignant on the right, bare glass around.

# %%
other = eosin.SyntheticOptions(
    patients=20, images=48, size=128, magnification=200, seed=5
)
fields = [
    np.asarray(Image.open(path))
    for path in eosin.write_synthetic("other", other)
]
slide = np.full((8 * 128, 12 * 128, 3), 245, np.uint8)
for column in range(8):
    for row in range(6):
        field = fields[(2 * (column + 8 * row) + (column >= 4)) % 48]
        top, left = (row + 1) * 128, (column + 2) * 128
        slide[top : top + 128, left : left + 128] = field
tifffile.imwrite(
    "slide.tif",
    slide,
    tile=(256, 256),
    photometric="rgb",
    compression="deflate",
    resolution=(10_000 / MPP, 10_000 / MPP),
    resolutionunit="CENTIMETER",
)
opened = eosin.open_slide(Path("slide.tif"))
print(opened.mpp, "um/px,", len(opened.levels), "level(s)")

# %% [markdown]
# ## Score it
#
# Only tissue is read, tile by tile.

# %%
written = eosin.predict_slides(run, [Path("slide.tif")], Path("out"))
for share in written.answers[0].classes:
    print(f"{share.name}: {share.share:.0%} of the tissue")
print(*sorted(path.name for path in Path("out").iterdir()), sep="\n")

# %%
Image.open("out/overlay.png").reduce(2)

# %% [markdown]
# ## Into QuPath
#
# 1. Open the slide in QuPath (0.4 or later).
# 2. Drag `out/qupath.geojson` onto it. Each tile becomes an object with its class, its colour and its numbers.
# 3. Choose *Measure > Show measurement maps* to colour tiles by probability or familiarity.
#
# `probability.ome.tiff` is the same as a map that lies on the slide by its pixel size. `report.html` shows the
# slide, its map, and the most certain, most doubtful and least familiar tiles. On the command line all of this
# is `eosin predict RUN slide.svs -o out`; [Whole slides](../slides.md) has the rest.
#
# Next: [compare encoders honestly](5-compare-encoders.py).
