"""Every benchmark that can run with what is here, one after the other.

    python benchmarks/run.py [--data FOLDER]

FOLDER holds ``data/`` and ``weights/`` (default: EOSIN_TEST_DATA); without it those that want
real images are named and left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_ALONE = (
    ("startup.py",),
    ("metrics.py", "--loop-resamples", "2", "--rounds", "1"),
    ("synthetic.py",),
    ("train.py",),
)
_ON_IMAGES = (
    ("audit.py", "{data}/data/breakhis100x"),
    ("stain.py", "{data}/data/breakhis", "--rounds", "2", "--skip-tiatoolbox"),
    ("cache.py", "{data}/data/breakhis"),
)


def main() -> None:
    """Run the benchmarks; exit 1 where one fails, after all have run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("EOSIN_TEST_DATA"))
    data = parser.parse_args().data
    failed = [words[0] for words in _ALONE if not _run(words)]
    for words in _ON_IMAGES:
        if data is None:
            print(f"\n## {words[0]}: left out, it wants real images (--data FOLDER)")
        elif not _run([word.format(data=data) for word in words]):
            failed.append(words[0])
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _run(words: tuple[str, ...] | list[str]) -> bool:
    print(f"\n## {' '.join(words)}\n", flush=True)
    done = subprocess.run([sys.executable, str(_HERE / words[0]), *words[1:]], check=False)
    return done.returncode == 0


if __name__ == "__main__":
    main()
