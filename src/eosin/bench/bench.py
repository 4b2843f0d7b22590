"""`eosin bench`: every engine that can run a Run, timed in turns on this machine."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eosin.bench.engine_worker import WorkerSettings
from eosin.bench.speeds import Bench, EngineSpeed
from eosin.bench.workers import started, take_turns
from eosin.errors import ConfigError, EosinError
from eosin.machine import available_cores, cpu_model, engine_versions
from eosin.progress import SILENT, Progress, working

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eosin.bench.workers import Pace, Worker
    from eosin.networks.run import Run


BENCH_ENGINES = ("torch", "onnxruntime", "openvino")


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to time."""

    engines: tuple[str, ...] | None = None  # of ``BENCH_ENGINES``; None for all that are installed
    batches: tuple[int, ...] = (1, 16)  # images at once, one or more sizes
    device: str = "auto"  # auto, cpu, cuda or mps
    threads: int | None = None  # of every engine; None for as many as there are cores to run on
    rounds: int = 10  # turns of each engine
    seconds: float = 1.0  # of one turn, about

    def __post_init__(self) -> None:
        unknown = [name for name in self.engines or () if name not in BENCH_ENGINES]
        if unknown or self.engines == ():
            raise ConfigError(f"engines {unknown} are unknown; want some of {list(BENCH_ENGINES)}")
        if not self.batches or min(self.batches) < 1:
            raise ConfigError(f"batch {list(self.batches)}: want one image or more at once")
        if self.rounds < 1 or self.seconds <= 0:
            raise ConfigError(f"{self.rounds} rounds of {self.seconds} s: want more than none")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"{self.threads} threads: want 1 or more")


def bench_run(
    run: Run, options: BenchOptions | None = None, *, progress: Progress = SILENT
) -> Bench:
    """Time a Run in every engine asked for, each in a process of its own, in turns.

    A Run with PyTorch weights is exported into a temporary folder for the other engines. For an
    exported Run, PyTorch runs the same design with random weights. Folds and ensembles run all
    their networks, one after the other. Reading and preparing images is left out.

    Args:
        run: trained or exported.
        options: what to time.
        progress: told in words what happens now.

    Raises:
        ConfigError: an engine asked for by name is not installed or cannot run this Run, or none
            can; the message says why.
        ModelError: the Run is damaged, or a process ended early.
        DataError: an image that the input is made of cannot be read.
    """
    options = options or BenchOptions()
    run.require_intact()
    with (
        tempfile.TemporaryDirectory(prefix="eosin-bench-") as folder,
        working(progress, "preparing images"),
    ):
        return _Timing(run, options, progress, Path(folder)).measure()


@dataclass(frozen=True, slots=True)
class _Timing:
    """One call of ``bench_run``."""

    run: Run
    options: BenchOptions
    progress: Progress
    folder: Path
    absent: dict[str, str] = field(default_factory=dict)

    def measure(self) -> Bench:
        options, networks = self.options, self.run.leaves()
        threads = options.threads or available_cores()
        source, inputs = self._inputs(networks)
        folders = self._folders()
        speeds: list[EngineSpeed] = []
        for batch in options.batches:
            settings = {
                engine: WorkerSettings(str(folder), engine, options.device, threads, inputs[batch])
                for engine, folder in folders.items()
                if engine not in self.absent
            }
            speeds += self._speeds(batch, settings)
        if not speeds:
            reasons = "; ".join(f"{engine}: {why}" for engine, why in self.absent.items())
            raise ConfigError(f"{self.run.folder}: no engine can run it here ({reasons})")
        return Bench(
            run=str(self.run.folder),
            cpu=cpu_model(),
            threads=threads,
            networks=tuple(
                f"{network.record.backbone} at {network.record.preprocessing.size} px"
                for network in networks
            ),
            images=source,
            speeds=tuple(speeds),
            absent=dict(self.absent),
            notes=tuple(self._notes(speeds)),
            versions=engine_versions(),
        )

    def _inputs(self, networks: Sequence[Run]) -> tuple[str, dict[int, tuple[str, ...]]]:
        """Where the images come from; for each batch size, prepared input of each network."""
        from eosin.export.check_images import choose_images

        images = choose_images(self.run, None)
        specs = list(dict.fromkeys(network.record.preprocessing for network in networks))
        paths: dict[int, tuple[str, ...]] = {}
        prepared = [images.prepared(spec) for spec in specs]
        for batch in self.options.batches:
            for number, pixels in enumerate(prepared):
                rows = np.arange(batch) % len(pixels)
                np.save(self.folder / f"input-{batch}-{number}.npy", pixels[rows])
            paths[batch] = tuple(
                str(self.folder / f"input-{batch}-{specs.index(network.record.preprocessing)}.npy")
                for network in networks
            )
        return images.source, paths

    def _folders(self) -> dict[str, Path]:
        """The Run that each engine opens; a graph is made of weights where one is wanted."""
        engines = self.options.engines or BENCH_ENGINES
        folders = dict.fromkeys(engines, self.run.folder)
        graphs = [engine for engine in engines if engine != "torch"]
        if self.run.exported or not graphs:
            return folders
        try:
            exported = self._export()
        except EosinError as error:
            self._leave_out(graphs, error)
            return folders
        return folders | dict.fromkeys(graphs, exported)

    def _export(self) -> Path:
        from eosin.export.export import export_run

        folder = self.folder / "export"
        self.progress.begin(f"exporting {self.run.folder}")
        export_run(self.run, folder)
        return folder

    def _leave_out(self, engines: list[str], error: EosinError) -> None:
        """Note why some have no figures; an engine that was asked for by name must have them."""
        if self.options.engines is not None:
            raise error
        self.absent.update(dict.fromkeys(engines, str(error)))

    def _speeds(self, batch: int, settings: Mapping[str, WorkerSettings]) -> list[EngineSpeed]:
        words = {}
        for engine, each in settings.items():
            path = self.folder / f"{engine}-{batch}.json"
            each.write(path)
            words[engine] = (sys.executable, "-m", "eosin.bench.engine_worker", str(path))
        threads = str(next(iter(settings.values())).threads) if settings else "1"
        with started(words, {"OMP_NUM_THREADS": threads}) as start:
            workers: list[Worker] = []
            for engine in words:
                self.progress.begin(f"batch {batch}: loading {engine}")
                try:
                    workers.append(start(engine))
                except EosinError as error:
                    self._leave_out([engine], error)
            paces = take_turns(
                workers,
                batch=batch,
                rounds=self.options.rounds,
                seconds=self.options.seconds,
                progress=self.progress,
            )
            return [
                self._speed(worker, paces, Path(settings[worker.name].run)) for worker in workers
            ]

    def _speed(self, worker: Worker, paces: Mapping[str, Pace], folder: Path) -> EngineSpeed:
        pace, eager = paces[worker.name], paces.get("torch")
        return EngineSpeed(
            engine=worker.name,
            precision=_precision(worker.name, folder),
            device=worker.said,
            batch=pace.batch,
            images_per_second=pace.images_per_second,
            ms=pace.ms,
            p95_ms=pace.p95_ms,
            core_ms=pace.core_ms,
            memory_mb=worker.memory(),
            ratio=None if eager is None else eager.ms / pace.ms,
            timed_batches=len(pace.seconds),
        )

    def _notes(self, speeds: list[EngineSpeed]) -> list[str]:
        notes = []
        timed = {speed.engine for speed in speeds}
        if "torch" not in timed:
            why = self.absent.get("torch", "it was not asked for")
            notes.append(f"no ratio to PyTorch: {why}")
        elif self.run.exported:
            notes.append("PyTorch runs the same design with random weights: a graph holds none")
        if not self.run.exported and timed != {"torch"}:
            notes.append("exported for this table; keep one with `eosin export`")
        return notes


def _precision(engine: str, folder: Path) -> str:
    from eosin.networks.run import read_run

    if engine == "torch":
        return "fp32"
    graphs = {leaf.graph.precision for leaf in read_run(folder).leaves() if leaf.graph}
    return " and ".join(sorted(graphs))
