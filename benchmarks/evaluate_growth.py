"""Time and memory of ``eosin evaluate`` on a table of a million rows.

Run: ``python benchmarks/evaluate_growth.py [--images 1000000] [--patients 10000 0] [--classes 2]``.
``--patients 0`` makes every image its own, unknown patient. The command line runs in a process of
its own, from the CSV to the written evaluation; its time and its largest memory are printed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bars import at_most
from metrics import drawn_predictions

SECONDS, GIGABYTES, GIGABYTES_UNKNOWN = 30.0, 1.0, 2.0


def measured(command: list[str]) -> tuple[float, float, float]:
    """Seconds by the clock and of processor, and gigabytes (largest resident set), of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), command)
    busy = usage.ru_utime + usage.ru_stime
    return time.perf_counter() - start, busy, usage.ru_maxrss / 1024**2


def main() -> None:
    """Read the flags, write each table, run the command on it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--patients", type=int, nargs="+", default=[10_000, 0], help="0: unknown")
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for patients in given.patients:
        with tempfile.TemporaryDirectory() as folder:
            table, out = Path(folder) / "p.csv", Path(folder) / "e.json"
            drawn = given.images, patients, given.classes, given.seed
            drawn_predictions(*drawn, magnifications=("",)).write(table)
            evaluate = [sys.executable, "-m", "eosin", "evaluate", str(table), "-o", str(out)]
            seconds, busy, memory = measured([*evaluate, "--resamples", str(given.resamples)])
        whom = f"{patients:,} patients" if patients else "unknown patients"
        what = f"evaluate, {given.images:,} rows, {given.classes} classes, {whom}"
        print(f"{what}: {seconds:.1f} s ({busy:.1f} s of processor), {memory:.2f} GB")
        at_most(f"{what}, gigabytes", memory, GIGABYTES if patients else GIGABYTES_UNKNOWN)
        if patients:
            at_most(f"{what}, seconds", seconds, SECONDS)


if __name__ == "__main__":
    main()
