"""`eosin explain`: heatmaps of what a Run, or several, looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eosin.cli.console import finish, print_frame, say, spreading
from eosin.cli.sources import (
    MOST_MEGAPIXELS,
    BatchSize,
    Cluster,
    Device,
    Engine,
    MaxMegapixels,
    read_source,
)
from eosin.errors import ConfigError
from eosin.reporting.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eosin.artefacts.manifest import Manifest
    from eosin.explanation.options import ExplainOptions
    from eosin.networks.run import Run
    from eosin.reporting.heatmap_folder import HeatmapFolder
    from eosin.spread import Spread

_EXPLAINED = 12  # images of a predictions table
_SHOWN = ("faithful", "gap", "deletion_auc", "insertion_auc", "mask_auc")

Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN... S.csv | P.csv | FILES...",
        help="Run folders, then a manifest, a predictions table (its most certain and most "
        "doubtful images), or image files and folders.",
    ),
]
Method = Annotated[
    str,
    typer.Option(
        help="auto (exact for transformers, else gradcam), gradcam, gradcam++, hirescam, "
        "layercam, eigencam, scorecam or ablationcam."
    ),
]
Target = Annotated[str, typer.Option(help="The class to explain: predicted, true, or its name.")]
Merge = Annotated[bool, typer.Option("--merge", help="Merge the maps of several Runs into one.")]
Score = Annotated[
    bool, typer.Option("--score", help="Check how faithful each map is; takes far longer.")
]
Split = Annotated[
    str | None, typer.Option(help="The manifest's split to explain (test, val or train).")
]
Limit = Annotated[int | None, typer.Option(min=1, help="At most this many images, taken evenly.")]
Mistakes = Annotated[
    bool, typer.Option("--mistakes", help="Misclassified images only, the most confident first.")
]
Opacity = Annotated[
    float, typer.Option(min=0.05, max=1, help="Of the strongest evidence's colour.")
]
Colormap = Annotated[
    str, typer.Option(help="A matplotlib colour map that runs one way in lightness.")
]


def explain(
    paths: Paths,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The pictures.")],
    method: Method = "auto",
    target: Target = "predicted",
    merge: Merge = False,
    score: Score = False,
    split: Split = None,
    limit: Limit = None,
    mistakes: Mistakes = False,
    opacity: Opacity = 0.75,
    colormap: Colormap = "YlOrRd",
    original: Annotated[bool, typer.Option(help="Draw the image beside its map.")] = True,
    device: Device = "auto",
    engine: Engine = "auto",
    batch_size: BatchSize = 16,
    cluster: Cluster = None,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Draw where a model found its evidence; several Runs stand side by side.

    Of a Run that answers for slides (train --bag slide) and a manifest: what each tile weighs, and
    whether to believe it. Of tiles as files it draws heatmaps.
    """
    from eosin.artefacts.manifest import Manifest
    from eosin.artefacts.outputs import require_output_folder
    from eosin.explanation.explain import ExplainOptions
    from eosin.explanation.explain import explain as explain_images
    from eosin.inference.bags import answers_slides
    from eosin.locks import one_writer
    from eosin.networks.run import read_run
    from eosin.pixels.reading import write_error_table
    from eosin.reporting.heatmap_folder import HEATMAP_FILES, write_heatmaps
    from eosin.reporting.overlay import HeatmapStyle

    if score:  # without PyTorch there are maps of graphs, and no checks
        from eosin.explanation.heatmap_checks import ScoreOptions
    style = HeatmapStyle(colormap=colormap, opacity=opacity, original=original)
    folders, images = _told_apart(paths)
    require_output_folder(out, HEATMAP_FILES, inputs=paths)
    options = ExplainOptions(
        method=method,
        target=target,
        merge=merge,
        score=ScoreOptions() if score else None,
        split=split,
        limit=limit,
        mistakes=mistakes,
        device=device,
        engine=engine,
        batch_size=batch_size,
    )
    with one_writer(out), spreading(cluster, device) as (spread, progress):
        runs = [read_run(folder) for folder in folders]
        source = _source(images, limit)
        if len(runs) == 1 and answers_slides(runs[0]) and isinstance(source, Manifest):
            _slides(runs[0], source, options, out, spread)
            return
        explanations = explain_images(runs, source, options, spread=spread)
        written = write_heatmaps(explanations, out, style=style, progress=progress)
        write_error_table(written.skipped, written.folder / "errors.csv")
        if written.scores:
            _write_faithfulness(written)
    _print(written)


def _print(written: HeatmapFolder) -> None:
    from eosin.reporting.heatmap_page import PAGE_NAME

    if written.seen:
        say(
            f"{written.seen} of {written.explained} images are of patients that a network "
            "was trained or validated on: what it does there says little of new patients",
            style="yellow",
        )
    out = written.folder
    say(f"{counted(written.explained, 'image')} explained, written: {out}; open {out / PAGE_NAME}")
    finish(written.skipped, out / "errors.csv")


def _source(paths: list[Path], limit: int | None) -> Manifest | Sequence[Path]:
    """The images to explain; of a predictions table those that are best looked at."""
    from eosin.artefacts.outputs import PREDICTIONS
    from eosin.artefacts.predictions import read_predictions
    from eosin.inference.doubt import images_to_explain

    table = paths[0]
    is_table = len(paths) == 1 and table.suffix.lower() == ".csv" and table.is_file()
    if is_table and PREDICTIONS.known(table):
        return images_to_explain(read_predictions(table), most=limit or _EXPLAINED)
    return read_source(paths)


def _slides(run: Run, slides: Manifest, options: ExplainOptions, out: Path, spread: Spread) -> None:
    """Write attention.csv and attention-faithfulness.csv, and say how far to believe them."""
    from eosin.artefacts.tables import write_csv
    from eosin.explanation.bags import explain_slides
    from eosin.inference.scoring import PredictOptions
    from eosin.pixels.reading import write_error_table

    scoring = PredictOptions(
        split=options.split,
        device=options.device,
        batch_size=options.batch_size,
        engine=options.engine,
    )
    explained = explain_slides(run, slides, scoring, spread=spread)
    write_csv(explained.attention, out / "attention.csv", float_format="%.6g")
    write_csv(explained.rows, out / "attention-faithfulness.csv", float_format="%.6g")
    write_error_table(explained.skipped, out / "errors.csv")
    if seen := int(explained.rows["seen"].sum()):
        said = "are of patients that the Run was trained or validated on"
        say(f"{seen} of {len(explained.rows)} slides {said}", style="yellow")
    for estimate in explained.estimates:
        say(str(estimate))
    say(f"attention is {explained.verdict}")
    say(f"{counted(len(explained.rows), 'slide')} explained, written: {out}")
    finish(explained.skipped, out / "errors.csv")


def _told_apart(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Run folders and images; ConfigError where either is missing."""
    from eosin.networks.run import RECORD_NAME

    runs = [path for path in paths if (path / RECORD_NAME).is_file()]
    images = [path for path in paths if path not in runs]
    if not runs:
        raise ConfigError(
            f"{paths[0]}: not a finished Run folder; name at least one, as `eosin train` makes it"
        )
    if not images:
        raise ConfigError("name the images to explain after the Run: files, folders or a manifest")
    return runs, images


def _write_faithfulness(written: HeatmapFolder) -> None:
    """Write faithfulness.csv and its summary, and say how many maps are to be believed."""
    from eosin.artefacts.tables import write_csv
    from eosin.explanation.faithfulness_table import summarise, write_faithfulness

    path = written.folder / "faithfulness.csv"
    write_faithfulness(written.scores, path)
    summary = summarise(written.scores, written.patients)
    write_csv(summary, written.folder / "faithfulness-summary.csv")
    shown = summary[summary["measure"].isin(_SHOWN)].round(3).astype(object)
    shown = shown.where(shown.notna(), "–")  # one patient has no interval
    print_frame(shown, title="means over maps, 95 % intervals over patients")
    faithful = sum(row.faithful for row in written.scores)
    say(f"{faithful} of {len(written.scores)} maps are faithful; each with its reason: {path}")
