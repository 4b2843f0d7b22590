"""`eosin report`: one self-contained page on a Run and what it predicted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eosin.cli.console import say
from eosin.cli.sources import MOST_MEGAPIXELS, MaxMegapixels, RunFolder

if TYPE_CHECKING:
    from eosin.artefacts.predictions import Predictions
    from eosin.networks.run import Run
    from eosin.reporting.galleries import Gallery


def report(
    run: RunFolder,
    predictions: Annotated[Path, typer.Argument(metavar="P.csv", help="Its predictions.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="report.html", help="The page.")],
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps", help="Show what the model looked at, right and wrong.")
    ] = False,
    engine: Annotated[
        str,
        typer.Option(
            help="Of the heatmaps: auto, torch, or for exported Runs onnxruntime or openvino."
        ),
    ] = "auto",
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Write a self-contained HTML report: verdict, intervals, curves, mistakes, limits."""
    from eosin.artefacts.outputs import PAGE, require_output
    from eosin.artefacts.predictions import read_predictions
    from eosin.networks.run import read_run
    from eosin.reporting.report import write_report

    require_output(out, PAGE, inputs=[run, predictions])
    trained, scored = read_run(run), read_predictions(predictions)
    galleries = [_heatmaps(trained, scored, engine)] if heatmaps else []
    write_report(trained, scored, out, galleries=galleries)
    say(f"report written: {out}")


def _heatmaps(run: Run, predictions: Predictions, engine: str) -> Gallery:
    from eosin.errors import NoMapError
    from eosin.explanation.examples import explain_examples
    from eosin.explanation.explain import ExplainOptions
    from eosin.reporting.heatmap_gallery import choose_examples, heatmap_gallery

    examples = choose_examples(predictions)
    wanted = [(example.path, target) for example in examples for target in example.targets]
    options = ExplainOptions(engine=engine)
    try:
        found = explain_examples(run, predictions, wanted, options)
    except NoMapError as reason:  # the report goes out all the same, and says so
        return heatmap_gallery(examples, {}, no_maps=str(reason))
    return heatmap_gallery(examples, found)
