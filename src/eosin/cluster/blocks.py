"""Work in blocks: handed out within bounds, taken in order, done again where a worker is lost."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Generic, cast

import ray
from ray.exceptions import RayError, RayTaskError

from eosin.cluster.worker import sample_of
from eosin.errors import ModelError
from eosin.spread import Opened, Part

if TYPE_CHECKING:
    from collections.abc import Generator

    from eosin.cluster.crew import Crew, Member
    from eosin.spread import Work

TRIES = 2  # workers that a block may cost before its rows are tried alone
_ROWS = 256  # of a block, about
_ROUNDS = 4  # blocks a worker, at least, where there are rows enough
_numbers = count()


@dataclass(eq=False)
class Block:
    """Some rows.

    Attributes:
        index: among the blocks.
        rows: which.
        lost: workers that it has cost.
        refused: files among them that must not be read, with the reason.
        of: the block whose row is tried alone here.
        trials: rows of its own that are tried alone and not yet done.
        tried: whether they were.
    """

    index: int
    rows: range
    lost: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    of: Block | None = None
    trials: int = 0
    tried: bool = False

    @property
    def alone(self) -> bool:
        """Whether a worker must have nothing else to do meanwhile."""
        return self.lost > 0 or self.of is not None


def cut(rows: range, step: int, workers: int) -> list[Block]:
    """Blocks of whole batches, smaller where there are few rows for so many workers."""
    share = -(-len(rows) // (step * workers * _ROUNDS))
    size = step * max(1, min(share, _ROWS // step))
    starts = range(rows.start, rows.stop, size)
    return [Block(n, range(at, min(at + size, rows.stop))) for n, at in enumerate(starts)]


@dataclass(frozen=True)
class Cluster:
    """A ``Spread`` over all workers."""

    crew: Crew

    def each(self, work: Work[Opened, Part], rows: range) -> Generator[Part, None, None]:
        """What ``work`` finds of ``rows``, in order, the same as in one process.

        Raises:
            ConfigError: a machine has another eosin or cannot see the files; or none is left.
            ModelError: a Run changed meanwhile, or rows cost one worker after the other.
            EosinError: as the work.
        """
        if not rows:
            return
        self.crew.muster(sample_of(work.inputs))
        blocks = cut(rows, work.step, len(self.crew.ready))
        yield from _Doing(self.crew, work, blocks).parts()
        work.require_unchanged()


class _Doing(Generic[Part]):
    """Blocks on their way."""

    def __init__(self, crew: Crew, work: Work[Opened, Part], blocks: list[Block]) -> None:
        self.crew, self.work, self.total = crew, work, len(blocks)
        self.number, self.reference = next(_numbers), ray.put(work)
        self.waiting = blocks  # by index
        self.flying: dict[ray.ObjectRef[None], tuple[Member, Block, ray.ObjectRef[list[Part]]]] = {}
        self.done: dict[int, tuple[Block, ray.ObjectRef[list[Part]]]] = {}
        self.next = 0  # to be yielded
        self.starts = {block.rows.start: block.index for block in blocks}

    def parts(self) -> Generator[Part, None, None]:
        """What is found."""
        try:
            while self.next < self.total:
                self.crew.refresh()
                self.hand_out()
                self.take_in()
                while self.next in self.done:
                    block, reference = self.done.pop(self.next)
                    try:
                        found = ray.get(reference)
                    except RayTaskError as error:
                        raise cast("Exception", error.cause) from error
                    except RayError:  # its node was lost with what it had found
                        insort(self.waiting, block, key=_index)
                        break
                    self.next += 1
                    yield from found
        finally:
            for member in self.crew.ready:
                member.doing.clear()

    def hand_out(self) -> None:
        """Give workers blocks, not too far ahead of what is taken."""
        ahead = self.next + 3 * len(self.crew.ready) + 1
        for block in list(self.waiting):
            if block.index >= ahead:
                return
            if not all(self._is_done(row) for row in self.work.after(block.rows.start)):
                continue
            member = self._free(block)
            if member is None:
                return
            self.waiting.remove(block)
            member.doing.append(block)
            given = (self.number, [self.reference], block.rows, block.refused)
            done, found = member.actor.do.options(num_returns=2).remote(*given)
            self.flying[done] = member, block, found

    def take_in(self) -> None:
        """Wait for blocks, a second at most."""
        looks = [member.look for member in self.crew.members if member.look is not None]
        ready, _ = ray.wait([*self.flying, *looks], num_returns=1, timeout=1.0)
        self.crew.admit()
        for reference in ready:
            if reference not in self.flying:
                continue
            member, block, found = self.flying.pop(reference)
            try:
                ray.get(reference)
            except RayTaskError:  # raised in its turn
                pass
            except RayError:
                self.flying[reference] = member, block, found
                self._lost(member)
                continue
            member.doing.remove(block)
            self._did(block, found)

    def _is_done(self, row: int) -> bool:
        index = self.starts.get(row, -1)
        return index < self.next or index in self.done

    def _free(self, block: Block) -> Member | None:
        """Who has the least to do, where that is little enough."""
        able = [m for m in self.crew.ready if not any(cast("Block", b).alone for b in m.doing)]
        member = min(able, key=lambda each: len(each.doing), default=None)
        most = 0 if block.alone else 0 if len(block.rows) == 1 else 1
        return member if member is not None and len(member.doing) <= most else None

    def _did(self, block: Block, found: ray.ObjectRef[list[Part]]) -> None:
        if block.of is None:
            self.done[block.index] = block, found
        else:
            self._tried(block.of)

    def _lost(self, member: Member) -> None:
        """A worker ended: its oldest block may be why, the others are only done again."""
        lost = [cast("Block", each) for each in member.doing]
        self.flying = {ref: each for ref, each in self.flying.items() if each[0] is not member}
        self.crew.drop(member)
        self.crew.progress.note(f"a worker on {member.host} was lost; what it did is done again")
        lost[0].lost += 1
        for block in lost:
            if block.lost >= TRIES:
                self._suspect(block)
            else:
                insort(self.waiting, block, key=_index)

    def _suspect(self, block: Block) -> None:
        """A block has cost so many workers that one of its rows must be why: which?"""
        block.lost, whole = 0, block.of or block
        if len(block.rows) == 1:
            file = self.work.file(block.rows.start)
            if str(file) in whole.refused:
                raise ModelError(f"{file}: left out, and still its workers end; see Ray's logs")
            whole.refused[str(file)] = f"{TRIES} workers ended over it, alone; look at the file"
            if block.of is not None:
                self._tried(whole)
                return
        elif block.tried:
            first, last = self.work.file(block.rows[0]), self.work.file(block.rows[-1])
            raise ModelError(
                f"{first} to {last}: their workers end, though over none of these alone; give "
                "workers more memory, or a smaller batch"
            )
        else:
            block.tried, block.trials = True, len(block.rows)
            alone = [Block(block.index, range(r, r + 1), of=block) for r in block.rows]
            self.waiting[:0] = alone
            return
        insort(self.waiting, block, key=_index)

    def _tried(self, block: Block) -> None:
        block.trials -= 1
        if not block.trials:
            insort(self.waiting, block, key=_index)


def _index(block: Block) -> int:
    return block.index
