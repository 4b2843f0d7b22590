"""How long `import eosin` and `eosin --help` take, beside what they would cost with torch.

    python benchmarks/startup.py [--rounds 7]

Every command runs in a process of its own, in turns; medians stand in the table, bars beside.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from bars import at_most

_COMMANDS = {
    "python, nothing imported": ("-c", "pass"),
    "import eosin": ("-c", "import eosin"),
    "eosin --help": ("-m", "eosin", "--help"),
    "import torch": ("-c", "import torch"),
}
_BARS = {"import eosin": 0.3, "eosin --help": 0.5}


def main() -> None:
    """Time each command in turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    for _ in range(rounds):
        for name, words in _COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            times[name].append(time.perf_counter() - began)
    print("| command | median, s | bar, s | |")
    print("| --- | --- | --- | --- |")
    for name, seconds in times.items():
        median, bar = statistics.median(seconds), _BARS.get(name)
        verdict = "" if bar is None else "met" if median < bar else "MISSED"
        print(f"| {name} | {median:.3f} | {bar or ''} | {verdict} |")
    for name, bar in _BARS.items():
        at_most(f"{name}, seconds", statistics.median(times[name]), bar)


if __name__ == "__main__":
    main()
