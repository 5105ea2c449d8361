"""Masks against their truth: mIoU and F by group, with every clip's own sound and with another's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asgmcli.metrics.segmentation import f_curves, group_f_scores, mask_iou
from asgmcli.ranks.exchange import gathered
from asgmcli.recipe.segmentation import SegmentationRecipe
from asgmcli.report.table import Cell, Table
from asgmcli.tasks.segmentation.batch import EvaluationBatch
from asgmcli.tasks.segmentation.model import SegmentationState, Segmenter
from asgmcli.train.batches import move
from asgmcli.train.task import Evaluation

OWN, ALONE, EXCHANGED = "", "_1", "_exchanged"
"""Ends of the metrics' names: as the recipe says, of single frames, with another clip's sound."""
_SHOWN_SIDE = 112  # pixels of a frame that is kept for pictures


@dataclass(frozen=True)
class Measured:
    """A window of a clip that was judged.

    Attributes:
        clip: its id.
        first: its first frame.
        iou: by the end of the metric's name, [n] of its frames with a mask.
        curves: likewise, F's curves float64 [n, 255].
        counted: bool [n], frames whose truth is not empty.
        image, mask, truth: of its first frame with a mask, small: uint8 [h, w, 3], bool [h, w].
    """

    clip: str
    first: int
    iou: dict[str, np.ndarray]
    curves: dict[str, np.ndarray]
    counted: np.ndarray
    image: np.ndarray
    mask: np.ndarray
    truth: np.ndarray


def evaluate(state: SegmentationState, loader: Iterable[EvaluationBatch]) -> Evaluation:
    """Judge every window of `loader`, of all ranks' loaders; an empty evaluation if there is none."""
    found = measure_all(state.student, state.recipe, loader, state.device)
    if not found:
        return Evaluation({})
    return evaluation_of(found, state.recipe, state.recipe.rows[state.recipe.default_row].paper)


@torch.no_grad()
def measure_all(
    network: Segmenter, recipe: SegmentationRecipe, loader: Iterable[EvaluationBatch], device: torch.device
) -> list[Measured]:
    """Return what was measured of every window, in the loader's order; nothing on ranks but the first."""
    network.eval()
    found = []
    for batch in loader:
        moved = move(batch, device)
        logits = {OWN: _logits(network, moved, moved.audio)}
        if moved.other is not None:
            logits[EXCHANGED] = _logits(network, moved, moved.other)
            if recipe.model.kind == "tpavi" and recipe.evaluate.frames > 1:
                logits[ALONE] = _alone(network, moved)
        found += [_judged(batch, moved, logits, number) for number in range(len(batch.ids))]
    return gathered(found)


def _logits(network: Segmenter, batch: EvaluationBatch, audio: Tensor) -> Tensor:
    found: Tensor = network(batch.image, audio, batch.flow).logits.float()
    return found


def _alone(network: Segmenter, batch: EvaluationBatch) -> Tensor:
    """Return the logits [B, T, S, S] of every frame by itself."""
    shape = batch.image.shape[:2]
    single = [None if x is None else x.flatten(0, 1)[:, None] for x in (batch.image, batch.audio, batch.flow)]
    image, audio, flow = single
    assert image is not None
    found: Tensor = network(image, audio, flow).logits[:, 0].float().unflatten(0, shape)
    return found


def _judged(batch: EvaluationBatch, moved: EvaluationBatch, logits: Mapping[str, Tensor], number: int) -> Measured:
    known = moved.known[number]
    truth = moved.mask[number][known]
    own = {name: values[number][known] for name, values in logits.items()}
    curves = {name: f_curves(values, truth) for name, values in own.items()}
    shown = int(known.nonzero()[0])
    step = max(1, truth.shape[-1] // _SHOWN_SIDE)
    return Measured(
        batch.ids[number],
        int(batch.first[number]),
        {name: mask_iou(values, truth).cpu().numpy() for name, values in own.items()},
        {name: curve.cpu().numpy() for name, (curve, _) in curves.items()},
        curves[OWN][1].cpu().numpy(),
        batch.image[number, shown, :, ::step, ::step].permute(1, 2, 0).numpy(),
        (own[OWN][0] > 0)[::step, ::step].cpu().numpy(),
        truth[0, ::step, ::step].cpu().numpy(),
    )


def measure(found: Sequence[Measured], group: int) -> dict[str, float]:
    """Return `miou` and `f_score` in percent, and the same of single frames (_1) and of exchanged sounds.

    Args:
        found: windows in the manifest's order.
        group: videos whose curves are averaged before F's best threshold is taken.
    """
    videos = list(dict.fromkeys(one.clip for one in found))
    number = {clip: place // group for place, clip in enumerate(videos)}
    metrics = {}
    for end in (OWN, ALONE, EXCHANGED):
        if any(end not in one.iou for one in found):
            continue
        metrics[f"miou{end}"] = 100 * float(np.concatenate([one.iou[end] for one in found]).mean())
        scores = []
        for place in range(max(number.values()) + 1):
            own = [one for one in found if number[one.clip] == place]
            curves = torch.from_numpy(np.concatenate([one.curves[end] for one in own]))
            counted = torch.from_numpy(np.concatenate([one.counted for one in own]))
            scores.append(float(group_f_scores(curves, counted, len(curves))[0]))
        metrics[f"f_score{end}"] = 100 * float(np.mean(scores))
    return metrics


def video_iou(found: Sequence[Measured]) -> dict[str, float]:
    """Return each video's mean IoU (0..1), in order."""
    by_clip: dict[str, list[np.ndarray]] = {}
    for one in found:
        by_clip.setdefault(one.clip, []).append(one.iou[OWN])
    return {clip: float(np.concatenate(values).mean()) for clip, values in by_clip.items()}


def evaluation_of(found: Sequence[Measured], recipe: SegmentationRecipe, paper: Mapping[str, float]) -> Evaluation:
    """Return metrics in percent beside the paper's, if any, and a picture of best, median and worst videos."""
    from asgmcli.tasks.segmentation.figures import Case, choose_cases, draw_cases  # matplotlib, once a run

    metrics = measure(found, recipe.evaluate.group)
    values = video_iou(found)
    frames = sum(len(one.iou[OWN]) for one in found)
    group = recipe.evaluate.group
    grouped = "a video" if group == 1 else f"a group of {group} videos"
    title = f"Segmentation of {frames:,} frames of {len(values):,} videos (F: curves averaged over {grouped})"
    columns = ["measure, percent", "measured", *(["paper"] if paper else [])]
    rows: list[list[Cell]] = [
        [_WORDS.get(name, name), value, *([paper.get(name)] if paper else [])] for name, value in metrics.items()
    ]
    shown = {one.clip: one for one in reversed(found)}
    cases = [
        Case(clip, shown[clip].image, shown[clip].mask, shown[clip].truth, value) for clip, value in values.items()
    ]
    chosen = {
        title: [cases[place] for place in places] for title, places in choose_cases(list(values.values())).items()
    }
    summary = f"{len(values):,} videos, mIoU {metrics['miou']:.1f}"
    figures: dict[str, Callable[[Path], object]] = {"segmentation": partial(draw_cases, chosen, summary)}
    return Evaluation(metrics, {"segmentation": Table(title, columns, rows)}, figures)


_WORDS = {
    "miou": "mIoU",
    "f_score": "F",
    "miou_1": "mIoU, every frame by itself",
    "f_score_1": "F, every frame by itself",
    "miou_exchanged": "mIoU with another clip's sound",
    "f_score_exchanged": "F with another clip's sound",
}
