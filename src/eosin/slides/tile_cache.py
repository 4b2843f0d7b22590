"""Decoded tiles of all open slides, the latest used of them, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Final

from eosin.arrays import UInt8Image

_MOST_BYTES: Final = 256 * 2**20  # two rows of tiles of a slide 170,000 pixels wide


class TileCache:
    """Keeps what was decoded; a tile that two threads want at once is decoded once."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most, self._bytes, self._lock = most_bytes, 0, Lock()
        self._tiles: OrderedDict[Hashable, UInt8Image] = OrderedDict()
        self._coming: dict[Hashable, Future[UInt8Image]] = {}

    def get(self, key: Hashable, decode: Callable[[], UInt8Image]) -> UInt8Image:
        """The tile of ``key``, read-only; ``decode`` is called where it is not kept.

        Raises:
            DataError: what ``decode`` raises, in every thread that waited for it.
        """
        with self._lock:
            if (found := self._tiles.get(key)) is not None:
                self._tiles.move_to_end(key)
                return found
            coming = self._coming.get(key)
            if coming is None:
                mine = self._coming[key] = Future()
        if coming is not None:
            return coming.result()
        try:
            tile = decode()
        except BaseException as fault:
            with self._lock:
                del self._coming[key]
            mine.set_exception(fault)
            raise
        tile.flags.writeable = False
        self._keep(key, tile)
        mine.set_result(tile)
        return tile

    def _keep(self, key: Hashable, tile: UInt8Image) -> None:
        with self._lock:
            del self._coming[key]
            self._tiles[key] = tile
            self._bytes += tile.nbytes
            while self._bytes > self._most:
                _, oldest = self._tiles.popitem(last=False)
                self._bytes -= oldest.nbytes


TILES: Final = TileCache()
