"""Networks published on the Hugging Face hub or in a folder: their files, and what to build.

Only ``config.json``, ``preprocessor_config.json`` and weights are read; code is never run.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from eosin.artefacts.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Interpolation, Triple
from eosin.errors import ModelError
from eosin.networks.encoders import HUB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from eosin.networks.encoders import Arguments, Encoder, Pooling

WEIGHTS_SETTING = "EOSIN_WEIGHTS"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the second on the hub only
_OF_TRANSFORMERS = ("vit", "dinov2", "dinov2_with_registers")
_PILLOW: dict[object, Interpolation] = {2: "bilinear", 3: "bicubic"}  # as transformers counts them


@dataclass(frozen=True, slots=True)
class Design:
    """What ``config.json`` says of a network."""

    architecture: str  # timm's name
    arguments: Arguments
    pooling: Pooling
    size: int
    mean: Triple
    std: Triple
    interpolation: Interpolation


def read_design(origin: str) -> Design:
    """What to build of ``"hf-hub:OWNER/NAME"`` or a folder with a ``config.json``.

    Raises:
        ModelError: it cannot be had, or is neither a timm model nor one of transformers' ViTs.
    """
    config = _json(origin, "config.json")
    try:
        if config.get("model_type") in _OF_TRANSFORMERS:
            return _of_transformers(config, _json(origin, "preprocessor_config.json", needed=False))
        if isinstance(config.get("architecture"), str):
            return _of_timm(config)
    except (LookupError, TypeError, ValueError) as fault:
        raise ModelError(f"{origin}: config.json is not whole ({fault!r}); get it again") from fault
    raise ModelError(
        f"{origin}: config.json names neither an architecture of timm nor one of transformers' "
        f"{', '.join(_OF_TRANSFORMERS)}; eosin builds these only, and runs no code from elsewhere"
    )


def find_file(origin: str, name: str, *, revision: str = "", gated: str = "") -> Path | None:
    """A file of a published network, downloaded where need be; None where there is none.

    Args:
        origin: ``"hf-hub:OWNER/NAME"`` or a folder.
        name: of the file.
        revision: commit on the hub; empty for the newest.
        gated: the page where access is asked for, where that is known to be needed.

    Raises:
        ModelError: the hub cannot be reached, or does not let this user in.
    """
    if not origin.startswith(HUB):
        path = Path(origin).expanduser() / name
        return path if path.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError

    repository = origin.removeprefix(HUB)
    page = gated or f"https://huggingface.co/{repository}"
    ask = f"ask for access at {page}, then log in with `hf auth login` or set HF_TOKEN"
    try:
        return Path(hf_hub_download(repository, name, revision=revision or None))
    except GatedRepoError as error:
        raise ModelError(
            f"{repository} is gated, and this user has no access yet: {ask}"
        ) from error
    except LocalEntryNotFoundError as error:  # an EntryNotFoundError for a hub out of reach
        fix = f"; it is gated: {ask}" if gated else f"; its page is {page}"
        raise ModelError(f"{repository} is not here and the hub is out of reach{fix}") from error
    except EntryNotFoundError:
        return None
    except Exception as error:  # the hub's client raises OSError, ValueError, httpx's own, ...
        raise ModelError(
            f"{repository}: {name} cannot be had from the hub ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''}); its page is {page}"
        ) from error


def local_file(name: str) -> Path | None:
    """``NAME.safetensors`` of the folder that EOSIN_WEIGHTS names; None where there is none.

    Raises:
        ModelError: EOSIN_WEIGHTS names no folder.
    """
    folder = os.environ.get(WEIGHTS_SETTING, "")
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise ModelError(f"{WEIGHTS_SETTING}={folder}: no such folder; mend or unset it")
    candidates = (Path(folder) / f"{stem}.safetensors" for stem in (name, name.partition(".")[0]))
    return next((path for path in candidates if path.is_file()), None)


def file_at_hand(encoder: Encoder) -> Path | None:
    """The weights of an encoder where no download is needed: local, or kept by the hub's client."""
    path = local_file(encoder.name)
    if path is not None or find_spec("huggingface_hub") is None:
        return path
    from huggingface_hub import try_to_load_from_cache

    wanted = encoder.revision or None
    kept = (try_to_load_from_cache(encoder.hub, name, revision=wanted) for name in WEIGHTS)
    return next((Path(path) for path in kept if isinstance(path, str)), None)


def read_weights_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights from the hub; a pickle is read as tensors and nothing else.

    Raises:
        ModelError: it is damaged, or holds more than tensors.
    """
    if path.suffix == ".safetensors":
        from eosin.networks.tensors import read_tensors

        return read_tensors(path)
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        return {str(name): value for name, value in found.items() if torch.is_tensor(value)}
    except Exception as error:  # pickle's, zipfile's, RuntimeError, AttributeError
        raise ModelError(f"{path}: not a plain file of tensors ({error})") from error


def _json(origin: str, name: str, *, needed: bool = True) -> dict[str, object]:
    path = find_file(origin, name)
    if path is None:
        if needed:
            raise ModelError(f"{origin}: no {name} there; want a model of timm or of transformers")
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable JSON ({error}); download it again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: want a JSON object, found {type(found).__name__}")
    return found


def _of_timm(config: Mapping[str, object]) -> Design:
    own = _mapping(config.get("pretrained_cfg", config))
    arguments = dict(_mapping(config.get("model_args", {})))
    pool = arguments.get("global_pool", config.get("global_pool"))
    return Design(
        architecture=str(config["architecture"]),
        arguments=_arguments(arguments),
        pooling="cls" if pool == "" else "timm",
        size=int(list(own.get("input_size", [224]))[-1]),  # type: ignore[call-overload]  # or raises
        mean=rgb(own.get("mean", IMAGENET_MEAN)),
        std=rgb(own.get("std", IMAGENET_STD)),
        interpolation="bilinear" if own.get("interpolation") == "bilinear" else "bicubic",
    )


def _of_transformers(config: Mapping[str, object], reading: Mapping[str, object]) -> Design:
    """A ViT of transformers in timm's words; HF's Dinov2 rounds a SwiGLU's width as here."""
    dino, width = config["model_type"] != "vit", _whole(config["hidden_size"])
    registers = _whole(config.get("num_register_tokens", 0))
    hidden = int(width * float(str(config.get("mlp_ratio", 4))))
    hidden = hidden if dino else _whole(config["intermediate_size"])
    swiglu = bool(config.get("use_swiglu_ffn", False))
    if swiglu:
        hidden = 2 * ((int(hidden * 2 / 3) + 7) // 8 * 8)
    elif config.get("hidden_act", "gelu") != "gelu":
        raise ValueError(f"hidden_act {config['hidden_act']!r}: want gelu")
    arguments: dict[str, object] = {
        "img_size": _whole(config["image_size"]),
        "patch_size": _whole(config["patch_size"]),
        "embed_dim": width,
        "depth": _whole(config["num_hidden_layers"]),
        "num_heads": _whole(config["num_attention_heads"]),
        "mlp_ratio": (hidden + 0.5) / width,  # timm multiplies and rounds down
        "qkv_bias": bool(config.get("qkv_bias", True)),
        "norm_eps": float(str(config.get("layer_norm_eps", 1e-6 if dino else 1e-12))),
    }
    if swiglu:
        arguments["swiglu"] = True
    if dino:
        arguments["init_values"] = float(str(config.get("layerscale_value", 1.0)))
    if registers:
        arguments |= {"reg_tokens": registers, "no_embed_class": True}
    return Design(
        architecture="vit_base_patch16_224",
        arguments=_arguments(arguments),
        pooling="cls",
        size=_whole(config["image_size"]),
        mean=rgb(reading.get("image_mean", IMAGENET_MEAN)),
        std=rgb(reading.get("image_std", IMAGENET_STD)),
        interpolation=_PILLOW.get(reading.get("resample"), "bicubic"),
    )


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no object")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value


def rgb(values: object) -> Triple:
    """Three plain values as floats; TypeError or ValueError where they are none."""
    red, green, blue = (float(value) for value in values)  # type: ignore[attr-defined]  # or raises
    return red, green, blue


def _arguments(given: Mapping[str, object]) -> Arguments:
    for name, value in given.items():
        if not isinstance(value, bool | int | float | str):
            raise TypeError(f"model_args.{name} = {value!r}: want a plain value")
    return tuple(sorted(given.items()))  # type: ignore[arg-type]  # seen to be plain
