# %% [markdown]
# # A first report
#
# From nothing to a report in six cells. eosin draws its own tissue, so nothing is downloaded. You need the
# part `train` ([install](../install.md)) and a notebook.
#
# ## Images
#
# 160 images of 160 patients, under the names that BreakHis gives its files. A name says the class and the
# patient; the reader makes a table of that, the manifest.

# %%
import eosin

drawn = eosin.SyntheticOptions(
    patients=160, images=160, size=128, magnification=200
)
eosin.write_synthetic("drawn", drawn)
manifest = eosin.read_breakhis("drawn/images").manifest
manifest

# %% [markdown]
# ## Who is in which fold
#
# Five folds. `by="patient"` keeps all images of a patient in one fold, so no model is asked about a patient
# that it has met. The name of the protocol, `patient-level, 5-fold`, travels with every later result.

# %%
folds = eosin.split_into_folds(manifest, 5, by="patient", seed=7)
folds.plot()
# %% [markdown]
# ## Train
#
# A *frozen* network turns each image into numbers, and a linear head learns from them. Random filters are
# enough for drawn tissue (`weights="none"`); for real tissue take `eosin.read_config("frozen")`. With
# `fold="all"` five heads are trained, and each answers for the fold that it did not see.

# %%
config = eosin.TrainingConfig(
    backbone="nf_resnet26@stride4", weights="none", image_size=128, freeze=True
)
trained = eosin.train(folds, "runs/first", config, fold="all")
trained.run

# %% [markdown]
# ## Predictions
#
# A row an image: the probability of each class, how familiar the image looks to the Run, and what is out of
# the common about it.

# %%
predictions = trained.predictions
predictions

# %% [markdown]
# ## Figures
#
# Every figure has a 95 % interval, made by drawing whole patients again and again, and says on how many
# patients it rests. The grey mark is what guessing gets.

# %%
evaluation = eosin.evaluate_predictions(predictions)
evaluation.plot()
# %%
print(evaluation.value("roc_auc"))
print(evaluation.value("accuracy"))

# %% [markdown]
# ## The report
#
# One HTML file that needs nothing else: the verdict first, then figures, curves, the most confident
# mistakes, and the limits. Send it, or keep it beside the Run.

# %%
eosin.write_report(
    trained.run, predictions, "report.html", evaluation=evaluation
)

# %% [markdown]
# Next: [your own folder](2-your-own-folder.py).
