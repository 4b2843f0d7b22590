"""Export: a Run of any kind again as a folder of graphs, checked against PyTorch on images."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eosin.errors import ConfigError
from eosin.export.check_images import choose_images
from eosin.export.folders import drafting, require_free
from eosin.files import sha256_of
from eosin.inference.engines import require_torch
from eosin.inference.graphs import GraphEngine, choose_runtime, open_session
from eosin.models.graph import GRAPH_NAMES, Graph, GraphFormat
from eosin.models.run import HISTORY_NAME, WEIGHTS_NAME, members_of, read_run, write_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from eosin.export.check_images import CheckImages
    from eosin.export.graph_module import GraphModule
    from eosin.manifest import Manifest
    from eosin.models.run import Run

    OnNetwork = Callable[[Run], None]

MEMBERS_NAME = "members"


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to export.

    Attributes:
        format: ``"onnx"`` or ``"openvino"``.
        check: images to compare with PyTorch on; None takes what ``choose_images`` finds.
        overwrite: replace an earlier export of the same Run.
    """

    format: GraphFormat = "onnx"
    check: Manifest | Sequence[Path] | None = None
    overwrite: bool = False


def export_run(
    run: Run,
    folder: Path,
    options: ExportOptions | None = None,
    *,
    on_network: OnNetwork = lambda _: None,
) -> Run:
    """Write a Run whose networks are graphs, for engines that need no PyTorch.

    Folds and ensembles take their members with them, into ``members/``. Every graph is compared
    with its network on real images; the folder appears only when all of it is written and alike.

    Args:
        run: finished, with PyTorch weights.
        folder: new or empty.
        options: how.
        on_network: told of each single Run before it is exported.

    Returns:
        The exported Run.

    Raises:
        ConfigError: the folder is taken, the Run is exported already, or a library is missing.
        DataError: no image to check on, or one that cannot be read.
        ModelError: weights are missing or changed, the backbone has no graph, the graph is not
            what PyTorch computes, or the folder cannot be written.
    """
    options = options or ExportOptions()
    if options.format not in GRAPH_NAMES:
        raise ConfigError(f"format {options.format!r} is unknown; want one of {list(GRAPH_NAMES)}")
    _require_weights(run)
    require_torch(run)
    require_free(run, folder, overwrite=options.overwrite)
    images = choose_images(run, options.check)
    with drafting(folder) as draft:
        _Exporter(options.format, images, on_network).export(run, draft)
    return read_run(folder)


@dataclass(frozen=True, slots=True)
class _Exporter:
    """Writes Runs, one inside the other."""

    format: GraphFormat
    images: CheckImages
    on_network: OnNetwork

    def export(self, run: Run, folder: Path) -> Run:
        folder.mkdir(parents=True, exist_ok=True)
        if (run.folder / HISTORY_NAME).is_file():
            shutil.copyfile(run.folder / HISTORY_NAME, folder / HISTORY_NAME)
        if not run.record.members:
            self.on_network(run)
            return self._single(run, folder)
        run.require_intact()
        inside = [
            self.export(member, folder / MEMBERS_NAME / _member_name(number, member))
            for number, member in enumerate(run.open_members(), start=1)
        ]
        if run.record.owns_weights:
            shutil.copyfile(run.weights_path, folder / WEIGHTS_NAME)
        return write_run(folder, replace(run.record, members=members_of(folder, inside)))

    def _single(self, run: Run, folder: Path) -> Run:
        from eosin.export.formats import library_versions
        from eosin.export.graph_module import GraphModule, examine
        from eosin.export.parity import measure_parity, require_parity
        from eosin.models.classifier import load_classifier

        record = run.record
        size = record.preprocessing.size
        classifier = load_classifier(run)
        anatomy = examine(classifier, size=size)
        module = GraphModule(classifier, anatomy=anatomy).eval()
        files = self._write(module, folder, size=size)
        session = open_session(files[0], choose_runtime(files[0], self.format))
        parity = measure_parity(
            GraphEngine(session, outputs=module.outputs, size=size),
            module,
            self.images.prepared(record.preprocessing),
            temperature=record.temperature,
            source=self.images.source,
        )
        require_parity(parity, name=str(run.folder))
        graph = Graph(
            format=self.format,
            precision="fp32",
            files={path.name: sha256_of(path) for path in files},
            outputs=module.outputs,
            map_size=anatomy.map_size,
            no_maps=anatomy.no_maps,
            family=classifier.spec.family,
            parity=parity,
            versions=library_versions(),
        )
        return write_run(folder, replace(record, graph=graph))

    def _write(self, module: GraphModule, folder: Path, *, size: int) -> list[Path]:
        """The graph's files, the one to open first."""
        from eosin.export.formats import write_onnx, write_openvino

        onnx = folder / GRAPH_NAMES["onnx"]
        write_onnx(module, onnx, size=size)
        if self.format == "onnx":
            return [onnx]
        path = folder / GRAPH_NAMES["openvino"]
        write_openvino(onnx, path)
        onnx.unlink()
        return [path, path.with_suffix(".bin")]


def _require_weights(run: Run) -> None:
    """ConfigError where ``run``, or a Run in it, is exported already."""
    if run.record.graph is not None:
        raise ConfigError(
            f"{run.folder}: exported already, as {run.record.graph.format}; give the Run that it "
            "was exported from"
        )
    for member in run.open_members():
        _require_weights(member)


def _member_name(number: int, member: Run) -> str:
    name = re.sub(r"[^\w.+-]+", "-", member.folder.resolve().name).strip("-.") or "run"
    return f"{number}-{name}"
