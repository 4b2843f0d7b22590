"""`eosin encoders`: the pathology encoders known by name, and whether their weights are here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from eosin.cli.console import print_frame, say

if TYPE_CHECKING:
    from pathlib import Path

    from eosin.networks.encoders import Encoder


def encoders(
    as_json: Annotated[bool, typer.Option("--json", help="Everything known, as JSON.")] = False,
) -> None:
    """List the pathology encoders that --backbone takes, and where their weights are looked for.

    Weights: NAME.safetensors in the folder that EOSIN_WEIGHTS names, else the Hugging Face hub.
    """
    import json
    from dataclasses import asdict

    import pandas as pd

    from eosin.networks.encoders import ENCODERS
    from eosin.networks.published import file_at_hand

    found = [(encoder, file_at_hand(encoder)) for encoder in ENCODERS.values()]
    if as_json:
        known = [{**asdict(encoder), **_whereabouts(encoder, path)} for encoder, path in found]
        typer.echo(json.dumps(known, indent=2))
        return
    rows = [
        {
            "encoder": encoder.name,
            "architecture": encoder.design,
            "M": f"{encoder.millions:g}",
            "output": f"{encoder.width} {encoder.pooling}",
            "px": encoder.size,
            "um/px": f"{encoder.mpp:g}",
            "licence": encoder.licence,
            "access": "gated" if encoder.gated else "open",
            "weights": "here" if path else "-",
        }
        for encoder, path in found
    ]
    print_frame(pd.DataFrame(rows))
    here = sum(path is not None for _, path in found)
    say(
        f"{here} of {len(found)} have their weights here. They are looked for as NAME.safetensors "
        "in the folder that EOSIN_WEIGHTS names, then on the Hugging Face hub with your token; for "
        "a gated one, ask for access on its page first (--json gives the pages)."
    )
    say("No source states a commit of these weights: a Run names the one that it was given.")


def say_licence(backbone: str) -> None:
    """The licence of an encoder's weights, the first time that this user trains or embeds with it.

    The Run repeats it among its initial weights.
    """
    from contextlib import suppress

    from eosin.machine import cache_folder
    from eosin.networks.encoders import find_encoder

    encoder = find_encoder(backbone)
    if encoder is None:
        return
    shown = cache_folder() / "licences" / encoder.name
    if not shown.exists():
        say(
            f"the weights of {encoder.name} are under {encoder.licence}; read and keep the terms "
            f"on {encoder.page}",
            style="yellow",
        )
        with suppress(OSError):  # said again the next time
            shown.parent.mkdir(parents=True, exist_ok=True)
            shown.touch()


def _whereabouts(encoder: Encoder, path: Path | None) -> dict[str, object]:
    from eosin.networks.published import WEIGHTS_SETTING

    return {
        "design": encoder.design,
        "arguments": dict(encoder.arguments),
        "revision": encoder.revision or "not pinned: confirm",
        "page": encoder.page,
        "looked_for": [f"{WEIGHTS_SETTING}/{encoder.name}.safetensors", f"hf-hub:{encoder.hub}"],
        "here": str(path) if path else None,
    }
