"""`eosin bench`: how fast each engine runs a Run on this machine."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eosin.cli.console import print_frame, say, showing
from eosin.cli.sources import Device
from eosin.errors import ConfigError

if TYPE_CHECKING:
    from eosin.bench.speeds import Bench


def bench(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A Run folder, exported or not.")],
    engines: Annotated[
        str, typer.Option(metavar="A,B", help="Some of torch, onnxruntime, openvino.")
    ] = "all",
    batch: Annotated[str, typer.Option(metavar="N,M", help="Images at once.")] = "1,16",
    device: Device = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of every engine (one a core).")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each engine, a second each.")] = 10,
    out: Annotated[
        str | None, typer.Option("--json", metavar="FILE | -", help="Write the figures as JSON.")
    ] = None,
) -> None:
    """Time every engine on this machine: images a second, milliseconds, memory, ratio to PyTorch.

    Engines take turns, each in a process of its own, on prepared input: reading files is left out.
    """
    from eosin.artefacts.outputs import document, require_output
    from eosin.bench.bench import BenchOptions, bench_run
    from eosin.files import write_json
    from eosin.networks.run import read_run

    if out is not None and out != "-":
        require_output(Path(out), document("bench"), inputs=[run])
    options = BenchOptions(
        engines=None if engines == "all" else tuple(_words(engines)),
        batches=tuple(_numbers(batch)),
        device=device,
        threads=threads,
        rounds=rounds,
    )
    if out == "-":
        typer.echo(json.dumps(bench_run(read_run(run), options).to_dict(), indent=2))
        return
    with showing() as progress:
        found = bench_run(read_run(run), options, progress=progress)
    _print(found)
    if out is not None:
        write_json(Path(out), found.to_dict())
        say(f"figures written: {out}")


def _print(found: Bench) -> None:
    print_frame(found.frame(), title=_what(found))
    say(
        f"{found.cpu}, {found.threads} threads each; input: {found.images}; "
        "ms: medians over batches, p95: 19 batches in 20 keep within; core ms: work of all cores; "
        "memory: peak of the engine's own process, its library included",
        style="dim",
    )
    for note in found.notes:
        say(note, style="dim")
    for engine, why in found.absent.items():
        say(f"{engine}: {why}", style="yellow")


def _what(found: Bench) -> str:
    networks = " + ".join(
        f"{count} x {name}" if count > 1 else name
        for name, count in Counter(found.networks).items()
    )
    if len(found.networks) == 1:
        return f"{found.run}: {networks}"
    return f"{found.run}: all {len(found.networks)} networks in sequence, {networks}"


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in _words(text)]
    except ValueError:
        raise ConfigError(f"batch {text!r}: want whole numbers such as 1,16") from None
