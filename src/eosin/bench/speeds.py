"""What `eosin bench` finds: the speed of each engine, and the table of all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class EngineSpeed:
    """One engine at one batch size; times of all networks of the Run together."""

    engine: str  # its name
    precision: str  # of its arithmetic, ``"fp32"`` or ``"int8"``, or both for a mixed ensemble
    device: str  # ``"cpu"`` or a GPU
    batch: int  # images at once
    images_per_second: float  # at the median
    ms: float  # median milliseconds an image, by the clock
    p95_ms: float  # milliseconds an image that 19 batches in 20 keep within
    core_ms: float  # median milliseconds an image, of all cores together
    # peak resident memory of a process of its own, library and network included; what Python, NumPy
    # and the input take is left out
    memory_mb: float
    # images a second over those of PyTorch, same batch size; None without PyTorch
    ratio: float | None
    timed_batches: int  # how many the figures rest on


@dataclass(frozen=True)
class Bench:
    """What ``bench_run`` found."""

    run: str  # folder of the Run
    cpu: str  # the processor's name
    threads: int  # of every engine
    # backbone and input side of each network, which all count towards a time
    networks: tuple[str, ...]
    images: str  # where the input comes from, in words
    speeds: tuple[EngineSpeed, ...]  # one an engine and batch size
    absent: dict[str, str] = field(default_factory=dict)  # engines without figures, and why
    notes: tuple[str, ...] = ()  # what to know of the figures
    versions: dict[str, str] = field(default_factory=dict)  # of the libraries

    def frame(self) -> pd.DataFrame:
        """The table to print, a row an engine and batch size."""
        import pandas as pd

        rows = [
            {
                "engine": _title(speed),
                "batch": speed.batch,
                "images/s": f"{speed.images_per_second:.1f}",
                "ms an image": f"{speed.ms:.2f}",
                "p95 ms": f"{speed.p95_ms:.2f}",
                "core ms": f"{speed.core_ms:.2f}",
                "memory MB": f"{speed.memory_mb:.0f}",
                "x PyTorch": "-" if speed.ratio is None else f"{speed.ratio:.2f}",
            }
            for speed in self.speeds
        ]
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, object]:
        """All of it as plain JSON values."""
        return {"kind": "bench", "format_version": 1, **asdict(self)}


def _title(speed: EngineSpeed) -> str:
    """The engine, and what is not as usual about it."""
    plain = {"fp32": "", "cpu": ""}
    extras = [plain.get(word, word) for word in (speed.precision, speed.device)]
    return ", ".join([speed.engine, *filter(None, extras)])
