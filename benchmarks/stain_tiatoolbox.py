"""The TIAToolbox side of ``benchmarks/stain.py``; runs inside TIAToolbox's own environment.

Reads image paths, one a line, from standard input, up to an empty line; the first is the target.
Then each line ``<method> <index>`` is answered with the milliseconds that one transform
took: by the clock, and of all cores together.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import time
import types
import warnings
from pathlib import Path

METHODS = ("reinhard", "macenko", "vahadane")


def import_stainnorm() -> types.ModuleType:
    """TIAToolbox's stain normalisation, without the slide readers and networks beside it.

    Its packages import all of their modules, torch included, none of which normalises stain: empty
    packages stand in for them, so that the module imported is its own, unchanged.
    """
    logging.disable(logging.WARNING)
    spec = importlib.util.find_spec("tiatoolbox")
    if spec is None or spec.origin is None:
        raise ImportError("tiatoolbox is not installed")
    root = Path(spec.origin).parent
    for package in ("tools", "utils", "annotation"):
        module = types.ModuleType(f"tiatoolbox.{package}")
        module.__path__ = [str(root / package)]
        sys.modules[module.__name__] = module
    storage = types.ModuleType("tiatoolbox.annotation.storage")
    for name in ("Annotation", "AnnotationStore", "SQLiteStore"):
        setattr(storage, name, type(name, (), {}))
    sys.modules[storage.__name__] = storage
    return importlib.import_module("tiatoolbox.tools.stainnorm")


def main() -> None:
    """Load the images, fit each method to the first, then answer until the input ends."""
    stainnorm = import_stainnorm()
    import cv2

    warnings.simplefilter("ignore")  # its dictionary learning warns on every image
    paths = list(iter(lambda: sys.stdin.readline().strip(), ""))
    images = [cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB) for path in paths]
    normalizers = {method: stainnorm.get_normalizer(method) for method in METHODS}
    for normalizer in normalizers.values():
        normalizer.fit(images[0])
    print("ready", flush=True)
    for line in sys.stdin:
        method, index = line.split()
        image = images[int(index)].copy()  # some of its methods paint into their input
        clock, cores = time.perf_counter(), time.process_time()
        normalizers[method].transform(image)
        clock, cores = time.perf_counter() - clock, time.process_time() - cores
        print(1e3 * clock, 1e3 * cores, flush=True)


if __name__ == "__main__":
    main()
