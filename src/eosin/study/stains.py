"""The stain steps of a study: each said in a few words, read into the settings of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self, get_args

from eosin.errors import ConfigError

if TYPE_CHECKING:
    from eosin.training.config import TrainingConfig

Method = Literal["none", "reinhard", "macenko", "vahadane"]
BASELINE: Final = "none"  # what every other step is compared with
_PER_PATIENT = " per patient"
_DRAWN = ("jitter", "exchange")
_FORM = (
    f'want one of {", ".join(get_args(Method))}; a method may be followed by "per patient", and '
    'any of them by "+ jitter SHARE" or "+ exchange SHARE", e.g. "macenko per patient" or '
    '"none + jitter 0.2"'
)


@dataclass(frozen=True, slots=True)
class Staining:
    """One stain step of a study.

    Attributes:
        text: as the study file says it, each blank one space.
        method: what images are normalised by; its target is the median of the training images.
        per: whether each image's own stain is estimated, or that of all images of its patient.
        jitter: of haematoxylin and eosin while training, a share in [0, 1).
        exchange: probability in [0, 1] of another training patient's stains while training.
    """

    text: str
    method: Method = "none"
    per: Literal["image", "patient"] = "image"
    jitter: float = 0.0
    exchange: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"<method>[ per patient][ + jitter <share>][ + exchange <share>]"``.

        Raises:
            ConfigError: another shape; the message lists what there is.
        """
        text = " ".join(text.split())
        first, *drawn = text.split(" + ")
        name = first.removesuffix(_PER_PATIENT)
        method = next((known for known in get_args(Method) if known == name), None)
        if method is None or (method == "none" and name != first):
            raise ConfigError(f"stain step {text!r}: {first!r} is unknown; {_FORM}")
        shares = dict(_share(part, text) for part in drawn)
        if len(shares) != len(drawn):
            raise ConfigError(f"stain step {text!r} says one thing twice; {_FORM}")
        return cls(text, method, "image" if name == first else "patient", **shares)

    @property
    def slug(self) -> str:
        """The step as part of a file name, e.g. ``macenko_per_patient``, ``none+jitter_0.2``."""
        return self.text.replace(" + ", "+").replace(" ", "_")

    @property
    def step(self) -> str:
        """The step beside none: what is added to none needs no mention of it."""
        return self.text.removeprefix(f"{BASELINE} + ")

    @property
    def drawn(self) -> bool:
        """Whether it changes images anew each epoch, so that only fine-tuning can learn from it."""
        return bool(self.jitter or self.exchange)

    def settings(self, training: TrainingConfig) -> TrainingConfig:
        """``training`` with this step.

        Raises:
            ConfigError: the step cannot be under these settings: jitter or exchange without
                fine-tuning, or stains exchanged that the method takes away.
        """
        if self.drawn and training.freeze:
            raise ConfigError(
                f"stain step {self.text!r}: jitter and exchange change images anew each epoch, and "
                "freeze = true sees each image once; put them in a study of their own that "
                "fine-tunes (freeze = false)"
            )
        return training.with_overrides(
            {
                "stain": self.method,
                "stain_per": self.per,
                "stain_jitter": self.jitter,
                "stain_exchange": self.exchange,
            }
        )


def _share(part: str, text: str) -> tuple[str, float]:
    name, _, number = part.partition(" ")
    try:
        share = float(number)
    except ValueError:
        share = -1.0
    if name not in _DRAWN or not 0 < share <= 1:
        raise ConfigError(f"stain step {text!r}: {part!r} is unknown; {_FORM}")
    return name, share
