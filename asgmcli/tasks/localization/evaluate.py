"""The map against true boxes: share of maxima inside the box beside chance, cIoU, AUC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch

from asgmcli.data.boxes import FrameBoxes
from asgmcli.metrics.localization import boxes_map, evaluate_ciou, inside_share, summarize_ciou
from asgmcli.ranks.exchange import gathered
from asgmcli.report.table import Cell, Table
from asgmcli.tasks.localization.batch import BoxBatch
from asgmcli.tasks.localization.data import Place
from asgmcli.tasks.localization.model import LocalizationState
from asgmcli.train.batches import move
from asgmcli.train.task import Evaluation

MAP_SIZE = 224
Filter = Literal["bilinear", "bicubic"]
"""How maps are resized to it, see `resize_map`."""


@dataclass(frozen=True)
class Located:
    """Frames that were looked at, one of each a frame: `places`, `images` uint8 [3, S, S], `heatmaps` [n, h, w],
    `boxes`."""

    places: list[Place]
    images: list[np.ndarray]
    heatmaps: np.ndarray
    boxes: list[FrameBoxes]


def evaluate(state: LocalizationState, loader: Iterable[BoxBatch]) -> Evaluation:
    """Evaluate the map of every frame of `loader` against its boxes; an empty evaluation if there are no boxes."""
    found = locate(state, loader)
    if found is None:
        return Evaluation({})
    paper = state.recipe.rows[state.recipe.default_row].paper
    return evaluation_of(found, paper, state.recipe.evaluate.filter)


@torch.no_grad()
def locate(state: LocalizationState, loader: Iterable[BoxBatch]) -> Located | None:
    """Compute the map of every frame of `loader`, of all ranks' loaders; None if there is none, and on other ranks."""
    state.network.eval()
    seen = []
    for batch in loader:
        places = list(zip(batch.ids, batch.frame.tolist(), strict=True))
        moved = move(batch.pairs, state.device)
        frames = moved.image.float()[:, :, None] / 255
        maps = state.frozen.maps(frames, moved.wave)[:, 0].cpu().numpy()
        seen.append(Located(places, list(batch.pairs.image.numpy()), maps, batch.boxes))
    seen = gathered(seen)
    if not seen:
        return None
    maps = np.concatenate([part.heatmaps for part in seen])
    places, images, boxes = (
        [one for part in seen for one in getattr(part, name)] for name in ("places", "images", "boxes")
    )
    return Located(places, images, maps, boxes)


def evaluation_of(found: Located, paper: Mapping[str, float], filter: Filter = "bilinear") -> Evaluation:
    """Return metrics in percent beside the paper's, if any, and a picture of best, median and worst frames."""
    from asgmcli.tasks.localization.cases import Case, choose_cases, draw_cases  # matplotlib, once a run

    values = frame_ciou(found.heatmaps, found.boxes, filter)
    metrics = measure(found.heatmaps, found.boxes, values)
    columns = ["measure", "percent", *(["paper"] if paper else [])]
    rows: list[list[Cell]] = [[name.replace("_", " "), value] for name, value in metrics.items()]
    if paper:
        rows = [[*row, paper.get(name)] for row, name in zip(rows, metrics, strict=True)]
    table = Table(f"Localization on {len(found.heatmaps)} frames", columns, rows)
    corners = [box.corners for box in found.boxes]
    parts = zip(found.places, found.images, found.heatmaps, corners, values, strict=True)
    cases = [Case(*part) for part in parts]
    chosen = {title: [cases[index] for index in indices] for title, indices in choose_cases(values).items()}
    summary = f"{len(values)} frames, {metrics['ciou50']:.1f}% of them with a cIoU of .5 or more"
    return Evaluation(metrics, {"localization": table}, {"localization": partial(draw_cases, chosen, summary)})


def frame_ciou(heatmaps: np.ndarray, boxes: Sequence[FrameBoxes], filter: Filter = "bilinear") -> list[float]:
    """Return the cIoU (0..1) of each map [n, h, w] with its frame's boxes; half of the pixels count as hot."""
    return [
        evaluate_ciou([heatmap], [boxes_map(box.corners, MAP_SIZE, box.annotators)], filter=filter)["mean"]
        for heatmap, box in zip(heatmaps, boxes, strict=True)
    ]


def measure(
    heatmaps: np.ndarray, boxes: Sequence[FrameBoxes], values: Sequence[float] | None = None
) -> dict[str, float]:
    """Return in percent `inside` and `chance` (frames with one box), `ciou50`, `ciou`, `auc`.

    Args:
        heatmaps: [n, h, w].
        boxes: of each frame.
        values: what `frame_ciou` gives, where that is known already.
    """
    single = [index for index, box in enumerate(boxes) if len(box) == 1]
    metrics = {}
    if single:
        share, chance = inside_share(heatmaps[single], np.stack([boxes[index].corners[0] for index in single]))
        metrics = {"inside": 100 * share, "chance": 100 * chance}
    ciou = summarize_ciou(frame_ciou(heatmaps, boxes) if values is None else values)
    return {**metrics, "ciou50": 100 * ciou["ciou50"], "ciou": 100 * ciou["mean"], "auc": 100 * ciou["auc"]}
