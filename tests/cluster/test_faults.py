"""Workers, nodes and the driver die at any moment: the bytes are those of one process."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from acts import rows_work, tree
from nodes import Nodes, wait_for, workers

from eosin.networks.run import Run
from eosin.spread import Spread

FAULTS = ("worker", "node", "driver", "join")
MOMENTS = ("first", "last", "any")  # block that is under way when the seed's own fault strikes
WEEKLY = pytest.mark.weekly
SEEDS = [pytest.param(seed, marks=() if seed in (1, 6) else WEEKLY) for seed in range(20)]


class Driver:
    """A process that predicts, and goes on where one before it ended."""

    def __init__(self, *words: object) -> None:
        acts = Path(__file__).with_name("acts.py")
        self._command = [sys.executable, str(acts), *map(str, words)]
        self.process: subprocess.Popen[str] | None = None

    def go_on(self) -> subprocess.Popen[str]:
        """Begin, unless it is at it."""
        if self.process is None or self.process.poll() is not None:
            self.end()
            both = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            self.process = subprocess.Popen(self._command, text=True, **both)
        return self.process

    def end(self) -> None:
        """Kill it."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()

    def steps(self, count: int) -> None:
        """Return once it has said so often how far it is, or has ended."""
        said = (line for line in self.go_on().stdout or () if line.startswith("done"))
        for _ in range(count):
            next(said, None)


@pytest.fixture
def driver(
    nodes: Nodes, spread: Spread, run: Run, images: Path, tmp_path: Path
) -> Iterator[Driver]:
    spread.crew.dismiss()  # it has workers of its own
    found = Driver(run.folder, images, tmp_path / "p.csv", nodes.address)
    yield found
    found.end()
    shutil.rmtree(images.with_name("hold"), ignore_errors=True)


def strike(
    fault: str, nodes: Nodes, driver: Driver, victims: Sequence[int], chance: random.Random
) -> None:
    """Let one thing go wrong; at least one node is always left, or comes back."""
    if fault == "driver":
        driver.end()
    elif fault == "worker":
        for victim in chance.sample(victims, k=min(1, len(victims))):
            os.kill(victim, signal.SIGKILL)
    elif fault == "node" and len(nodes.alive) > 1:
        theirs = [node for node in nodes.alive if {*victims} & {*workers(node)}]
        nodes.kill(chance.choice(theirs or nodes.alive))
    elif len(nodes.alive) < 3:
        nodes.start()


def holder(hold: Path) -> int:
    """The worker that holds an image, once one does."""
    for before in hold.parent.glob("*.held"):
        before.unlink()
    found = list[Path]()
    wait_for(lambda: found.extend(hold.parent.glob("*.held")) or found, f"a worker at {hold.name}")
    return int(found[0].stem)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_dies_nothing_is_lost_or_doubled(
    seed: int, nodes: Nodes, driver: Driver, images: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    chance, moment = random.Random(seed), MOMENTS[seed % 3]
    hold = images.with_name("hold") / sorted(images.iterdir())[0 if moment == "first" else -1].name
    plan = [(fault, "any") for fault in chance.choices(FAULTS, k=seed // 10 + 1)]
    plan.insert(0 if moment == "first" else len(plan), (FAULTS[seed % 4], moment))
    if moment != "any":
        hold.parent.mkdir()
        hold.touch()
    for fault, when in plan:
        driver.go_on()
        if when == "any":
            driver.steps(chance.randint(1, 4))
            victims = [each for node in nodes.alive for each in workers(node)]
        else:
            victims = [holder(hold)]
        strike(fault, nodes, driver, victims, chance)
        if when != "any":
            hold.unlink()
    process = driver.go_on()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, (plan, errors)
    assert tree(tmp_path) == whole, plan


def test_a_node_that_joins_late_takes_part(nodes: Nodes, spread: Spread, tmp_path: Path) -> None:
    coming = spread.each(rows_work(tmp_path, 16, step=1), range(16))
    found = [next(coming)]
    late = nodes.start()

    def come() -> bool:
        spread.crew.refresh()
        spread.crew.admit()
        return len(spread.crew.ready) == 3

    wait_for(come, "a third worker")
    found += list(coming)
    assert [row for row, _ in found] == list(range(16))
    assert {process for _, process in found} & {*workers(late)}
