# %% [markdown]
# # Explain and doubt a prediction
#
# A heatmap always looks convincing. This page makes one, asks whether it is better than a random one, and
# then asks the Run how far its answer can be trusted at all.
#
# ## A Run to ask

# %%
import eosin

drawn = eosin.SyntheticOptions(
    patients=120, images=120, size=96, magnification=200
)
eosin.write_synthetic("drawn", drawn)
manifest = eosin.read_breakhis("drawn/images").manifest
divided = eosin.split_by_fractions(
    manifest, (0.6, 0.15, 0.25), by="patient", seed=7
)
config = eosin.TrainingConfig(
    backbone="nf_resnet26@stride4", weights="none", image_size=96, freeze=True
)
trained = eosin.train(divided, "runs/asked", config)
print(eosin.evaluate_predictions(trained.predictions).value("roc_auc"))

# %% [markdown]
# ## Where it looked
#
# Images of the test split, which the Run has not met. `score` asks for a check of each map; fewer removals
# than usual keep it quick here.

# %%
quick = eosin.PerturbationOptions(cells=8, steps=6, random_maps=5)
options = eosin.ExplainOptions(
    limit=2,
    score=eosin.ScoreOptions(
        perturbation=quick, randomisations=1, stability=False
    ),
)
explanations = list(eosin.explain([trained.run], divided, options))
explanations[0].plot()
# %% [markdown]
# ## Whether to believe it
#
# The places that the map calls important are removed, the strongest first. If the map is *faithful*, the
# probability falls faster than when random places are removed. The verdict says so, or why not.

# %%
for explanation in explanations:
    for row in explanation.scores:
        print(f"{explanation.path.name}: {row.verdict}")

# %%
explanations[0].frame()

# %% [markdown]
# A map that is not faithful says nothing about the tissue. Do not show it as a reason.
#
# ## Whether to believe the answer
#
# Each row of the predictions says how far to trust it. *Familiarity* is the share of new patients' images that
# look at least as strange as this one. The *set* holds the classes that cannot be ruled out. *Answer* is a
# class, or `abstain`.

# %%
scored = eosin.predict(trained.run, divided).predictions
scored.frame[
    ["label", "predicted", "familiarity", "flags", "set", "answer"]
].head(8)

# %% [markdown]
# Now an image that is no tissue at all. The network still gives a probability; the flags tell you not to use it.

# %%
import numpy as np
from PIL import Image

noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
Image.fromarray(noise).save("noise.png")
strange = eosin.predict(trained.run, ["noise.png"]).predictions
strange.frame[
    ["predicted", "p_benign", "p_malignant", "familiarity", "flags", "answer"]
]

# %% [markdown]
# On the command line: `eosin explain RUN S.csv -o maps --score` and `eosin predict RUN FILES -o p.csv`.
# [Faithfulness](../understanding/faithfulness.md) and [familiarity](../understanding/familiarity.md) say what
# lies behind. Next: [a slide to QuPath](4-a-slide-to-qupath.py).
