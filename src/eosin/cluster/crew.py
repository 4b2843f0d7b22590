"""The workers of a cluster: as many on each node as fit, looked over before they are used."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from eosin.cluster.worker import Worker, settings
from eosin.errors import ConfigError
from eosin.machine import computing_threads
from eosin.pixels.reading import most_megapixels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eosin.cluster.worker import Sample
    from eosin.progress import Progress

PATIENCE = 60.0  # seconds for the first worker to start, or for another where none is left
_EVERY = 1.0  # seconds from one look at the nodes to the next
_FAULTS = 3  # workers of a node that end before they answer, until it is left out


@dataclass(eq=False)
class Block:
    """Some rows: of the list, or one of another block, tried alone."""

    index: int  # in the order of the list
    rows: range
    lost: int = 0  # workers that it has cost
    refused: dict[str, str] = field(default_factory=dict)  # files that must not be read, and why
    of: Block | None = None  # the block whose row this is
    trials: int = 0  # its rows that are being tried alone
    tried: bool = False  # whether they were

    @property
    def alone(self) -> bool:
        """Whether a worker must have nothing else to do meanwhile."""
        return self.lost > 0 or self.of is not None


@dataclass(eq=False)
class Member:
    """A worker."""

    actor: Any  # Ray's handle has no type
    node: str
    host: str  # the node's name
    look: ray.ObjectRef[str] | None  # what it will say of its machine; None once all is well
    doing: list[Block] = field(default_factory=list)  # not done yet, the oldest first


@dataclass
class Crew:
    """Every worker there is."""

    device: str  # where networks run: auto, cpu, cuda or mps
    progress: Progress  # told who comes and goes
    members: list[Member] = field(default_factory=list)
    _faults: Counter[str] = field(default_factory=Counter)  # by node
    _sample: Sample | None = None
    _looked: float = 0.0  # when the nodes were last looked at
    _served: float = 0.0  # when a member was last ready

    @property
    def ready(self) -> list[Member]:
        """The members that may be used."""
        return [member for member in self.members if member.look is None]

    def muster(self, sample: Sample) -> None:
        """Let everyone look whether all is there; return once all have answered.

        Raises:
            ConfigError: something is not, or nobody answers.
        """
        self._sample, self._looked, self._served = sample, 0.0, time.monotonic()
        until, known = self._served + PATIENCE, len(self.members)
        for member in self.members:
            member.look = member.actor.look.remote(sample)
        self.refresh()
        while len(self.ready) < max(1, len(self.members)):
            self.refresh()
            looks = [member.look for member in self.members if member.look is not None]
            ray.wait(looks, timeout=_EVERY) if looks else time.sleep(0.1)
            self.admit(strict=True)
            if self.ready and time.monotonic() > until:
                break
        if len(self.members) != known:
            nodes = Counter(member.host for member in self.members)
            said = ", ".join(f"{count} on {host}" for host, count in nodes.items())
            self.progress.note(f"workers: {said}")

    def admit(self, *, strict: bool = False) -> None:
        """Take in those that find nothing wrong; leave the nodes of others out.

        Raises:
            ConfigError: where ``strict``, what is wrong.
        """
        looks = {member.look: member for member in self.members if member.look is not None}
        for look in ray.wait(list(looks), num_returns=len(looks), timeout=0)[0] if looks else ():
            member, wrong = looks[look], ""
            try:
                wrong = ray.get(look)
            except RayTaskError as error:
                wrong = f"{member.host}: cannot run this eosin ({error.cause}); install the same"
            except RayError:
                self._faults[member.node] += 1
                self.drop(member)
                continue
            member.look = None
            self._faults[member.node] = 0
            if wrong and strict:
                raise ConfigError(wrong)
            if not wrong and not strict:
                self.progress.note(f"a worker on {member.host} has joined")
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
            raise ConfigError(
                f"no worker of the cluster was ready for {PATIENCE:.0f} s: start its nodes, or see "
                "with `ray status` what holds their CPUs; then start the command again"
            )
        if now - self._looked < _EVERY:
            return
        known: list[Any] = ray.nodes()  # type: ignore[no-untyped-call]
        self._looked, nodes = now, [node for node in known if node["Alive"]]
        alive = {node["NodeID"] for node in nodes}
        for member in [each for each in self.members if each.node not in alive and not each.doing]:
            self.drop(member)
        for node in nodes:
            there = sum(member.node == node["NodeID"] for member in self.members)
            if self._faults[node["NodeID"]] < _FAULTS:
                for wanted in self._room(nodes, node["Resources"])[there:]:
                    self._start(node, wanted)

    def _room(self, nodes: list[Any], resources: Mapping[str, float]) -> list[dict[str, float]]:
        """What each worker of a node takes: a GPU where any node has one, else cores."""
        if self.device not in ("cpu", "mps") and any(
            node["Resources"].get("GPU") for node in nodes
        ):
            return [{"num_gpus": 1, "num_cpus": 0}] * int(resources.get("GPU", 0))
        cores, threads = int(resources.get("CPU", 0)), computing_threads()
        return [{"num_gpus": 0, "num_cpus": min(threads, cores)}] * max(cores // threads, cores > 0)

    def _start(self, node: Mapping[str, Any], wanted: dict[str, float]) -> None:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        made: Any = ray.remote(Worker).options(scheduling_strategy=there, **wanted)
        actor = made.remote(settings(), most_megapixels())
        look = actor.look.remote(self._sample)
        self.members.append(Member(actor, node["NodeID"], node["NodeManagerHostname"], look))

    def dismiss(self) -> None:
        """Free the cluster."""
        for member in list(self.members):
            self.drop(member)
