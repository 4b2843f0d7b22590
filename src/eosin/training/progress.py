"""What a person sees while a training runs; the Python API is silent unless given one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from rich.console import Console

    from eosin.training.history import EpochRow


class Progress(Protocol):
    """Told of everything that happens, in this order; ``stop`` comes even after an error."""

    def decoded(self, files: int, *, of: int) -> None:
        """``files`` more ``of`` so many are ready to be learned from, before the first epoch."""

    def note(self, sentence: str) -> None:
        """Something that the user should know and need not act on; at any time."""

    def start(self, *, epochs: int, done: int, images: int) -> None:
        """``epochs`` in all, of which ``done`` before, each over ``images`` images."""

    def batch(self, *, seen: int, loss: float, accuracy: float) -> None:
        """``seen`` images of this epoch, with their mean loss and accuracy."""

    def epoch(self, row: EpochRow, *, best: bool) -> None:
        """An epoch ended; ``best`` says whether it is the one kept so far."""

    def stop(self) -> None:
        """Nothing more will come."""


class Silent:
    """Shows nothing."""

    def decoded(self, files: int, *, of: int) -> None:
        """Show nothing."""

    def note(self, sentence: str) -> None:
        """Show nothing."""

    def start(self, *, epochs: int, done: int, images: int) -> None:
        """Show nothing."""

    def batch(self, *, seen: int, loss: float, accuracy: float) -> None:
        """Show nothing."""

    def epoch(self, row: EpochRow, *, best: bool) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Show nothing."""


class RichProgress:
    """A bar over the training with loss, accuracy, images/s and time left; a line an epoch."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[said]}", markup=False),
            TextColumn("{task.fields[rate]:.0f} images/s"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            transient=True,
            speed_estimate_period=120,
        )
        self._task = self._bar.add_task("", total=None, said="", rate=0.0)
        self._images = self._epochs = self._done = self._decoded = 0
        self._noted: set[str] = set()
        self._began = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def decoded(self, files: int, *, of: int) -> None:
        """Show and move a bar over the images that are decoded, once for all epochs."""
        if not self._decoded:
            self._bar.update(self._task, description="decoding, once", total=of)
            self._bar.start()
            self._began = self._bar.get_time()
        self._decoded += files
        seconds = max(self._bar.get_time() - self._began, 1e-9)
        self._bar.update(self._task, completed=self._decoded, rate=self._decoded / seconds)

    def note(self, sentence: str) -> None:
        """Print the sentence, above the bar where there is one; but not twice, fold after fold."""
        if sentence in self._noted:
            return
        self._noted.add(sentence)
        self._bar.console.print(sentence, highlight=False, markup=False)

    def start(self, *, epochs: int, done: int, images: int) -> None:
        """Show the bar, filled as far as an earlier part of the training came."""
        self._images, self._epochs, self._done = images, epochs, done
        self._bar.reset(
            self._task,
            description=self._epoch_of(done + 1),
            total=epochs * images,
            completed=done * images,
            said="loss 0.000  accuracy 0.000",
            rate=0.0,
        )
        self._bar.start()
        self._began = self._bar.get_time()

    def batch(self, *, seen: int, loss: float, accuracy: float) -> None:
        """Move the bar."""
        seconds = max(self._bar.get_time() - self._began, 1e-9)
        self._bar.update(
            self._task,
            completed=self._done * self._images + seen,
            said=f"loss {loss:.3f}  accuracy {accuracy:.3f}",
            rate=seen / seconds,
        )

    def epoch(self, row: EpochRow, *, best: bool) -> None:
        """Print the epoch's line above the bar."""
        self._done = row.epoch
        self._bar.console.print(
            f"epoch {row.epoch:>3}/{self._epochs}  "
            f"train loss {row.train_loss:.3f} accuracy {row.train_accuracy:.3f}  "
            f"validation loss {row.val_loss:.3f} accuracy {row.val_accuracy:.3f} "
            f"balanced {row.val_balanced_accuracy:.3f}  {row.seconds:.0f} s"
            + ("  best so far" if best else ""),
            highlight=False,
            markup=False,
        )
        self._bar.update(
            self._task,
            completed=row.epoch * self._images,
            description=self._epoch_of(row.epoch + 1),
        )
        self._began = self._bar.get_time()

    def stop(self) -> None:
        """Take the bar away."""
        self._bar.stop()

    def _epoch_of(self, epoch: int) -> str:
        return f"epoch {min(epoch, self._epochs)}/{self._epochs}"
