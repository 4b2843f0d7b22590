"""`eosin checklist`: a reporting standard or a model card, filled from the artefacts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from eosin.cli.console import say
from eosin.cli.sources import RunFolder


class Form(StrEnum):
    """What is filled in."""

    tripod_ai = "tripod-ai"
    claim = "claim"
    metrics = "metrics"
    model_card = "model-card"


def checklist(
    run: RunFolder,
    predictions: Annotated[Path, typer.Argument(metavar="P.csv", help="Its labelled predictions.")],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", help="checklist.md or .html, or README.md."),
    ],
    standard: Annotated[
        Form, typer.Option(help="The reporting standard, or a model card for a hub.")
    ] = Form.tripod_ai,
) -> None:
    """Fill a reporting checklist, or a model card, from what the Run and its predictions show."""
    from eosin.artefacts.outputs import CHECKLIST, PAGE, require_output
    from eosin.artefacts.predictions import read_predictions
    from eosin.errors import ConfigError
    from eosin.files import write_text
    from eosin.networks.run import read_run
    from eosin.reporting.checklist import fill_checklist
    from eosin.reporting.model_card import model_card

    as_page = out.suffix.lower() in (".html", ".htm")
    if as_page and standard is Form.model_card:
        raise ConfigError(f"{out}: a model card is Markdown; name it README.md")
    require_output(out, PAGE if as_page else CHECKLIST, inputs=[predictions])
    trained, scored = read_run(run), read_predictions(predictions)
    if standard is Form.model_card:
        write_text(out, model_card(trained, scored))
    else:
        filled = fill_checklist(trained, scored, standard.value)
        write_text(out, filled.page() if as_page else filled.markdown())
        say(filled.summary)
    say(f"written: {out}")
