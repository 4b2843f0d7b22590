"""`eosin sites`: figures by site, and whether likeness follows the class or the site."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eosin.cli.sources import MOST_MEGAPIXELS, MaxMegapixels
from eosin.errors import ConfigError

if TYPE_CHECKING:
    from eosin.artefacts.estimate import Estimate


class Site(StrEnum):
    """What images are told apart by."""

    site = "site"
    scanner = "scanner"


def sites(
    predictions: Annotated[Path, typer.Argument(metavar="P.csv", help="Predictions.")],
    manifest: Annotated[
        Path,
        typer.Option(metavar="M.csv", help="A manifest of the same images that has the sites."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="T.csv", help="The table to write.")],
    by: Annotated[Site, typer.Option(help="The manifest's column.")] = Site.site,
    run: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Also ask this Run's features; a Run of one network."),
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Figures of each site (or scanner), and the robustness index of probabilities and features.

    The index is the share of telling neighbours that have the class in common and not the site:
    what neighbours drawn at random would give stands in its note.
    """
    from eosin.artefacts.estimate import figure_frame
    from eosin.artefacts.manifest import read_manifest
    from eosin.artefacts.outputs import require_output, table
    from eosin.artefacts.predictions import read_predictions
    from eosin.artefacts.tables import write_csv
    from eosin.cli.console import print_frame, print_protocol, say
    from eosin.evaluation import sites as effects

    table_of_sites = table("table of sites", "of", by.value, "metric")
    require_output(out, table_of_sites, inputs=[predictions, manifest])
    scored, images = read_predictions(predictions), read_manifest(manifest).frame
    if by.value not in images:
        raise ConfigError(f"{manifest}: has no column {by.value!r}; add it, one {by.value} a row")
    site_of = dict(zip(images["path"], images[by.value], strict=True))
    known = effects.site_images(scored, site_of, by=by.value)
    draws = {"resamples": resamples, "seed": seed}
    indices = {"probabilities": effects.robustness_index(scored.probabilities, known, **draws)}
    if run is not None:
        from eosin.networks.run import read_run
        from eosin.training.readings import read_features

        values = read_features(read_run(run), scored)
        indices["features"] = effects.robustness_index(values, known, **draws)
    rows: list[tuple[dict[str, object], Estimate]] = [
        ({"of": "predictions", by.value: site}, each)
        for site, each in effects.figures_by_site(scored, known, **draws)
    ]
    rows += [({"of": kind, by.value: "all"}, each) for kind, each in indices.items()]
    found = figure_frame(rows)
    write_csv(found, out)
    shown = found.round(3)[["of", by.value, "metric", "value", "low", "high", "n_patients"]]
    print_frame(shown)
    for kind, each in indices.items():
        say(f"robustness index of {kind}: {each.note}")
    print_protocol(scored.provenance.protocol, scored.provenance.notes)
    say(f"written: {out}")
