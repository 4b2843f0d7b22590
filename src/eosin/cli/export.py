"""`eosin export`: a Run as a folder of graphs that run without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eosin.cli.console import say
from eosin.cli.sources import MOST_MEGAPIXELS, MaxMegapixels, RunFolder, read_source
from eosin.reporting.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eosin.artefacts.graph import Graph
    from eosin.artefacts.run import ExportedRun
    from eosin.networks.run import Run


def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The exported Run.")],
    form: Annotated[
        Literal["onnx", "openvino"],
        typer.Option("--format", help="onnx runs in ONNX Runtime and OpenVINO."),
    ] = "onnx",
    check: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="S.csv | IMAGES",
            help="Images to compare with PyTorch on; may be given several times.",
        ),
    ] = None,
    int8: Annotated[
        Path | None,
        typer.Option(
            metavar="S.csv",
            help="Try 8-bit integers, calibrated and judged on the Run's own training and "
            "validation patients in this manifest; kept only if as good and faster here.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier export of the same Run.")
    ] = False,
    _megapixels: MaxMegapixels = MOST_MEGAPIXELS,
) -> None:
    """Write a Run as graphs for ONNX Runtime or OpenVINO, checked against PyTorch on images."""
    from eosin.artefacts.manifest import read_manifest
    from eosin.artefacts.outputs import require_output_folder
    from eosin.cli.int8 import print_trial
    from eosin.export.export import ExportOptions, export_run
    from eosin.networks.run import read_run
    from eosin.progress import Shown

    inputs = [run, *(check or ()), *([int8] if int8 else ())]
    require_output_folder(out, {}, inputs=inputs, whole=True, run=True)
    options = ExportOptions(
        format=form,
        check=read_source(check, option="--check") if check else None,
        overwrite=overwrite,
        int8=read_manifest(int8) if int8 else None,
    )
    exported = export_run(read_run(run), out, options, progress=Shown())
    for name, record in _graphs(exported, ""):
        graph = record.graph
        say(f"{name}{_parity(graph)}")
        if graph.no_maps:
            say(f"{name}no heatmaps from this graph: {graph.no_maps}", style="yellow")
        if graph.int8:
            print_trial(graph.int8, name=name, validated=bool(record.val_patients))
    say(f"exported Run written: {out} ({_megabytes(out):.1f} MB)")
    say(f"next: eosin predict {out} FILES... -o P.csv")


def _graphs(run: Run, name: str) -> Iterator[tuple[str, ExportedRun]]:
    from eosin.artefacts.run import ExportedRun

    if isinstance(run.record, ExportedRun):
        yield name, run.record
    for member in run.open_members():
        yield from _graphs(member, f"{member.folder.name}: ")


def _parity(graph: Graph) -> str:

    found = graph.parity
    maps = "" if found.maps is None else f", maps by {found.maps:.1e} of their maximum"
    return (
        f"differs from PyTorch on {counted(found.images, 'image')} ({found.source}): probabilities "
        f"by at most {found.probabilities:.1e}{maps}"
    )


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
