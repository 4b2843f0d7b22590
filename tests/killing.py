"""A process that has everything imported, and forks a command line for each line it is told.

A line is JSON: the words of the command, the folder to be in, and before which operation on files
in that folder the process sends itself which signal; 0 for none. The answer is how the command
ended (its exit code, or less than 0 for a signal) and how many operations there were, where it
ended by itself. Where the file exists that the process was given, it is the graph of every export.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

WARM = (
    "eosin.cli.app",
    "eosin.data.stained",
    "eosin.export.export",
    "eosin.export.formats",
    "eosin.inference.table",
    "eosin.study.study",
    "eosin.study.table",
    "eosin.training.train",
    *("cv2", "matplotlib.figure", "onnxruntime", "onnxscript", "safetensors.torch", "sklearn"),
    *("sklearn.linear_model", "timm", "torch.onnx"),
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")


class Asked(TypedDict):
    """A line."""

    words: list[str]
    folder: str
    stop: int
    signal: int


def counter(
    folder: str, stop: int, number: int
) -> tuple[Callable[[str, tuple[object, ...]], None], list[int]]:
    """An audit hook that counts operations on files in ``folder``; before one comes a signal."""
    count = [0]

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = args
            changes = isinstance(flags, int) and flags & _WRITING
        else:
            path, changes = args[0] if args else None, event in _CHANGES
        if not changes:
            return
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink()
        if isinstance(path, str | bytes | os.PathLike) and inside(os.fsdecode(path)):
            count[0] += 1
            if count[0] == stop:
                os.kill(os.getpid(), number)

    def inside(path: str) -> bool:
        return os.path.abspath(path).startswith(f"{folder}/")  # noqa: PTH100 - it must not exist

    return hook, count


def run(asked: Asked, answer: int) -> None:
    """What the forked process does."""
    from eosin.cli.app import main

    folder = asked["folder"]
    os.chdir(folder)
    os.environ["EOSIN_CACHE"] = f"{folder}/cache"
    log = os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["eosin", *asked["words"]]
    hook, count = counter(folder, asked["stop"], asked["signal"])
    sys.addaudithook(hook)
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    os.write(answer, str(count[0]).encode())
    os._exit(code)


def take_graph(graph: Path) -> None:
    """Let exports copy a graph that was made before."""
    from eosin.export import formats

    def copy(module: object, path: Path, *, size: int) -> None:
        shutil.copyfile(graph, path)

    if graph.exists():
        formats.write_onnx = copy


def serve() -> None:
    """Read lines until there are no more."""
    for name in WARM:
        importlib.import_module(name)
    for line in sys.stdin:
        asked: Asked = json.loads(line)
        read, write = os.pipe()
        child = os.fork()
        if not child:
            take_graph(Path(sys.argv[1]))
            run(asked, write)
        os.close(write)
        _, status = os.waitpid(child, 0)
        operations = int(os.read(read, 20) or 0)
        os.close(read)
        print(json.dumps([os.waitstatus_to_exitcode(status), operations]), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.path[:] = [path for path in sys.path if path != str(Path(__file__).parent)]
    serve()
