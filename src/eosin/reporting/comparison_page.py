"""The folder of a Comparison: one self-contained page, its tables as files, its pictures as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eosin.artefacts.glossary import GLOSSARY
from eosin.artefacts.outputs import PAGE, PICTURE, document, require_output_folder, table
from eosin.artefacts.tables import relative_paths, write_csv
from eosin.errors import EosinError
from eosin.files import StrPath, as_paths, write_text
from eosin.locks import one_writer
from eosin.networks.run import read_run
from eosin.remote import as_path
from eosin.reporting.comparison_figures import (
    learning_drawings,
    learning_picture,
    measure_pictures,
    overlap_picture,
)
from eosin.reporting.comparison_tables import (
    difference_table,
    measure_table,
    mistake_table,
    model_table,
    pair_table,
    ranking_table,
)
from eosin.reporting.galleries import Caption, Tile, tiles_of
from eosin.reporting.html import render
from eosin.reporting.learning import describe_choices, histories_of
from eosin.reporting.verdict import Banner
from eosin.reporting.wording import counted, figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eosin.artefacts.comparison import Comparison
    from eosin.reporting.comparison_figures import Picture
    from eosin.reporting.learning import History

PAGE_NAME = "comparison.html"
_PICTURES = ("accuracy", "precision", "recall", "f1", "mistakes", "learning")
COMPARISON_FILES = {
    PAGE_NAME: PAGE,
    "comparison.json": document("comparison"),
    "differences.csv": table("table of a comparison", "first", "second", "metric", "scope"),
    "tests.csv": table("table of a comparison", "first", "second", "unit", "p"),
    "models.csv": table("table of a comparison", "model", "protocol", "metric", "scope"),
    "mistakes.csv": table("table of a comparison", "path", "label", "models_wrong"),
    **{f"{name}.png": PICTURE for name in _PICTURES},
}
_TILES = 12
_CONTENTS = (
    ("verdict", "Verdict"),
    ("measures", "Measures"),
    ("pairs", "Pairs of models"),
    ("mistakes", "Mistakes"),
    ("learning", "Learning"),
    ("models", "Models"),
    ("reading", "How to read this"),
)
_READING = (
    "Every resample draws whole patients, the same ones for every model, so a difference is "
    "judged on what two models do to the same patients. Two intervals may well overlap where the "
    "interval of their difference excludes zero: look at the difference.",
    "Ranks: walk from the best model down. A model starts a new rank when the interval of its "
    "difference to the first model of the current rank excludes zero; else it shares that rank. "
    "Sharing a rank means not told apart, not equal; neighbours on two ranks need not be told "
    "apart from each other. These intervals are not corrected for the number of models.",
    "McNemar's exact test counts the images that one model alone gets right and takes images for "
    "independent. The test by patient flips the sign of each patient's difference in every "
    "possible way: few patients cannot give a small p, however many their images.",
    "Corrected p values (Holm) answer for having tested all pairs at once.",
    "The best of several models looks better on the images that chose it than it will on new ones.",
)


def write_comparison(
    comparison: Comparison,
    folder: StrPath,
    *,
    runs: Mapping[str, Sequence[StrPath]] | None = None,
) -> Path:
    """Write ``comparison.html``, its tables (JSON, CSV) and its pictures (PNG) into ``folder``.

    Args:
        comparison: what to write.
        folder: made where missing; the files of an earlier comparison there are replaced.
        runs: Run folders by model, whose learning curves to show; those that the predictions name
            where None. One that cannot be read is named on the page with the reason.

    Returns:
        the path of the page, which links to nothing outside.

    Raises:
        ConfigError: ``folder`` holds a Run, or files under these names that are none of these.
        DataError: another process is writing there, or the disk will not take it.
    """
    folder = Path(folder)
    require_output_folder(folder, COMPARISON_FILES)
    with one_writer(folder):
        return _write(comparison, folder, runs)


def _write(
    comparison: Comparison, folder: Path, runs: Mapping[str, Sequence[StrPath]] | None
) -> Path:
    named = runs or {name: p.runs for name, p in comparison.provenance.items()}
    paths = {name: as_paths(folders) for name, folders in named.items()}
    histories, without = _histories(paths)
    pictures = [*measure_pictures(comparison), overlap_picture(comparison)]
    facts = _page_facts(comparison, pictures)
    facts |= {"learning": learning_drawings(histories), "without_history": without}
    write_text(folder / PAGE_NAME, render("comparison.html", facts))
    comparison.write(folder / "comparison.json")
    write_csv(comparison.frame(), folder / "differences.csv")
    write_csv(comparison.test_frame(), folder / "tests.csv")
    write_csv(comparison.model_frame(), folder / "models.csv")
    wrong = comparison.mistakes.frame()
    wrong = wrong.assign(path=relative_paths(wrong["path"], folder))
    write_csv(wrong, folder / "mistakes.csv")
    if histories:
        pictures.append(learning_picture(histories))
    leaky = any(provenance.protocol.leaky for provenance in comparison.provenance.values())
    for name in {*_PICTURES} - {picture.name for picture in pictures}:
        (folder / f"{name}.png").unlink(missing_ok=True)  # of an earlier comparison
    for picture in pictures:
        picture.write(folder, footnote=_protocols(comparison), alarm=leaky)
    return folder / PAGE_NAME


def _page_facts(comparison: Comparison, pictures: Sequence[Picture]) -> dict[str, object]:
    """Everything that the template names, but learning curves."""
    datasets = dict.fromkeys(p.dataset for p in comparison.provenance.values())
    warnings = _banners(comparison)
    alarm = next((banner for banner in warnings if banner.alarm), None)
    *measures, overlap = (picture.drawing() for picture in pictures)
    metrics = ("accuracy", comparison.primary_metric)
    hard = _hard_images(comparison)
    return {
        "title": f"{counted(len(comparison.models), 'model')} on {', '.join(datasets)}: "
        f"{comparison.task.name}",
        "protocol": _protocols(comparison),
        "ribbon": alarm.title if alarm else None,
        "banners": warnings,
        "cover": _cover(comparison),
        "sentence": _sentence(comparison, "accuracy"),
        "remarks": _remarks(comparison),
        "rankings": [ranking_table(comparison, metric) for metric in metrics],
        "measures": measures,
        "measure_table": measure_table(comparison),
        "pairs": (pair_table(comparison), difference_table(comparison)),
        "overlap": overlap,
        "overlap_rem": round(6 * pictures[-1].figure.get_figwidth()),
        "mistake_table": mistake_table(comparison),
        "mistakes_lead": _mistakes_lead(comparison),
        "hard": hard,
        "hard_lead": f"{counted(len(hard), 'image')} of "
        f"{comparison.mistakes.images_all_get_wrong:,}. Look for what they share: a patient, a "
        "stain, blur, or a label that may be wrong. All are named in mistakes.csv.",
        "models": model_table(comparison),
        "reading": [*_READING, *comparison.notes],
        "contents": list(_CONTENTS),
    }


def _protocols(comparison: Comparison) -> str:
    return "; ".join(dict.fromkeys(p.protocol.name for p in comparison.provenance.values()))


def _cover(comparison: Comparison) -> list[tuple[str, str]]:
    task = comparison.task
    patients = f"{comparison.patients:,}" if comparison.patients_known else "not known"
    return [
        ("Models", f"{len(comparison.models)}"),
        ("Task", f"{task.name}: {', '.join(task.classes)}"),
        ("Protocol", _protocols(comparison)),
        ("Images", f"{comparison.images:,}"),
        ("Patients", patients),
    ]


def _banners(comparison: Comparison) -> tuple[Banner, ...]:
    """Protocols that differ or leak, patients seen before, images left out; alarms first."""
    found = [Banner("The protocols differ", text) for text in comparison.warnings]
    by_protocol: dict[tuple[str, str, bool], list[str]] = {}
    for name, provenance in comparison.provenance.items():
        protocol = provenance.protocol
        if protocol.warning:
            key = protocol.name, protocol.warning, protocol.leaky
            by_protocol.setdefault(key, []).append(name)
    for (title, warning, leaky), models in by_protocol.items():
        whom = "" if len(models) == len(comparison.models) else f"{', '.join(models)}: "
        found.append(Banner(f"Protocol: {title}", f"{whom}{warning}", alarm=leaky))
    seen = [name for name, p in comparison.provenance.items() if p.seen_allowed]
    if seen:
        text = "They were run with --allow-seen: their figures reward remembering patients."
        found.append(Banner("Scored on patients seen in training", f"{', '.join(seen)}. {text}"))
    left_out = {name: count for name, count in comparison.left_out.items() if count}
    if left_out:
        shown = ", ".join(f"{name}: {count:,}" for name, count in left_out.items())
        text = f"Only images that all tables have are compared. Left out: {shown}."
        found.append(Banner("Not all images are compared", text, alarm=False))
    return tuple(sorted(found, key=lambda banner: not banner.alarm))


def _sentence(comparison: Comparison, metric: str) -> str:
    """Who leads, with what figure, and who cannot be told apart from them."""
    ranking = comparison.ranking(metric)
    best = ranking[0].model
    found = comparison.value(best, metric)
    leads = f"{best} has the best {GLOSSARY[metric].name}, {figure(found)}"
    rest = [ranked.model for ranked in ranking[1:] if ranked.rank == 1]
    if not rest:
        return f"{leads}; the images tell it apart from the next best."
    if len(rest) == len(ranking) - 1:
        return f"{leads}, but no other model can be told apart from it."
    return f"{leads}; {_list(rest)} cannot be told apart from it."


def _list(names: Sequence[str], *, most: int = 4) -> str:
    """``a, b and c``; ``a, b, c, d and 3 others``."""
    shown = list(names) if len(names) <= most else [*names[:most], f"{len(names) - most} others"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _remarks(comparison: Comparison) -> list[str]:
    whose = f" of {counted(comparison.patients, 'patient')}" if comparison.patients_known else ""
    on = f"All on the same {counted(comparison.images, 'image')}{whose}."
    found = [_sentence(comparison, comparison.primary_metric), on]
    units = ("patient", "image") if comparison.patients_known else ("image",)
    for unit in units:
        tests = [test for test in comparison.tests if test.unit == unit]
        apart = sum(test.p_holm < 0.05 for test in tests)
        found.append(
            f"By {unit}, {apart} of {counted(len(tests), 'pair')} differ in accuracy with a "
            "corrected p below 0.05."
        )
    return [*found, *next_steps(comparison)]


def next_steps(comparison: Comparison) -> tuple[str, ...]:
    """What the comparison suggests to do."""
    ranking = comparison.ranking(comparison.primary_metric)
    ties = [ranked.model for ranked in ranking[1:] if ranked.rank == 1]
    if comparison.warnings:
        return ("Next: score all models under one protocol; across protocols no figure compares.",)
    if any(p.protocol.leaky for p in comparison.provenance.values()):
        return (
            "Next: split by patient (`eosin split --by patient`) and train again; under a leaky "
            "protocol the best model may be the one that remembers most.",
        )
    if not comparison.patients_known:
        return (
            "Next: name the patients (`eosin data folder --patient PATTERN`); without them these "
            "intervals are too narrow to choose by.",
        )
    if ties:
        return (
            f"Next: choose among {_list([ranking[0].model, *ties])} by cost or calibration, or "
            "score more patients; these cannot tell them apart. `eosin ensemble` may gain where "
            "their mistakes differ.",
        )
    return (
        f"Next: confirm {ranking[0].model} on patients that took no part in this comparison: the "
        "best of several looks better here than it will there.",
    )


def _mistakes_lead(comparison: Comparison) -> str:
    mistakes = comparison.mistakes
    wrong, shared = mistakes.images_any_gets_wrong, mistakes.images_all_get_wrong
    return (
        f"{counted(wrong, 'image')} of {comparison.images:,} are wrong for at least one model, "
        f"{shared:,} for all. Models that make the same mistakes have little to add to each other "
        "in an ensemble."
    )


def _hard_images(comparison: Comparison) -> tuple[Tile, ...]:
    """Images that every model gets wrong, no patient twice before each came once."""
    frame = comparison.mistakes.frame()
    hard = frame[frame["models_wrong"] == len(comparison.models)]
    turn = hard.groupby(["patient", hard["path"].where(hard["patient"] == "")], dropna=False)
    hard = hard.assign(turn=turn.cumcount()).sort_values(["turn", "path"]).head(_TILES)
    pictures = []
    for row in hard.to_dict("records"):
        said = dict.fromkeys(str(row[f"predicted_{name}"]) for name in comparison.models)
        lines = [f"Truth: {row['label']}"]
        if row["patient"]:
            lines.append(f"Patient {row['patient']}")
        caption = Caption(title=f"Predicted {' or '.join(said)}", lines=tuple(lines))
        pictures.append((as_path(str(row["path"])), caption))
    return tiles_of(pictures)


def _histories(
    runs: Mapping[str, Sequence[Path]],
) -> tuple[dict[str, dict[str, History]], list[str]]:
    """The training histories of each model that has any, and a sentence on each that has none."""
    found: dict[str, dict[str, History]] = {}
    without = []
    for model, folders in runs.items():
        histories: dict[str, History] = {}
        reasons = [] if folders else ["its predictions name no Run"]
        for folder in folders:
            try:
                run = read_run(folder)
                own = histories_of(run)
            except EosinError as error:
                reasons.append(str(error))
                continue
            if not own and (chosen := describe_choices(run)):
                reasons.append(chosen)
            prefix = f"{folder.name}, " if len(folders) > 1 else ""
            histories |= {f"{prefix}{part}": history for part, history in own.items()}
        if histories:
            found[model] = histories
        else:
            reasons = reasons or ["its Run holds no history.csv"]
            without.append(f"{model}: {'; '.join(reasons)}.")
    return found, without
