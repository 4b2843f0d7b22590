"""How the learning rate moves: a linear warm-up, then a cosine to zero or a constant."""

from __future__ import annotations

import math
from typing import Literal


def learning_rate_factor(
    step: int, *, steps: int, warmup: int, schedule: Literal["cosine", "constant"]
) -> float:
    """What the learning rate is multiplied by at ``step`` (from 0) of ``steps``, in (0, 1].

    It rises to 1 over ``warmup`` steps; the cosine then falls to almost 0 at the last step
    (Loshchilov & Hutter 2017, Eq. 5, without restarts).
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
