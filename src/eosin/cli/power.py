"""`eosin power`: how many patients a study needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eosin.cli.console import print_frame, say, showing
from eosin.reporting.wording import number

if TYPE_CHECKING:
    from eosin.trust.power import Power


def power(
    predictions: Annotated[
        list[Path],
        typer.Argument(metavar="P.csv [P2.csv]", help="Labelled predictions of one or two models."),
    ],
    effect: Annotated[
        float,
        typer.Option(help="True distance between two models, or of one from a bound."),
    ],
    metric: Annotated[
        Literal["accuracy", "roc_auc"], typer.Option(help="The figure that is planned for.")
    ] = "accuracy",
    target: Annotated[
        float, typer.Option("--power", help="Share of studies that should find the effect.")
    ] = 0.8,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Write power.csv and power.png here."),
    ] = None,
    studies: Annotated[int, typer.Option(min=50, help="Simulated studies of each size.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.")] = 0,
) -> None:
    """Plan a study: patients needed to tell two models, or a model from a bound, apart."""
    from eosin.artefacts.outputs import PICTURE, require_output_folder, table
    from eosin.artefacts.predictions import read_predictions
    from eosin.evaluation.alignment import model_names
    from eosin.trust.power import plan_patients

    files = {"power.csv": table("power table", "patients", "power"), "power.png": PICTURE}
    if out is not None:
        require_output_folder(out, files, inputs=predictions)
    tables = [read_predictions(path) for path in predictions]
    names = model_names([table.provenance for table in tables])
    with showing() as progress:
        plan = plan_patients(
            dict(zip(names, tables, strict=True)),
            effect=effect,
            metric=metric,
            target=target,
            studies=studies,
            seed=seed,
            progress=progress,
        )
    _conclude(plan, out)


def _conclude(plan: Power, out: Path | None) -> None:
    """Say what was found and write it where that is asked for."""
    from eosin.artefacts.tables import write_csv
    from eosin.reporting.canvas import write_png
    from eosin.reporting.power_curve import power_figure, power_sentences

    frame = plan.frame()
    shown = frame[["power", "low", "high"]].map(number)
    shown.insert(0, "patients", frame["patients"].map("{:,}".format))
    print_frame(shown, title=f"Power for an effect of {plan.effect:g}")
    for sentence in power_sentences(plan):
        say(sentence)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_csv(frame, out / "power.csv")
        write_png(power_figure(plan), out / "power.png")
        say(f"written: {out}")
