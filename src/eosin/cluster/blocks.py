"""Work in blocks: handed out within bounds, taken in order, done again where a worker is lost."""

from __future__ import annotations

import time
from bisect import insort
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Generic, cast

import ray
from ray.exceptions import RayError, RayTaskError

from eosin.cluster.crew import Block, Crew, Member
from eosin.cluster.worker import sample_of
from eosin.errors import ModelError
from eosin.spread import Opened, Part

if TYPE_CHECKING:
    from collections.abc import Generator

    from eosin.spread import Work

TRIES = 2  # workers that a block may cost before its rows are tried alone
_ROWS = 256  # of a block, about
_ROUNDS = 4  # blocks a worker that are left after any one, where there are rows enough
_numbers = count()


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
        if rows:
            self.crew.muster(sample_of(cast("Work[object, object]", work)))
            try:
                yield from _Doing(self.crew, work, rows).parts()
            finally:
                for member in self.crew.members:
                    member.doing.clear()
        for run in work.runs if rows else ():
            run.require_unchanged()


class _Doing(Generic[Opened, Part]):
    """Blocks on their way."""

    def __init__(self, crew: Crew, work: Work[Opened, Part], rows: range) -> None:
        self.crew, self.work = crew, work
        self.number, self.reference = next(_numbers), ray.put(work)
        self.waiting = list[Block]()
        start = rows.start
        while start < rows.stop:  # smaller towards the end, so that all workers end together
            batches = (rows.stop - start) // (work.step * len(crew.ready) * _ROUNDS)
            size = 1 if work.after else max(1, min(batches, _ROWS // work.step))
            part = range(start, min(start + size * work.step, rows.stop))
            self.waiting.append(Block(len(self.waiting), part))
            start = part.stop
        self.index = {block.rows.start: block.index for block in self.waiting}
        self.flying: dict[object, tuple[Member, Block, ray.ObjectRef[list[Part]]]] = {}
        self.done: dict[int, tuple[Block, ray.ObjectRef[list[Part]]]] = {}
        self.next = 0  # block to be yielded

    def parts(self) -> Generator[Part, None, None]:
        """What is found."""
        while self.next < len(self.index):
            self.crew.refresh()
            self.hand_out()
            self.take_in()
            while self.next in self.done:
                block, reference = self.done.pop(self.next)
                try:
                    found = ray.get(reference)
                except RayTaskError as error:
                    raise cast("Exception", error.cause) from error
                except RayError as error:  # its node was lost, with what it had found
                    block.lost += 1
                    if block.lost > TRIES:
                        raise ModelError(f"what workers find cannot be fetched: {error}") from error
                    self.wait(block)
                    break
                self.next += 1
                yield from found

    def wait(self, block: Block) -> None:
        """Let a block wait until its turn comes."""
        insort(self.waiting, block, key=lambda each: each.index)

    def hand_out(self) -> None:
        """Give workers blocks, not too far ahead of what is taken."""
        ahead = self.next + 3 * len(self.crew.ready) + 1
        for block in [each for each in self.waiting if each.index < ahead]:
            before = (self.index[row] for row in self.work.after.get(block.rows.start, ()))
            if not all(index < self.next or index in self.done for index in before):
                continue
            member = self.free(block)
            if member is None:
                return
            self.waiting.remove(block)
            member.doing.append(block)
            do = member.actor.do.options(num_returns=2)
            done, found = do.remote(self.number, [self.reference], block.rows, block.refused)
            self.flying[done] = member, block, found

    def free(self, block: Block) -> Member | None:
        """Who has the least to do, where that is little enough."""
        able = [m for m in self.crew.ready if not any(each.alone for each in m.doing)]
        member = min(able, key=lambda each: len(each.doing), default=None)
        most = 0 if block.alone or len(block.rows) == 1 else 1
        return member if member is not None and len(member.doing) <= most else None

    def take_in(self) -> None:
        """Wait for blocks and for new workers, a second at most."""
        looks = [member.look for member in self.crew.members if member.look is not None]
        if not self.flying and not looks:
            time.sleep(0.1)  # until a node joins
            return
        for reference in ray.wait([*self.flying, *looks], timeout=1.0)[0]:
            if reference not in self.flying:
                self.crew.admit()
                continue
            member, block, found = self.flying[reference]
            try:
                ray.get(reference)
            except RayTaskError:  # raised when it is the block's turn
                pass
            except RayError:
                self.lose(member)
                continue
            del self.flying[reference]
            member.doing.remove(block)
            if block.of is None:
                self.done[block.index] = block, found
            else:
                self.tried(block.of)

    def lose(self, member: Member) -> None:
        """A worker ended: its oldest block may be why, the others are only done again."""
        self.flying = {ref: each for ref, each in self.flying.items() if each[0] is not member}
        self.crew.drop(member)
        self.crew.progress.note(f"a worker on {member.host} was lost; what it did is done again")
        member.doing[0].lost += 1
        for block in member.doing:
            if block.lost < TRIES:
                self.wait(block)
            else:
                self.suspect(block)

    def suspect(self, block: Block) -> None:
        """A block has cost so many workers that one of its rows must be why: which?"""
        block.lost, whole = 0, block.of or block
        first, last = (str(self.work.files[row]) for row in (block.rows[0], block.rows[-1]))
        if len(block.rows) > 1 and not block.tried:
            block.tried, block.trials = True, len(block.rows)
            for row in block.rows:
                self.wait(Block(block.index, range(row, row + 1), of=block))
        elif len(block.rows) > 1 or first in whole.refused:
            raise ModelError(
                f"{first} to {last}: their workers end, though over none of these alone; give "
                "workers more memory, or take a smaller batch"
            )
        else:
            whole.refused[first] = f"{TRIES} workers ended over it; look at the file"
            self.tried(whole) if block.of else self.wait(block)

    def tried(self, block: Block) -> None:
        """One of its rows was tried alone; after the last the block is done again."""
        block.trials -= 1
        if not block.trials:
            self.wait(block)
