"""Every benchmark that can run with what is here, one after the other, and at the end its bars.

    python benchmarks/run.py [--data FOLDER] [--only NAME ...] [--record]

FOLDER holds ``data/`` and ``weights/`` (default: EOSIN_TEST_DATA); without it those that want
real images are named and left out. The last lines say of each bar whether it is met, with the
figure. Exit code 1 where one is missed or a benchmark fails, after all have run.

The bars are for two cores that do nothing else; where others use them, the first line says so.
``--record`` adds a line a bar to history.csv, beside this file.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bars import MARK

_HERE = Path(__file__).resolve().parent
_ALONE = (
    ("startup.py",),
    ("metrics.py", "--loop-resamples", "2", "--rounds", "1"),
    ("evaluate_growth.py",),
    ("synthetic.py",),
    ("train.py",),
    ("cluster.py",),
)
_ON_IMAGES = (
    ("audit.py", "{data}/data/breakhis100x"),
    ("stain.py", "{data}/data/breakhis", "--rounds", "2", "--skip-tiatoolbox"),
    ("stain_training.py", "{data}/data/breakhis100x"),
    ("cache.py", "{data}/data/breakhis"),
    ("slides.py", "{data}/data/slides"),
    ("inference.py", "{data}/data/breakhis", "--weights", "{data}/weights"),
    ("heatmaps.py", "{data}/data/breakhis", "--weights", "{data}/weights"),
    ("streaming.py", "{run}", "{data}/data/breakhis"),
    ("serve.py", "{run}", "{data}/data/breakhis"),
)
_HISTORY = _HERE / "history.csv"
_COLUMNS = (
    "date",
    "version",
    "commit",
    "python",
    "cores",
    "load",
    "benchmark",
    "bar",
    "figure",
    "wanted",
    "met",
)
_BAR = re.compile(r"(met|MISSED)\s+(.*): (\S+) \((.*)\)")
_BUSY = 0.5  # programs that want a core, on the mean of the last minute


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one benchmark.

    Attributes:
        name: of its file.
        bars: the line of each bar.
        broken: whether it failed otherwise than by missing one.
    """

    name: str
    bars: tuple[str, ...]
    broken: bool


def main() -> None:
    """Run the benchmarks, then say which bars are met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("EOSIN_TEST_DATA"))
    parser.add_argument("--only", nargs="+", default=(), help="files such as inference.py")
    parser.add_argument("--record", action="store_true", help="add the bars to history.csv")
    options = parser.parse_args()
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if busy > _BUSY:
        print(f"{busy:.1f} other programs want a core: figures by the clock are not quiet ones")
    with tempfile.TemporaryDirectory() as folder:
        outcomes, left_out = _run_all(options, Path(folder) / "run", busy)
    sys.exit(0 if _sum_up(outcomes, left_out) else 1)


def _run_all(
    options: argparse.Namespace, run: Path, busy: float
) -> tuple[list[Outcome], list[str]]:
    """What came of each benchmark; the names of those that want images which are not here."""
    wanted = [words for words in (*_ALONE, *_ON_IMAGES) if words[0] in (options.only or words)]
    without = [words[0] for words in wanted if words in _ON_IMAGES and options.data is None]
    outcomes, commit = [], _commit()
    for words in wanted:
        if words[0] in without:
            continue
        if "{run}" in words:
            _execute(["untrained.py", str(run), "--weights", f"{options.data}/weights"])
        outcomes.append(_execute([word.format(data=options.data, run=run) for word in words]))
        if options.record:
            _record(outcomes[-1], commit, busy)
    return outcomes, without


def _execute(words: Sequence[str]) -> Outcome:
    """Run one script, showing what it prints as it comes."""
    print(f"\n## {' '.join(words)}\n", flush=True)
    command = [sys.executable, str(_HERE / words[0]), *words[1:]]
    bars = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # a pipe was asked for
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith(f"{MARK} "):
                bars.append(line.removeprefix(MARK).strip())
    missed = any(line.startswith("MISSED") for line in bars)
    return Outcome(words[0], tuple(bars), broken=process.returncode != 0 and not missed)


def _commit() -> str:
    """What is measured, "-dirty" where a file but the history itself differs from it."""
    ask = ["git", "-C", str(_HERE), "diff", "--quiet", "HEAD", "--", ":/", f":!{_HISTORY.name}"]
    dirty = subprocess.run(ask, check=False).returncode != 0
    ask = ["git", "-C", str(_HERE), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()
    return f"{found}-dirty" if dirty else found


def _record(outcome: Outcome, commit: str, load: float) -> None:
    """Add a benchmark's bars to the history, with what they were measured on."""
    from eosin.machine import available_cores
    from eosin.version import __version__

    today = datetime.now(UTC).date().isoformat()
    where = (
        today,
        __version__,
        commit,
        platform.python_version(),
        available_cores(),
        f"{load:.1f}",
    )
    new = not _HISTORY.exists()
    with _HISTORY.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(_COLUMNS)
        for found in map(_BAR.fullmatch, outcome.bars):
            assert found is not None, outcome.bars  # each is printed by bars.py
            met, bar, figure, wanted = found.groups()
            writer.writerow([*where, outcome.name, bar, figure, wanted, met == "met"])


def _sum_up(outcomes: Sequence[Outcome], left_out: Sequence[str]) -> bool:
    """Print every bar; whether all that were measured are met and nothing broke."""
    print("\n## Bars\n")
    lines = [line for outcome in outcomes for line in outcome.bars]
    broken = [outcome.name for outcome in outcomes if outcome.broken]
    for line in lines:
        print(line)
    met = sum(line.startswith("met") for line in lines)
    print(f"\n{met} of {len(lines)} bars met")
    if left_out:
        print(f"left out, they want real images (--data FOLDER): {', '.join(left_out)}")
    if broken:
        print(f"failed: {', '.join(broken)}")
    return met == len(lines) and not broken


if __name__ == "__main__":
    main()
