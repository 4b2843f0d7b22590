"""The workers of a cluster: as many on each node as fit, looked over before they are used."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from eosin.cluster.worker import Worker, settings
from eosin.errors import ConfigError
from eosin.machine import computing_threads
from eosin.pixels.reading import most_megapixels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eosin.cluster.worker import Sample
    from eosin.progress import Progress

PATIENCE = 60.0  # seconds for a worker to start, or for a node to come where none is left
_EVERY = 1.0  # seconds from one look at the nodes to the next
_FAULTS = 3  # workers of a node that end before they answer, until it is left out


@dataclass(eq=False)
class Member:
    """A worker.

    Attributes:
        actor: the process.
        node: which it runs on.
        host: the node's name.
        look: what it will say of the machine; None once it has found nothing wrong.
        doing: what it was given to do and has not done, the oldest first.
    """

    actor: Any  # Ray's handle has no type
    node: str
    host: str
    look: ray.ObjectRef[str] | None = None
    doing: list[object] = field(default_factory=list)

    def found(self) -> str:
        """What is wrong where it runs; RayError where it ended meanwhile."""
        assert self.look is not None
        try:
            wrong: str = ray.get(self.look)
        except ray.exceptions.RayTaskError as error:
            wrong = f"{self.host}: cannot run this eosin ({error.cause}); install the same version"
        self.look = None
        return wrong


@dataclass
class Crew:
    """Every worker there is.

    Args:
        device: where networks shall run: auto, cpu or cuda.
        progress: told who comes and goes.
    """

    device: str
    progress: Progress
    members: list[Member] = field(default_factory=list)
    _sample: Sample | None = None
    _faults: dict[str, int] = field(default_factory=dict)  # by node
    _looked: float = 0.0  # when the nodes were last looked at
    _served: float = 0.0  # when a member was last ready

    @property
    def ready(self) -> list[Member]:
        """The members that may be used."""
        return [member for member in self.members if member.look is None]

    def muster(self, sample: Sample) -> None:
        """Let everyone look whether all is there.

        Raises:
            ConfigError: somewhere it is not, or nobody has answered after ``PATIENCE``.
        """
        self._sample, self._looked, self._served = sample, 0.0, time.monotonic()
        for member in self.members:
            member.look = member.actor.look.remote(sample)
        self.refresh()
        until, known = time.monotonic() + PATIENCE, len(self.ready)
        while waited := [member.look for member in self.members if member.look is not None]:
            ray.wait(waited, num_returns=1, timeout=max(0.0, until - time.monotonic()))
            if time.monotonic() > until:
                break
            self.admit(strict=True)
            self.refresh()
        if not self.ready:
            raise ConfigError(
                f"no worker of the cluster answered within {PATIENCE:.0f} s; see with `ray status` "
                "whether other work holds its CPUs"
            )
        if len(self.ready) != known:
            nodes = len({member.node for member in self.ready})
            self.progress.note(f"{len(self.ready)} workers on {nodes} nodes")

    def admit(self, *, strict: bool = False) -> None:
        """Take in those that have looked and found nothing wrong; the node of another is left out.

        Raises:
            ConfigError: where ``strict``, what is wrong, instead.
        """
        looks = {member.look: member for member in self.members if member.look is not None}
        for look in ray.wait(list(looks), num_returns=len(looks), timeout=0)[0] if looks else ():
            member = looks[look]
            try:
                wrong = member.found()
            except RayError:
                self._faults[member.node] = self._faults.get(member.node, 0) + 1
                self.drop(member)
                continue
            if wrong and strict:
                raise ConfigError(wrong)
            if wrong:
                self._faults[member.node] = _FAULTS
                self.progress.note(f"left out: {wrong}")
                self.drop(member)

    def drop(self, member: Member) -> None:
        """Give up a worker."""
        self.members.remove(member)
        with suppress(RayError):
            ray.kill(member.actor)

    def refresh(self) -> None:
        """Start workers where there is room, on nodes that have joined too.

        Raises:
            ConfigError: no worker was ready for ``PATIENCE``.
        """
        now = time.monotonic()
        self._served = now if self.ready else self._served
        if now - self._served > PATIENCE:
            raise ConfigError("no worker of the cluster is left; start its nodes and go on")
        if now - self._looked < _EVERY:
            return
        self._looked = now
        nodes = [node for node in ray.nodes() if node["Alive"]]
        alive = {node["NodeID"] for node in nodes}
        for member in [each for each in self.members if each.node not in alive and not each.doing]:
            self.drop(member)
        for node in nodes:
            if self._faults.get(node["NodeID"], 0) < _FAULTS:
                self._fill(node, self._room(nodes, node["Resources"]))

    def _room(self, nodes: list[Any], resources: Mapping[str, float]) -> list[dict[str, float]]:
        """What each worker of a node takes: a GPU where any node has one, else cores."""
        gpus = self.device != "cpu" and any(node["Resources"].get("GPU") for node in nodes)
        if gpus:
            return [{"num_gpus": 1, "num_cpus": 0}] * int(resources.get("GPU", 0))
        cores, threads = resources.get("CPU", 0.0), computing_threads()
        if cores < 1:
            return []
        each = {"num_gpus": 0, "num_cpus": min(threads, int(cores))}
        return [each] * max(1, int(cores // threads))

    def _fill(self, node: Mapping[str, Any], room: list[dict[str, float]]) -> None:
        there = sum(member.node == node["NodeID"] for member in self.members)
        for wanted in room[there:]:
            here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            made = ray.remote(Worker).options(**wanted, scheduling_strategy=here)
            actor = made.remote(settings(), most_megapixels())
            look = actor.look.remote(self._sample)
            self.members.append(Member(actor, node["NodeID"], node["NodeManagerHostname"], look))

    def dismiss(self) -> None:
        """Free the cluster."""
        for member in list(self.members):
            self.drop(member)
