# %% [markdown]
# # Your own folder
#
# Your images lie in one folder a class, and a file's name holds the patient. This page makes such a folder,
# reads it, looks for trouble, and shows what happens when patients are not kept apart.
#
# ## A folder as people have it
#
# `tumour/p007_2.png` is the second image of patient p007. Here the pictures are drawn; put yours in their place.

# %%
from pathlib import Path
from shutil import copy

import eosin

drawn = eosin.SyntheticOptions(
    patients=40, images=200, size=128, magnification=200
)
for number, path in enumerate(eosin.write_synthetic("drawn", drawn)):
    folder = Path("mine", "normal" if "_B_" in path.name else "tumour")
    folder.mkdir(parents=True, exist_ok=True)
    copy(path, folder / f"p{number % 40:03d}_{number // 40}.png")
# Two faults to be found: one image under two patients, and a file that is no image.
copy("mine/tumour/p001_0.png", "mine/tumour/p003_9.png")
with open("mine/tumour/p005_9.png", "w") as file:
    print("not a picture", file=file)

# %% [markdown]
# ## Read it
#
# `patient` is a regular expression: its group in brackets is the patient. Without it, eosin treats every image
# as a patient of its own and says that patients are unknown. Files that cannot be used are listed with
# the reason; they never vanish silently.

# %%
found = eosin.read_folder("mine", patient=r"^(p\d+)_", positive="tumour")
for skipped in found.skipped:
    print(f"{skipped.path.name}: {skipped.reason}")
found.manifest

# %% [markdown]
# ## Look for trouble before you train

# %%
audit = eosin.audit_manifest(found.manifest)
audit

# %% [markdown]
# The same picture stands under two patients. One of the two names is wrong, so take the image out:

# %%
clean = found.manifest.where(
    ~found.manifest.frame["path"].str.endswith("p003_9.png")
)
print(len(clean.frame), "images of", len(clean.patients), "patients")

# %% [markdown]
# ## By patient, and not
#
# Five images of a patient share a stain and a slide. Divided by image, the model meets them all in training
# and may recognise the patient in place of the disease. eosin lets you do it, to measure how much it flatters,
# and calls it `leaky` in every result.

# %%
config = eosin.TrainingConfig(
    backbone="nf_resnet26@stride4", weights="none", image_size=128, freeze=True
)
for unit in ("image", "patient"):
    folds = eosin.split_into_folds(clean, 5, by=unit, seed=7)
    trained = eosin.train(folds, f"runs/by-{unit}", config, fold="all")
    auc = eosin.evaluate_predictions(trained.predictions).value("roc_auc")
    print(f"{folds.protocol.name}: {auc}")

# %% [markdown]
# The same network, the same images. Only the second figure speaks of new patients.
#
# ## The guard
#
# A Run remembers whom it has met. Asked about one of them, it refuses:

# %%
try:
    eosin.predict(trained.run, ["mine/tumour"])
except eosin.LeakageError as error:
    print(error)

# %% [markdown]
# On the command line these steps are `eosin data folder`, `data audit`, `split`, `train`, `evaluate`. Next:
# [explain and doubt a prediction](3-explain-and-doubt.py).
