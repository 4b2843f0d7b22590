# %% [markdown]
# # Compare encoders honestly
#
# Is encoder A better than encoder B? Only where both answer for the same patients, and where the difference
# is larger than what a draw of other patients would give. This page compares two; the names are all that you
# change for [pathology encoders](../encoders.md) such as `h0-mini` and `phikon-v2`.
#
# ## The same folds for both

# %%
import eosin

drawn = eosin.SyntheticOptions(
    patients=120, images=120, size=128, magnification=200
)
eosin.write_synthetic("drawn", drawn)
manifest = eosin.read_breakhis("drawn/images").manifest
folds = eosin.split_into_folds(manifest, 5, by="patient", seed=7)

tables = {}
for encoder in ("nf_resnet26@stride4", "nf_resnet26@stride8"):
    config = eosin.TrainingConfig(
        backbone=encoder, weights="none", image_size=128, freeze=True
    )
    trained = eosin.train(folds, f"runs/{encoder}", config, fold="all")
    tables[encoder] = trained.predictions
    print(
        encoder,
        eosin.evaluate_predictions(trained.predictions).value("roc_auc"),
    )

# %% [markdown]
# Two intervals that overlap do *not* show that two encoders are equal: both move together when the patients
# change. The difference has an interval of its own.
#
# ## Paired by patient
#
# Every resample draws the same patients for both. What is hard for both cancels out.

# %%
comparison = eosin.compare_predictions(tables)
comparison

# %%
comparison.plot()

# %% [markdown]
# An interval that holds zero means: these patients cannot tell the two apart. It does not mean that they are
# equal.
#
# ## How many patients would tell
#
# On the command line `eosin power` draws studies of many sizes from these predictions, and says how many patients
# find a difference of, say, five points four times out of five:
#
# ```
# eosin power a.csv b.csv --effect 0.05 -o plan
# ```
#
# ## More than two
#
# A study file names many encoders, protocols and seeds, and gives one page with ranks, paired intervals and what
# leakage adds: [`eosin study`](../how-to/study.md). Choosing the best of many on the same patients flatters the
# winner; choose inside the training patients, or confirm on new ones.
