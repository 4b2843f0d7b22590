"""`eosin stress`: what shifts between laboratories do to a Run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eosin.cli.console import print_protocol, say, spreading
from eosin.cli.sources import (
    MOST_MEGAPIXELS,
    AllowSeen,
    BootstrapSeed,
    Cluster,
    Device,
    Engine,
    MaxMegapixels,
    RunFolder,
    ScoredSplit,
)


def stress(
    run: RunFolder,
    manifest: Annotated[Path, typer.Argument(metavar="S.csv", help="A labelled manifest.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Page, table, figure.")],
    shift: Annotated[
        list[str] | None, typer.Option(help="Test this shift alone; may be given again.")
    ] = None,
    split: ScoredSplit = None,
    allow_seen: AllowSeen = False,
    engine: Engine = "auto",
    device: Device = "auto",
    seed: BootstrapSeed = 0,
    cluster: Cluster = None,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Score the same images under blur, stain, noise and other shifts, five severities each.

    What is scored is kept in DIR/tables: after Ctrl-C or a crash the same command continues.
    """
    from eosin.artefacts.manifest import read_manifest
    from eosin.artefacts.outputs import require_output_folder
    from eosin.inference.scoring import PredictOptions
    from eosin.inference.stress import ALL_SHIFTS, UNCHANGED, stress_tables
    from eosin.networks.run import read_run
    from eosin.reporting.stress_page import STRESS_FILES, stress_sentences, write_stress
    from eosin.trust.stress_card import stress_card

    require_output_folder(out, STRESS_FILES, inputs=[run, manifest])
    options = PredictOptions(split=split, allow_seen=allow_seen, engine=engine, device=device)
    kept = f"what is scored is kept in {out}"
    with spreading(cluster, device, kept=lambda _: kept) as (spread, progress):
        tables = stress_tables(
            read_run(run),
            read_manifest(manifest),
            out,
            options,
            shifts=tuple(shift or ALL_SHIFTS),
            progress=progress,
            spread=spread,
        )
    unchanged = tables.pop(UNCHANGED)
    shifted = {(each.shift, each.severity): table for each, table in tables.items()}
    card = stress_card(unchanged, shifted, seed=seed)
    page = write_stress(card, unchanged, out)
    print_protocol(unchanged.provenance.protocol)
    for sentence in stress_sentences(card):
        say(sentence)
    say(f"written: {page}")
