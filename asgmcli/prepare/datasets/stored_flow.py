"""Optical flow that a data set of frames stores: released, or made of the raw videos by Farneback's method or RAFT."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import numpy as np
from PIL import Image

from asgmcli.data.frames import read_picture
from asgmcli.errors import DataError, MediaError, UsageError
from asgmcli.files import replacing
from asgmcli.media.flow import BOUND, encode_flow, farneback
from asgmcli.media.probe import probe
from asgmcli.media.video import read_clip
from asgmcli.prepare.datasets.frame_plan import Array, Plan, Unusable, squeezed, taken_at
from asgmcli.prepare.datasets.listing import LayoutOptions

FLOW = "flow"
RAFT = "raft"
FLOW_OPTIONS = (
    click.Option(
        ["--flow"],
        type=click.Choice(["released", "farneback", "none"]),
        help="Optical flow that is stored.  [default: released if complete, else made of raw videos, else none]",
    ),
    click.Option(
        ["--flow-method"],
        type=click.Choice(["farneback", RAFT]),
        help="How flow is made of raw videos; raft takes 30 times as long.  [default: farneback]",
    ),
    click.Option(
        ["--flow-weights"],
        type=click.Path(path_type=Path),
        help="With --flow-method raft: the weights of torchvision's raft_small or raft_large.",
    ),
    click.Option(
        ["--flow-bound"],
        type=click.FloatRange(0, min_open=True),
        default=BOUND,
        show_default=True,
        help="Largest displacement that flow made here holds, pixels.",
    ),
)


def flow_file(out: Path, clip: str) -> Path:
    """Return the file of a clip's flow."""
    return out / FLOW / f"{clip}.npy"


def make_flow(clip: str, plan: Plan, count: int, size: tuple[int, int]) -> None:
    """Write a clip's flow uint8 [count, 2, H, W] unless it is there; nothing where its video is missing.

    Raises:
        Unusable: a file of released flow is broken, or the video is too short.
        DataError: RAFT's weights cannot be read.
    """
    target = flow_file(Path(plan.out), clip)
    if plan.flow == "none" or target.exists() or (plan.flow != "released" and not plan.video):
        return
    flow = _released(plan, size) if plan.flow == "released" else _made(plan, count, size)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.save(file, flow)


def _released(plan: Plan, size: tuple[int, int]) -> Array:
    """Return released flow: grey, resized bicubic, as it is."""

    def read(name: str) -> Array:
        try:
            grey = Image.fromarray(read_picture(name, "L"))
        except MediaError as error:
            raise Unusable("broken_png", error.message) from None
        return np.asarray(grey.resize((size[1], size[0]), Image.Resampling.BICUBIC))

    return np.stack([np.stack([read(x), read(y)]) for x, y in plan.released])


def _made(plan: Plan, count: int, size: tuple[int, int]) -> Array:
    """Return the flow of each picture's frame to the video's next one, by Farneback's method or RAFT."""
    move: Callable[[Array, Array], Array] = farneback
    if plan.flow == RAFT:
        from asgmcli.nn.raft import raft

        move = partial(raft, weights=plan.weights)
    info = probe(plan.video)
    seconds = (taken_at(info.duration) if plan.seconds is None else plan.seconds)[:count]
    if len(seconds) < count:
        raise Unusable("missing_frame", f"{plan.video}: {info.duration:.2f} s give {len(seconds)} of {count} pictures")
    last = max(info.frames - 1, 1)
    firsts = [min(int(second * round(info.fps)), last) for second in seconds]
    pairs = [(index, index + 1) if index < last else (index, index - 1) for index in firsts]
    frames = read_clip(plan.video, [index for pair in pairs for index in pair])
    found = []
    for place, (first, second) in enumerate(pairs):
        side = size[0]
        flow = move(squeezed(frames[2 * place], side), squeezed(frames[2 * place + 1], side))
        found.append(encode_flow(flow if second > first else -flow, plan.bound))
    return np.stack(found)


def choose_flow(options: LayoutOptions, released: bool, videos: bool) -> tuple[str, str]:
    """Return the kind of flow that is stored, and a sentence on it where it was not asked for.

    Args:
        options: the user's, of which `FLOW_OPTIONS` are read.
        released: no frame lacks its released flow.
        videos: there are raw videos.

    Raises:
        UsageError: options that contradict each other. DataError: what is asked for cannot be made.
    """
    asked, method = options.own.get("flow"), options.own.get("flow_method")
    _check_method(asked, method, options.own.get("flow_weights"))
    if asked == "released" and not released:
        raise DataError("--flow released: some frames have no released flow (flows_x, flows_y). Try --flow farneback.")
    if (asked == "farneback" or method is not None) and not videos:
        told = "--flow farneback" if method is None else f"--flow-method {method}"
        raise DataError(f"{told}: there are no raw videos to make it from. Try --flow none.")
    if method is not None:
        return method, ""
    if asked is not None:
        return asked, ""
    kind = "released" if released else "farneback" if videos else "none"
    why = {
        "released": "every frame has released flow, which is used",
        "farneback": "released flow is not complete: Farneback's is made of the raw videos",
        "none": "there is neither released flow nor a raw video: no flow is stored",
    }
    return kind, f"flow: {why[kind]} (--flow)"


def _check_method(asked: str | None, method: str | None, weights: Path | None) -> None:
    """Raise where --flow, --flow-method and --flow-weights do not go together, or the weights are no RAFT's."""
    if method is not None and asked not in (None, method):
        raise UsageError(f"--flow {asked} and --flow-method {method} contradict each other: give one of them.")
    if (method == RAFT) != (weights is not None):
        raise UsageError(
            "--flow-method raft and --flow-weights FILE go together; FILE is a download of torchvision's, "
            "raft_small_C_T_V2-01064c6d.pth or raft_large_C_T_SKHT_V2-ff5fadd5.pth."
        )
    if weights is not None:
        from asgmcli.nn.raft import load_raft

        load_raft(str(weights))
