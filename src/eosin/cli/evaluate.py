"""`eosin evaluate`: every metric with its interval."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from eosin.cli.console import print_evaluation, print_protocol, say
from eosin.cli.sources import BootstrapSeed, Resamples


class Level(StrEnum):
    """What counts as one case."""

    image = "image"
    patient = "patient"


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="P.csv", help="Predictions.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="E.json", help="The evaluation.")],
    level: Annotated[Level, typer.Option(help="Score images, or patients.")] = Level.image,
    resamples: Resamples = 2000,
    seed: BootstrapSeed = 0,
) -> None:
    """Score predictions; every metric has a 95 % interval that resamples patients."""
    from eosin.artefacts.outputs import document, require_output
    from eosin.artefacts.predictions import read_predictions
    from eosin.evaluation.evaluate import evaluate_predictions

    require_output(out, document("evaluation"), inputs=[predictions])
    table = read_predictions(predictions)
    evaluation = evaluate_predictions(table, level=level.value, resamples=resamples, seed=seed)
    evaluation.write(out)
    print_evaluation(evaluation)
    print_protocol(table.provenance.protocol)  # its notes are among the evaluation's
    say(f"written: {out}")
