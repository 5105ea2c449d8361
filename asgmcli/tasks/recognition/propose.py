"""The recipe of semi-supervised recognition for somebody's own clips: sizes follow the data and the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asgmcli.data.manifest import Manifest
from asgmcli.errors import MediaError, UsageError
from asgmcli.media.video import read_clip
from asgmcli.nn.weights import timm_file
from asgmcli.recipe.shipped import shipped
from asgmcli.train.propose import Machine, OwnClips, Proposal, Wish

SIZES = ("tiny", "vit_ti", "vit_s", "vit_b")
"""Networks, small ones first: `tiny` sees pictures of 48 pixels, the others of 224."""
GPU_MEMORY = {"vit_b": 30.0, "vit_s": 14.0, "vit_ti": 0.0}
"""GB of a GPU from which a size is taken."""
STARTS = {
    "vit_ti": "vit_tiny_patch16_224.augreg_in21k",
    "vit_s": "vit_small_patch16_224.augreg_in21k",
    "vit_b": "vit_base_patch16_224.augreg_in21k",
}
DIMS = {"vit_ti": (192, 3), "vit_s": (384, 6), "vit_b": (768, 12)}
TINY_START = "demo_pretext"
"""Recipe whose networks have the size `tiny`."""
OWN, ALONE, BARE = "own", "labels_alone", "no_start"
LOOKED_AT = 60
"""Clips whose pictures are measured."""
WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
LEAST_STEPS = 1200
"""Steps of a whole training, at least: on 260 labelled clips small networks are at chance after 100, and still at half
of what they reach after 400 (docs/EXPERIMENTS.md)."""
MOST_EPOCHS = 400
NO_UNLABELED = {"losses.unlabeled.weight": 0.0, "losses.mixup.weight": 0.0, "losses.contrastive.weight": 0.0}


@dataclass(frozen=True)
class Pictures:
    """Mean and standard deviation of red, green and blue, 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def propose(clips: OwnClips, manifest: Manifest, machine: Machine, wish: Wish) -> Proposal | None:
    """Return the recipe: the method on all clips, beside it the labels alone, and a start beside none.

    Raises:
        UsageError: no such size, start or localizer.
    """
    size = wish.size or _size(machine)
    if size not in SIZES:
        raise UsageError(f"--size {size}: there are {', '.join(SIZES)}.")
    start, words = _start(size, wish.start)
    localizer = _localizer(wish.localizer)
    heard = clips.heard > 0
    if not heard and wish.localizer is not None:
        raise UsageError(f"--localizer {wish.localizer}: no clip has sound for it to follow. Leave it out.")
    pictures = measured(manifest)
    batch = max(2, min(16 if size == "tiny" else 8, clips.labeled // 4))
    ratio = max(1, min(2 if size == "tiny" else 4, round(clips.unlabeled / max(clips.labeled, 1)) or 1))
    steps = max(clips.labeled // batch, -(-max(clips.unlabeled, 1) // (batch * ratio)), 1)
    epochs = wish.epochs or int(min(MOST_EPOCHS, max(10, -(-LEAST_STEPS // steps))))
    length = epochs * steps
    model = _model(size, start, pictures)
    recipe: dict[str, object] = {
        "name": clips.name,
        "task": "recognition",
        "title": f"Own clips: {clips.name}",
        "default_row": OWN,
        "rows": _rows(bool(start), bool(clips.unlabeled)),
        "compare": {"to": [ALONE], "metrics": ["top1"]},
        "data": {
            "dataset": clips.name,
            "manifest": str(clips.manifest),
            "labeled_per_class": None,
            "keep_decoded": size == "tiny",
            **({} if size == "tiny" else {"workers": max(1, min(8, machine.cores - 1))}),
        },
        "clip": _clip(size, clips),
        "audio": _audio(size, clips),
        "model": model if heard else {**model, "modality": "video"},
        "thresholds": {"kind": "fixed", "value": 0.8} if size == "tiny" else {"kind": "flexible", "value": 0.3},
        "masks": {"kind": "localization" if heard else "tube"},
        **({"localizer": localizer} if heard else {}),
        "losses": {"unlabeled": {"weight": 2.0}, "mixup": {"weight": 2.0, "space": "probabilities"}},
        "evaluate": {"clips": 3, "crops": 1, "batch": 32 if size == "tiny" else 4},
        "train": {
            "epochs": epochs,
            "batch": batch,
            "unlabeled_ratio": ratio,
            "supervised_epochs": max(1, epochs // (2 if size == "tiny" else 3)),
            # The teacher's average and the warm-up each take a tenth of a short run at most.
            "ema_decay": round(min(0.98 if size == "tiny" else 0.99, max(0.5, 1 - 10 / length)), 3),
            "optimizer": {
                "kind": "adamw",
                "lr": 1e-3 if size == "tiny" else 1e-4,
                "weight_decay": 0.05,
                "schedule": "cosine",
                "warmup_steps": min(100 if size == "tiny" else 20, length // 10),
                "clip_norm": 1.0,
            },
            **({"cores": 1} if size == "tiny" else {}),
            **({"precision": "bf16"} if machine.device == "cuda" else {}),
        },
    }
    if not heard:
        losses = recipe["losses"]
        assert isinstance(losses, dict)
        losses["contrastive"] = {"weight": 0.0}
    return Proposal(recipe, size, words)


def _size(machine: Machine) -> str:
    """Return the size for a machine: by the GPU's memory, tiny without one."""
    if machine.device != "cuda":
        return "tiny"
    return next(size for size, least in GPU_MEMORY.items() if machine.memory >= least)


def _rows(start: bool, unlabeled: bool) -> dict[str, object]:
    less = "the unlabelled clips" if unlabeled else "learning from clips as if unlabelled"
    rows: dict[str, object] = {
        OWN: {"title": "all clips"},
        ALONE: {"title": f"without {less}", "set": NO_UNLABELED},
    }
    if start:
        rows[BARE] = {"title": "without the start", "set": {"model.video.init": "none", "model.audio.init": "none"}}
    return rows


def _start(size: str, wanted: str | None) -> tuple[dict[str, str], str]:
    """Return the `init` of the encoders, empty for none, and it in words."""
    if wanted == "none":
        return {}, "none"
    if wanted is not None and Path(wanted).suffix in WEIGHT_FILES:
        if not Path(wanted).is_file():
            raise UsageError(f"--start {wanted}: no such weight file. Name one, a timm model, a recipe, or none.")
        return {"file": wanted}, f"the file {wanted}"
    if wanted is not None:
        return ({"recipe": wanted} if wanted in shipped() else {"timm": wanted}), wanted
    if size == "tiny":
        return {"recipe": TINY_START}, f"the recipe {TINY_START} (generated shapes and sounds)"
    name = STARTS[size]
    # Only one that lies here: nobody is made to fetch hundreds of megabytes unasked.
    return (
        ({"timm": name}, f"{name} of weights/") if timm_file(name) is not None else ({}, "none (--start NAME fetches)")
    )


def _localizer(wanted: str | None) -> dict[str, str]:
    if wanted in (None, "motion"):
        return {"kind": "motion"}
    return {"file": str(wanted)} if Path(str(wanted)).suffix in WEIGHT_FILES else {"recipe": str(wanted)}


def _model(size: str, start: Mapping[str, str], pictures: Pictures) -> dict[str, object]:
    init: object = dict(start) if start else "none"
    look = {"mean": list(pictures.mean), "std": list(pictures.std)}
    if size == "tiny":
        body = {"dim": 64, "depth": 4, "heads": 2, "drop_path": 0.0, "init": init}
        video = {**body, "patch_size": 8, "tubelet": 2, "embed_hidden": 256}
        audio = {**body, "patch_size": 16, "embed_hidden": 128}
        return {"video": video, "audio": audio, "fusion": {"layers": 2, "heads": 2}, **look}
    dim, heads = DIMS[size]
    body = {"dim": dim, "depth": 12, "heads": heads, "init": init}
    return {"video": body, "audio": body, "fusion": {"layers": 2, "heads": heads}, **look}


def _clip(size: str, clips: OwnClips) -> dict[str, object]:
    """Return frames that span the clip, of at most 2.6 s."""
    frames = 4 if size == "tiny" else 8
    span = min(clips.seconds, 2.6) * clips.fps
    side = 48 if size == "tiny" else 224
    return {
        "frames": frames,
        "stride": max(1, int(span / frames)),
        "size": side,
        "short_side": [round(side * 1.04), round(side * 1.2)],
    }


def _audio(size: str, clips: OwnClips) -> dict[str, object]:
    """Return the sound: as long as the start's networks hear for `tiny`, else as long as the clips, at most 4 s."""
    if size == "tiny":
        return {"seconds": 2.0, "mels": 64}
    return {"seconds": round(0.16 * max(4, min(25, round(clips.seconds / 0.16))), 2), "mels": 128}


def measured(manifest: Manifest) -> Pictures:
    """Return mean and deviation of the training pictures, so that a network sees contrasts of its own size.

    A picture of a deviation of 0.1, as close-ups have, fills a fifth of the range that a mean and deviation of 0.5
    expect, and small networks then stay at chance for hundreds of steps. Twice the deviation is given: what is normal
    then lies within one.
    """
    rows = manifest.of_split("train")
    chosen: Sequence[int] = np.unique(np.linspace(0, len(rows) - 1, LOOKED_AT).astype(int)).tolist()
    found = []
    for place in chosen:
        row = rows[place]
        with suppress(MediaError):
            found.append(read_clip(manifest.resolve(row), [max(row.frames // 2, 0)], short_side=48)[0].reshape(-1, 3))
    if not found:
        return Pictures((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    pixels = np.concatenate(found).astype(np.float64) / 255
    mean, std = pixels.mean(0), np.maximum(2 * pixels.std(0), 0.05)
    return Pictures(tuple(round(float(x), 3) for x in mean), tuple(round(float(x), 3) for x in std))
