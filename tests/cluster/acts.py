"""What is done in these tests; workers import it by this name, and little with it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.errors import DataError
from eosin.pixels.reading import require_not_refused
from eosin.progress import Silent
from eosin.spread import Work

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from eosin.networks.run import Run


class Reports(Silent):
    """Says on standard output how far it is."""

    def advance(self, steps: int = 1, *, errors: int = 0, said: str = "") -> None:  # noqa: ARG002
        print(f"done {steps}", flush=True)  # noqa: T201


def slowly(path: Path, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The image as it is, after a moment; it is held while a file of its name lies in ``hold``."""
    hold, until = path.parent.with_name("hold") / path.name, time.monotonic() + 60
    while hold.exists() and time.monotonic() < until:
        hold.with_name(f"{os.getpid()}.held").touch()
        time.sleep(0.02)
    time.sleep(0.02)
    return image


def fatally(poison: frozenset[str], path: Path, image: object) -> object:
    """The image as it is; over some a worker is killed, as by a decoder that crashes."""
    if path.name in poison:
        os.kill(os.getpid(), signal.SIGKILL)
    return image


def refused(poison: frozenset[str], path: Path, image: object) -> object:
    """The image as it is; some cannot be read."""
    if path.name in poison:
        raise DataError(f"{path}: 2 workers ended over it; look at the file")
    return image


def _rows(folder: Path, _: object, rows: range) -> Iterator[tuple[int, int]]:
    """Rows, and who did them, 0 for one that is refused.

    Files say what becomes of a row: ``7.wait`` lets it wait until that is gone.
    """
    for row in rows:
        try:
            require_not_refused(folder / f"{row}.png")
        except DataError:
            yield row, 0
            continue
        (folder / f"{row}.{os.getpid()}.begun").write_text(str(time.monotonic_ns()))
        until = time.monotonic() + 60
        while (folder / f"{row}.wait").exists() and time.monotonic() < until:
            time.sleep(0.02)
        together = len(rows) > 1 and (folder / "together.fatal").exists()
        if together or (folder / f"{row}.fatal").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if (folder / f"{row}.error").exists():
            raise DataError(f"row {row} is wrong")
        yield row, os.getpid()


def rows_work(folder: Path, count: int, *, step: int = 4, after: object = None) -> Work:
    """Work that finds of each row its number, and who did it."""
    files = [folder / f"{row}.png" for row in range(count)]
    return Work("rows", step, files, str, partial(_rows, folder), after=after or {}, reads=[folder])


def tree(folder: Path) -> dict[str, bytes]:
    """Every file in a folder with its bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def score(run: Run, images: Path, out: Path, **how: object) -> None:
    """Predict in batches so small that no worker is soon at the last block."""
    from eosin.inference.scoring import PredictOptions
    from eosin.inference.table import predict_to_table

    options = PredictOptions(batch_size=2, workers=1, device="cpu", allow_seen=True)
    predict_to_table(run, [images], out, options, **how)


def main(run: str, images: str, out: str, address: str) -> None:
    """Predict, as a command does, from where it was."""
    from eosin.cluster.connecting import spread_over
    from eosin.networks.run import read_run

    told = Reports()
    with spread_over(address, progress=told) as spread:
        how = {"resume": True, "alter": slowly, "progress": told, "spread": spread}
        score(read_run(run), Path(images), Path(out), **how)


if __name__ == "__main__":
    import acts  # workers know the functions by this name, not as ``__main__``'s

    acts.main(*sys.argv[1:])
