"""What arrays hold, by name."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Floats32: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Texts: TypeAlias = npt.NDArray[np.str_]
UInt8Image: TypeAlias = npt.NDArray[np.uint8]
Pixels: TypeAlias = Floats32  # as a network is given them, (n, 3, height, width)
FloatMap: TypeAlias = Floats32  # a heatmap, (height, width)
MapValues: TypeAlias = npt.NDArray[np.floating]  # the same, in any precision
