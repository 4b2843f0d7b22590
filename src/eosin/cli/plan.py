"""`eosin plan`: time and cost of a study, or of scoring a manifest, on many machines."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eosin.cli.console import print_frame, say
from eosin.errors import ConfigError
from eosin.reporting.wording import counted

if TYPE_CHECKING:
    from eosin.study.scaling import Scale, Times


def plan(
    work: Annotated[Path, typer.Argument(metavar="STUDY.toml|M.csv", help="What is to be done.")],
    nodes: Annotated[int, typer.Option(min=1, help="Machines.")],
    cores: Annotated[int, typer.Option(min=1, help="Cores of each; a worker is one of them.")],
    gpus: Annotated[int, typer.Option(min=0, help="GPUs of each; then a worker is a GPU.")] = 0,
    price: Annotated[float, typer.Option(min=0, help="Of a machine and hour.")] = 0.0,
    data: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Images of a study.")] = None,
    backbone: Annotated[str, typer.Option(help="That scores M.csv.")] = "tf_efficientnetv2_b0",
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Pixels a side of its input (its own).")
    ] = None,
    block: Annotated[int, typer.Option(min=1, help="Images of M.csv in a block.")] = 256,
    driver: Annotated[float, typer.Option(min=0, help="Seconds of the driver a block.")] = 0.01,
    start: Annotated[float, typer.Option(min=0, help="Seconds until a worker begins.")] = 30.0,
    stragglers: Annotated[float, typer.Option(min=0, max=1, help="Share of slow blocks.")] = 0.05,
    slowness: Annotated[float, typer.Option(min=1, help="How many times as long those take.")] = 2,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="plan.json")] = None,
    figure: Annotated[Path | None, typer.Option(metavar="plan.png")] = None,
) -> None:
    """Time and cost on many machines, from times measured here, and where adding more ends."""
    from eosin.artefacts.outputs import PICTURE, document, require_output
    from eosin.files import write_json
    from eosin.study.scaling import Times, scale, scaling

    for path, kind in ((out, document("plan")), (figure, PICTURE)):
        if path is not None:
            require_output(path, kind, inputs=[work])
    blocks, seconds = _measured(work, data, (backbone, image_size), block, gpu=gpus > 0)
    times = Times(blocks, seconds, driver, start, stragglers, slowness)
    asked, curve = scale(times, nodes * (gpus or cores)), scaling(times)
    _print(times, asked, curve, nodes=nodes, price=price)
    if out is not None:
        fields = {"kind": "plan", "nodes": nodes, "price": price, "times": asdict(times)}
        write_json(out, {**fields, "asked": asdict(asked), "curve": [*map(asdict, curve)]})
        say(f"written: {out}")
    if figure is not None:
        _draw(times, curve, figure)
        say(f"written: {figure}")


def _print(
    times: Times, asked: Scale, curve: tuple[Scale, ...], *, nodes: int, price: float
) -> None:
    """The curve, what was asked for, and what is measured of it and what assumed."""
    import pandas as pd

    frame = pd.DataFrame(map(asdict, curve))
    shown = pd.DataFrame(
        {
            "workers": frame["workers"].map("{:,}".format),
            "hours": (frame["seconds"] / 3600).map("{:.3g}".format),
            "efficiency": frame["efficiency"].map("{:.0%}".format),
            "driver busy": frame["driver"].map("{:.0%}".format),
        }
    )
    blocks, machines = counted(times.blocks, "block"), counted(nodes, "machine")
    print_frame(shown, title=f"{blocks} of {times.block:.3g} s of one worker")
    hours, share = asked.seconds / 3600, f"{asked.efficiency:.0%} efficiency"
    say(f"{machines}, {counted(asked.workers, 'worker')}: {hours:.3g} hours, {share}")
    if price:
        say(f"cost: {hours * nodes * price:.2f} at {price:g} a machine and hour")
    if times.driver:
        say(f"the driver is the limit from {times.limit:,.0f} workers on")
    say(
        "measured here: the time of a block, all of equal length; assumed: "
        f"{times.driver:g} s of the driver a block, {times.start:g} s to start, "
        f"{times.stragglers:.0%} of the blocks {times.slowness:g} times as long, cores that are "
        "as fast as these and do not slow each other",
        style="dim",
    )


def _measured(
    work: Path, data: Path | None, network: tuple[str, int | None], block: int, *, gpu: bool
) -> tuple[int, float]:
    """Blocks, and what one takes a single worker, by passes timed on this machine."""
    import torch

    from eosin.artefacts.manifest import read_manifest
    from eosin.networks.device import choose_device
    from eosin.study.config import read_study
    from eosin.study.estimate import estimate_study, time_scoring

    device = str(choose_device("cuda" if gpu else "cpu"))
    torch.set_num_threads(1)  # a worker is one core
    if work.suffix.lower() == ".csv":
        manifest = read_manifest(work)
        backbone, size = network
        blocks = -(-len(manifest) // block)
        seconds = time_scoring(manifest, backbone, device, size) * len(manifest)
    else:
        study = read_study(work, root=data)
        recipe = study.training.with_overrides({"device": device})
        found = estimate_study(replace(study, training=recipe), Path())
        if found.faults:
            raise ConfigError(f"{work}: {next(iter(found.faults.values()))}")
        blocks, seconds = found.trainings, found.seconds
    return blocks, seconds / blocks


def _draw(times: Times, curve: tuple[Scale, ...], path: Path) -> None:
    from eosin.reporting.canvas import EOSIN, QUIET, new_figure, write_png

    drawn, (axes,) = new_figure(5.6, 3.7)
    axes.plot([each.workers for each in curve], [each.efficiency for each in curve], "o-", c=EOSIN)
    if times.limit < curve[-1].workers:
        axes.axvline(times.limit, color=QUIET, linestyle=(0, (4, 3)), label="the driver's limit")
        axes.legend(loc="lower left", frameon=False)
    axes.set(xscale="log", xlabel="Workers", ylabel="Efficiency", ylim=(-0.02, 1.02))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    write_png(drawn, path)
