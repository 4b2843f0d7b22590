"""What `eosin export --int8` says: both precisions side by side, and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.cli.console import print_frame, say

if TYPE_CHECKING:
    import pandas as pd

    from eosin.artefacts.int8 import Int8Trial

_ADVICE = (
    "Keep FP32, or try again with more validation images, the other --format, a machine that is "
    "not busy, or a processor with instructions for 8-bit integers"
)


def print_trial(trial: Int8Trial, *, name: str, validated: bool) -> None:
    """The figures of one graph in FP32 and in 8-bit integers, and whether those were kept.

    Args:
        trial: what became of it.
        name: of the member that the graph is of, with a colon; empty for a single Run.
        validated: whether its Run has validation patients, on whose images both were judged.
    """
    say(f"{name}8-bit integers, judged on {trial.judged_on}", style="bold")
    print_frame(_figures(trial))
    say(
        f"{name}ranges from {trial.calibrated_on}; speed on {trial.speed.engine}, "
        f"{trial.speed.threads} threads, batch {trial.speed.batch}, {trial.speed.turns} turns; "
        f"probabilities differ by {trial.probabilities_mean:.4f} on the mean and "
        f"{trial.probabilities_most:.4f} at most; features are alike by a cosine of "
        f"{trial.feature_cosine:.3f}",
        style="dim",
    )
    if not validated:
        say(
            f"{name}this Run has no validation patients: both were judged on training "
            "images, which flatter both",
            style="yellow",
        )
    if trial.kept:
        say((f"{name}int8 kept", "green"), ": every bar holds")
        return
    refusal = (f"{name}int8 refused, FP32 written", "yellow")
    say(refusal, f": {'; '.join(trial.failed)}. {_ADVICE}")


def _figures(trial: Int8Trial) -> pd.DataFrame:
    import pandas as pd

    fp32, int8, speed = trial.fp32, trial.int8, trial.speed
    rows = [
        (
            "accuracy",
            f"{fp32.accuracy:.3f}",
            f"{int8.accuracy:.3f}",
            f"{100 * (int8.accuracy - fp32.accuracy):+.1f} points",
        ),
        (
            "calibration error",
            f"{fp32.calibration_error:.3f}",
            f"{int8.calibration_error:.3f}",
            f"{int8.calibration_error - fp32.calibration_error:+.3f}",
        ),
        (
            "images/s",
            f"{speed.fp32:.1f}",
            f"{speed.int8:.1f}",
            f"x {speed.ratio:.2f} ({speed.low:.2f} to {speed.high:.2f})",
        ),
    ]
    return pd.DataFrame(rows, columns=["", "FP32", "int8", "int8 against FP32"])
