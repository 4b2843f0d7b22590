"""`eosin init`: a folder for one project, its settings and steps with comments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eosin.cli.console import say

_STEPS = """# The steps of this project, in order, to be run in it. Change what does not fit.

# 1. Which images there are, and which patient each is of. Put them under data/, or name another
#    folder. BreakHis and BCI have readers of their own: eosin data breakhis, eosin data bci.
eosin data folder data -o manifest.csv --patient '^(\\d+)_'   # the group in () is the patient

# 2. Duplicates, patients under two labels, unreadable files: look at the page before you train.
eosin data audit manifest.csv -o audit.html

# 3. Five folds; no patient stands in two of them.
eosin split manifest.csv -o folds.csv --by patient --folds 5 --seed 7

# 4. Train with settings.toml. A stopped training continues with --resume.
eosin train folds.csv -o runs/first --config settings.toml --fold all

# 5. Figures with their intervals, and a report to read and to send.
eosin evaluate runs/first/predictions.csv -o runs/first/evaluation.json
eosin report runs/first runs/first/predictions.csv -o runs/first/report.html

# 6. Several models under several protocols, from one file. The dry run says how long it takes.
eosin study study.toml -o study --dry-run
"""
_STUDY = """# One file, many Runs: every backbone under every protocol, with one page of results.
# eosin study study.toml -o study
title = "First study"
dataset = "folder"            # or "breakhis", "bci", "synthetic"
root = "data"                 # the folder of images, seen from this file
patient_pattern = '^(\\d+)_'  # its group in () is the patient in a file's name
protocols = ["patient 5-fold"] # "image 5-fold" beside it measures how much leakage inflates scores
seeds = [7]                   # of the split; several tell how much a figure owes to the draw
backbones = ["efficientnetv2-b0", "efficientnetv2-b0@stride8"]
recipe = "settings.toml"
"""
_IGNORED = (
    "# Not for version control: images, Runs and what is made of them.\ndata/\nruns/\nstudy/\n"
)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty.")],
    config: Annotated[
        str, typer.Option(metavar="NAME", help="The settings to begin with, e.g. default.")
    ] = "frozen",
) -> None:
    """Write a project folder: settings, a study and the steps from images to a report."""
    from eosin.errors import ConfigError
    from eosin.files import contents, write_text
    from eosin.settings import settings_file
    from eosin.training.config import read_config

    settings = settings_file(config)
    read_config(settings)  # a study's file is none
    if contents(folder):
        raise ConfigError(f"{folder}: not empty; name a new folder")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    texts = {
        "steps.sh": _STEPS,
        "settings.toml": settings.read_text(encoding="utf-8"),
        "study.toml": _STUDY,
        ".gitignore": _IGNORED,
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    say("written: ", (str(folder), "bold"), "; begin with steps.sh there")
