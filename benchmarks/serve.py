"""The server under load, beside `eosin bench` and a plain endpoint that runs the same ONNX file.

    python benchmarks/serve.py RUN FOLDER_OF_IMAGES [--images 320] [--memory 1000] [--full]

RUN is an exported Run of one network (ONNX). 32 clients ask at once, one image a request, over
loopback: files of the folder as they are, and squares of 224 pixels cut from them. The plain
endpoint decodes with Pillow and runs the file in ONNX Runtime as it comes, image by image. Server
and plain endpoint take turns; figures are medians of turns. Every answer is compared with what
`eosin predict` says of the image. Clients and servers share the cores, so that reading, clients and
HTTP take from the throughput what `eosin bench`, which times networks alone, does not count.
Exit code 1 where a bar is missed; ``--full`` asks 10,000 times for the memory.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bars import at_least, at_most
from PIL import Image

from eosin.bench.bench import BenchOptions, bench_run
from eosin.inference.predict import predict
from eosin.inference.scoring import PredictOptions
from eosin.machine import cpu_model, engine_versions
from eosin.networks.run import Run, read_run

SHARE_BAR, TAIL_BAR, PLAIN_BAR, GROWTH_BAR = 0.85, 5.0, 1.5, 1.10
_BATCH, _SQUARE, _PATIENCE = 16, 224, 120.0
_SERVER = (
    "import sys; sys.argv = ['eosin', 'serve', {run!r}, '--port', '0', '--allow-seen']; "
    "from eosin.cli.app import main; main()"
)
_PLAIN = """
import io, socket, sys
import numpy as np, onnxruntime, uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image
session = onnxruntime.InferenceSession({graph!r})
mean, std = np.float32({mean!r}), np.float32({std!r})
app = FastAPI()
@app.post("/predict")
def predict(images: UploadFile):
    image = Image.open(io.BytesIO(images.file.read())).convert("RGB").resize(({size}, {size}))
    pixels = (np.asarray(image, np.float32) / 255 - mean) / std
    logits = session.run(["logits"], {{"{input}": pixels.transpose(2, 0, 1)[None]}})[0][0]
    chances = np.exp(logits - logits.max())
    return {{"probabilities": (chances / chances.sum()).tolist()}}
listener = socket.create_server(("127.0.0.1", 0))
print(f"http://127.0.0.1:{{listener.getsockname()[1]}}", flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(sockets=[listener])
"""


@dataclass(frozen=True)
class Turn:
    """What one turn of all clients came to."""

    rate: float  # images a second
    seconds: list[float]  # of each request
    wrong: int  # answers that are not those of `eosin predict`, or none


def main() -> None:
    """Measure both kinds of image, then the memory."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", type=Path, help="an exported Run of one network")
    parser.add_argument("folder", type=Path, help="PNG images of 700 x 460 pixels")
    parser.add_argument("--images", type=int, default=320, help="of a turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--memory", type=int, default=1000, help="requests")
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    options.memory = 10_000 if options.full else options.memory
    print(f"{cpu_model()}, load {os.getloadavg()[0]:.1f}, {engine_versions()}", flush=True)
    run = read_run(options.run)
    bench = BenchOptions(engines=("onnxruntime",), batches=(_BATCH,), rounds=5)
    alone = bench_run(run, bench).speeds[0].images_per_second
    print(f"eosin bench, batch {_BATCH}: {alone:.1f} images/s", flush=True)
    with tempfile.TemporaryDirectory() as home, _listening(_plain(run)) as plain:
        kinds = _kinds(options.folder, Path(home))
        with _listening(_SERVER.format(run=str(run.folder.resolve()))) as server:
            met = True
            for name, files in kinds.items():
                met &= _compare(name, files, (server, plain), alone, options)
            met &= _memory(server, kinds[f"{_SQUARE} px"], options)
    sys.exit(0 if met else 1)


def _kinds(folder: Path, home: Path) -> dict[str, list[Path]]:
    whole = sorted(folder.glob("*.png"))[:_BATCH]
    if not whole:
        sys.exit(f"no PNG images in {folder}: give a folder of 700 x 460 pixels")
    squares = []
    for path in whole:
        squares.append(home / path.name)
        with Image.open(path) as image:
            image.convert("RGB").crop((0, 0, _SQUARE, _SQUARE)).save(squares[-1])
    return {f"{_SQUARE} px": squares, "as they are": whole}


def _plain(run: Run) -> str:
    from eosin.artefacts.graph import INPUT_NAME

    spec, graph = run.record.preprocessing, run.graph
    if graph is None or graph.format != "onnx":
        sys.exit(f"{run.folder}: want an exported Run of one network (eosin export --format onnx)")
    path = str((run.folder / graph.file).resolve())
    size = {"size": spec.size, "mean": list(spec.mean), "std": list(spec.std)}
    return _PLAIN.format(graph=path, input=INPUT_NAME, **size)


@contextmanager
def _listening(code: str) -> Iterator[tuple[int, int]]:
    """A server's port and process id, once it answers."""
    command = [sys.executable, "-u", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r":(\d+)", process.stdout.readline())
            assert found, "the server did not start"
            port, until = int(found[1]), time.monotonic() + _PATIENCE
            while _status(port, "/ready") == 503 and time.monotonic() < until:
                time.sleep(0.05)
            yield port, process.pid
        finally:
            process.terminate()


def _status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except ConnectionError:
        return 503
    finally:
        connection.close()


def _turn(
    port: int, forms: Sequence[bytes], wanted: Sequence[object], count: int, clients: int
) -> Turn:
    """Let clients ask ``count`` times, each with a connection of its own."""
    numbers, lock = iter(range(count)), threading.Lock()
    seconds: list[float] = []
    wrong = [0]

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            begin = time.perf_counter()
            connection.request("POST", "/predict", forms[number % len(forms)], headers)
            answer = connection.getresponse()
            said = json.loads(answer.read())
            took, expected = time.perf_counter() - begin, wanted[number % len(forms)]
            with lock:
                seconds.append(took)
                if expected is not None and (answer.status != 200 or _said(said) != expected):
                    wrong[0] += 1
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Turn(count / (time.perf_counter() - begin), seconds, wrong[0] + count - len(seconds))


def _said(answer: dict[str, list[dict[str, list[dict[str, object]]]]]) -> object:
    return answer["runs"][0]["images"][0].get("probabilities")


def _forms(files: Sequence[Path]) -> list[bytes]:
    head = b'--b\r\nContent-Disposition: form-data; name="images"; filename="%d.png"\r\n\r\n'
    return [head % k + file.read_bytes() + b"\r\n--b--\r\n" for k, file in enumerate(files)]


def _compare(
    name: str,
    files: Sequence[Path],
    servers: Sequence[tuple[int, int]],
    alone: float,
    options: argparse.Namespace,
) -> bool:
    run, forms = read_run(options.run), _forms(files)
    wanted: list[object] = []
    for file in files:
        row = predict(run, [file], PredictOptions(allow_seen=True)).predictions.frame.iloc[0]
        wanted.append({c: float(row[f"p_{c}"]) for c in run.record.task.classes})
    (server, _), (plain, _) = servers
    turns: list[Turn] = []
    plain_rates = []
    for _ in range(options.rounds):
        turns.append(_turn(server, forms, wanted, options.images, options.clients))
        nothing = [None] * len(forms)  # it rounds otherwise
        plain_rates.append(_turn(plain, forms, nothing, options.images, options.clients).rate)
    rate, other = statistics.median(t.rate for t in turns), statistics.median(plain_rates)
    tail = sorted(s for t in turns for s in t.seconds)
    p99 = tail[min(len(tail) - 1, round(0.99 * len(tail)))]
    print(
        f"{name}: server {rate:.1f} images/s, plain endpoint {other:.1f}; "
        f"median {1000 * statistics.median(tail):.0f} ms, p99 {1000 * p99:.0f} ms, "
        f"{options.clients} clients",
        flush=True,
    )
    met = at_least(f"{name}: throughput over eosin bench", rate / alone, SHARE_BAR)
    met &= at_most(f"{name}: p99 in times of a batch", p99 * alone / _BATCH, TAIL_BAR)
    met &= at_least(f"{name}: throughput over the plain endpoint", rate / other, PLAIN_BAR)
    return met & at_most(f"{name}: lost or wrong answers", sum(t.wrong for t in turns), 0)


def _memory(server: tuple[int, int], files: Sequence[Path], options: argparse.Namespace) -> bool:
    forms = _forms(files)
    port, pid = server
    before = _resident(pid)
    _turn(port, forms, [None] * len(forms), options.memory, options.clients)
    after = _resident(pid)
    print(f"memory: {before:.0f} MB, after {options.memory} more requests {after:.0f} MB")
    return at_most("memory after over before", after / before, GROWTH_BAR)


def _resident(pid: int) -> float:
    """Megabytes that a process holds resident."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
