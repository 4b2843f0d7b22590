"""Workers, nodes and the driver die at any moment: the bytes are those of one process."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from acts import rows_work
from nodes import Nodes, wait_for, workers

from conftest import tree
from eosin.cluster.connecting import spread_over
from eosin.networks.run import Run

FAULTS = ("worker", "node", "driver", "join")
SEEDS = [*range(2), *(pytest.param(seed, marks=pytest.mark.weekly) for seed in range(2, 20))]


def driver(run: Run, images: Path, out: Path, nodes: Nodes) -> subprocess.Popen[str]:
    words = [str(run.folder), str(images), str(out), nodes.address]
    acts = Path(__file__).with_name("acts.py")
    return subprocess.Popen(
        [sys.executable, str(acts), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def strike(fault: str, nodes: Nodes, process: subprocess.Popen[str], chance: random.Random) -> None:
    """Let one thing go wrong; at least one node is always left, or comes back."""
    if fault == "driver":
        process.kill()
    elif fault == "worker":
        if found := [each for node in nodes.alive for each in workers(node)]:
            os.kill(chance.choice(found), signal.SIGKILL)
    elif fault == "node" and len(nodes.alive) > 1:
        nodes.kill(chance.choice(nodes.alive))
    elif len(nodes.alive) < 3:
        nodes.start()


def steps(process: subprocess.Popen[str]) -> Iterator[str]:
    """What the driver says of its progress, line by line."""
    assert process.stdout is not None
    yield from (line for line in process.stdout if line.startswith("done"))


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_dies_nothing_is_lost_or_doubled(
    seed: int,
    nodes: Nodes,
    run: Run,
    images: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
) -> None:
    nodes.fill(2)
    chance = random.Random(seed)
    faults = [FAULTS[seed % 4], *chance.choices(FAULTS, k=seed // 10 + 1)]
    out = tmp_path / "p.csv"
    process = driver(run, images, out, nodes)
    for fault in faults:
        said = steps(process)
        for _ in range(chance.randint(1, 4)):
            next(said, None)
        strike(fault, nodes, process, chance)
        if process.poll() is not None or fault == "driver":
            process.communicate()
            process = driver(run, images, out, nodes)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, (faults, errors)
    assert tree(tmp_path) == whole, faults


def test_a_node_that_joins_late_takes_part(nodes: Nodes, tmp_path: Path) -> None:
    nodes.fill(1)
    with spread_over(nodes.address, device="cpu") as spread:
        coming = spread.each(rows_work(tmp_path, 16, step=1), range(16))
        found = [next(coming)]
        nodes.start()
        late = workers(nodes.alive[1])

        def come() -> bool:
            spread.crew.refresh()
            spread.crew.admit()
            return len(spread.crew.ready) == 2

        wait_for(come, "a second worker")
        found += list(coming)
    assert [row for row, _ in found] == list(range(16))
    assert len({process for _, process in found}) == 2, late
