"""A plan of patients for readers: the sentence, and the curve of power over patients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eosin.artefacts.glossary import GLOSSARY
from eosin.reporting.canvas import EOSIN, QUIET, new_figure, write_legend
from eosin.reporting.wording import counted, number, per_cent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from eosin.trust.power import Power


def power_sentences(power: Power) -> tuple[str, ...]:
    """What was planned, how many patients it takes, and what the plan assumes."""
    name = GLOSSARY[power.metric].name
    if len(power.models) == 2:
        first, second = power.models
        at_hand = f"{name} of {first} minus that of {second}: {_observed(power, signed=True)}"
        wanted = f"tell two models apart whose {name} differs by {abs(power.effect):g}"
    else:
        at_hand = f"{name} of {power.models[0]}: {_observed(power)}"
        wanted = f"tell this model's {name} from a bound {abs(power.effect):g} away"
    return (
        f"At hand: {at_hand}, from {counted(power.at_hand, 'patient')}.",
        f"To {wanted}, with a power of {per_cent(power.target)}, a study needs {_needed(power)}.",
        "A study finds the effect where its 95 % interval, which resamples patients, excludes "
        "none. New patients are taken to be like those at hand, with as many images each, and to "
        "spread as much at the planned figure as at the one at hand.",
    )


def _observed(power: Power, *, signed: bool = False) -> str:
    value, low, high = (number(each, signed=signed) for each in power.observed)
    return f"{value} [{low}, {high}]"


def _needed(power: Power) -> str:
    if power.needed is None:
        return "more than 10,000 patients"
    high = "more than 10,000" if power.high is None else f"{power.high:,}"
    low = "more than 10,000" if power.low is None else f"{power.low:,}"
    return (
        f"{power.needed:,} patients [{low}, {high}]; the interval says how roughly "
        f"{power.at_hand:,} patients show the spread between patients"
    )


def power_figure(power: Power) -> Figure:
    """Power over patients, with its simulation error, the power wanted and the patients needed."""
    figure, (axes,) = new_figure(5.6, 4.2)
    patients = [point.patients for point in power.curve]
    axes.fill_between(
        patients,
        [point.low for point in power.curve],
        [point.high for point in power.curve],
        color=EOSIN,
        alpha=0.2,
        linewidth=0,
        label="95 % interval of the simulation",
    )
    axes.plot(
        patients,
        [point.power for point in power.curve],
        color=EOSIN,
        linewidth=2,
        marker="o",
        markersize=4,
        label="share of simulated studies that find it",
    )
    axes.axhline(power.target, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    if power.needed is not None:
        said = f"{power.needed:,} patients are needed"
        axes.axvline(power.needed, color=QUIET, linewidth=1, linestyle=(0, (4, 3)), label=said)
    axes.set(xlabel="Patients in the study", ylabel="Power", ylim=(-0.02, 1.02))
    write_legend(figure, axes)
    return figure
