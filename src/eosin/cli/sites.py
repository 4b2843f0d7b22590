"""`eosin sites`: figures by site, and whether likeness follows the class or the site."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eosin.cli.console import print_frame, print_protocol, say
from eosin.cli.sources import MOST_MEGAPIXELS, BootstrapSeed, MaxMegapixels, Resamples
from eosin.errors import ConfigError

if TYPE_CHECKING:
    from eosin.artefacts.estimate import Estimate


def sites(
    predictions: Annotated[Path, typer.Argument(metavar="P.csv", help="Predictions.")],
    manifest: Annotated[
        Path,
        typer.Option(metavar="M.csv", help="A manifest of the same images that has the sites."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="T.csv", help="The table to write.")],
    by: Annotated[Literal["site", "scanner"], typer.Option(help="The manifest's column.")] = "site",
    run: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Also ask this Run's features; a Run of one network."),
    ] = None,
    resamples: Resamples = 2000,
    seed: BootstrapSeed = 0,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Figures of each site (or scanner), and the robustness index of probabilities and features.

    The index is the share of telling neighbours that have the class in common and not the site:
    what neighbours drawn at random would give stands in its note.
    """
    from eosin.artefacts.estimate import figure_frame
    from eosin.artefacts.outputs import require_output, table
    from eosin.artefacts.predictions import read_predictions
    from eosin.artefacts.tables import write_csv
    from eosin.evaluation.sites import figures_by_site, robustness_index, site_images

    table_of_sites = table("table of sites", "of", by, "metric")
    require_output(out, table_of_sites, inputs=[predictions, manifest])
    scored = read_predictions(predictions)
    known = site_images(scored, _site_of(manifest, by), by=by)
    draws = {"resamples": resamples, "seed": seed}
    values = {"probabilities": scored.probabilities}
    if run is not None:
        from eosin.networks.run import read_run
        from eosin.training.readings import read_features

        values["features"] = read_features(read_run(run), scored)
    indices = {kind: robustness_index(each, known, **draws) for kind, each in values.items()}
    rows: list[tuple[dict[str, object], Estimate]] = [
        ({"of": "predictions", by: site}, each)
        for site, each in figures_by_site(scored, known, **draws)
    ]
    rows += [({"of": kind, by: "all"}, each) for kind, each in indices.items()]
    found = figure_frame(rows)
    write_csv(found, out)
    shown = found.round(3)[["of", by, "metric", "value", "low", "high", "n_patients"]]
    print_frame(shown)
    for kind, each in indices.items():
        say(f"robustness index of {kind}: {each.note}")
    print_protocol(scored.provenance.protocol, scored.provenance.notes)
    say(f"written: {out}")


def _site_of(manifest: Path, column: str) -> dict[str, str]:
    """The site of each path; ConfigError where the manifest has no such column."""
    from eosin.artefacts.manifest import read_manifest

    frame = read_manifest(manifest).frame
    if column not in frame:
        raise ConfigError(f"{manifest}: has no column {column!r}; add it, one {column} a row")
    return dict(zip(frame["path"], frame[column], strict=True))
