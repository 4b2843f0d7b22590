"""`eosin demo`: the whole main job in a few minutes, with nothing to download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eosin.cli.console import plain_figure, say, showing

_NEXT = """
The same on your own images:

  eosin data breakhis FOLDER -o bh.csv     # or: eosin data folder FOLDER -o m.csv
  eosin split bh.csv -o bh5.csv --by patient --folds 5 --seed 7
  eosin train bh5.csv -o runs/bh --freeze --fold all
  eosin evaluate runs/bh/predictions.csv -o runs/bh/evaluation.json
  eosin report runs/bh runs/bh/predictions.csv -o runs/bh/report.html
"""


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to work in.")] = Path(
        "eosin-demo"
    ),
) -> None:
    """Draw synthetic H&E images, split by patient, train, predict, evaluate and report."""
    import time

    from eosin.artefacts.outputs import require_output_folder
    from eosin.demo import run_demo
    from eosin.errors import ConfigError
    from eosin.files import contents

    require_output_folder(out, {})
    if contents(out):
        raise ConfigError(f"{out}: not empty; name another folder with --out, or remove it")
    began = time.monotonic()
    with showing() as progress:
        made = run_demo(out, progress=progress)
    for metric in ("roc_auc", "accuracy", "balanced_accuracy", "sensitivity", "specificity"):
        found = made.evaluation.value(metric)
        n = f"{found.images} images, {found.patients} patients"
        say(f"  {metric:<18} {plain_figure(found)}  {n}")
    seconds = time.monotonic() - began
    say(f"done in {seconds:.0f} s; the report: ", (str(made.report.resolve()), "bold"))
    typer.echo(_NEXT)
