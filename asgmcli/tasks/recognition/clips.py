"""Clips of which no manifest tells: read one after the other, and fitted to the network's inputs together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from asgmcli.data import augment
from asgmcli.data.mel_statistics import LogMelStatistics
from asgmcli.data.reader import RATE, ClipReader, Moment
from asgmcli.errors import MediaError
from asgmcli.media.audio import log_mel
from asgmcli.media.opening import one_opening
from asgmcli.prepare.single import manifest_of
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.tasks.recognition.batch import EvaluationBatch

MOST_BYTES = 64 << 20
"""Of frames and sound that wait to be fitted together."""


@dataclass(frozen=True)
class ReadClip:
    """What a recognizer looks at in a clip, V times.

    Attributes:
        id: of the clip.
        places: for each time the T places in `frames` that are seen; empty where the picture is not used.
        frames: uint8 [n, H, W, 3], each frame once; None where the picture is not used.
        waves: float32 [V, samples], None where the sound is not used.
    """

    id: str
    places: list[list[int]]
    frames: Tensor | None
    waves: Tensor | None

    @property
    def bytes(self) -> int:
        """Return the memory that it takes."""
        tensors = (getattr(self, field.name) for field in fields(self))
        return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))


def read_clip_of(recipe: RecognitionRecipe, path: Path, audio: Path | None) -> ReadClip | MediaError:
    """Read what a recognizer of `recipe` needs of a clip, its file opened once; return why it cannot be read."""
    try:
        with one_opening():
            manifest = manifest_of(path, audio)
            row, settings = manifest.rows[0], recipe.evaluate
            reader = ClipReader(manifest, recipe.clip, recipe.audio)
            moments = reader.spread_moments(row, settings.clips, inclusive=settings.starts == "inclusive")
            wanted = sorted({index for moment in moments for index in moment.indices})
            frames = reader.frames(Moment(row, wanted)) if recipe.sees else None
            waves = reader.waves(moments) if recipe.listens else None
    except MediaError as error:
        return error
    place = {index: number for number, index in enumerate(wanted)}
    return ReadClip(row.id, [[place[index] for index in moment.indices] for moment in moments], frames, waves)


def fitted(
    recipe: RecognitionRecipe, statistics: LogMelStatistics | None, clips: Iterable[ReadClip | MediaError]
) -> list[EvaluationBatch | MediaError]:
    """Return the views of clips, as `EvaluationViews` gives them, with errors in their places.

    As many clips are fitted at once as `MOST_BYTES` hold, which takes less time than one after the other.
    """
    done: list[EvaluationBatch | MediaError] = []
    for group in _groups(clips):
        good = [clip for clip in group if isinstance(clip, ReadClip)]
        views = iter(_together(recipe, statistics, good))
        done += [clip if isinstance(clip, MediaError) else next(views) for clip in group]
    return done


def _groups(clips: Iterable[ReadClip | MediaError]) -> Iterator[list[ReadClip | MediaError]]:
    group: list[ReadClip | MediaError] = []
    held = 0
    for clip in clips:
        group.append(clip)
        held += 0 if isinstance(clip, MediaError) else clip.bytes
        if held > MOST_BYTES:
            yield group
            group, held = [], 0
    if group:
        yield group


def _together(
    recipe: RecognitionRecipe, statistics: LogMelStatistics | None, clips: Sequence[ReadClip]
) -> Iterator[EvaluationBatch]:
    crops = recipe.evaluate.crops
    seen, heard = _pictures(recipe, clips), _sounds(recipe, statistics, clips)
    for clip, pictures, sounds in zip(clips, seen, heard, strict=True):
        views = torch.cat([pictures[:, places] for places in clip.places]) if pictures is not None else _unseen(clip)
        audio = None if sounds is None else sounds.repeat_interleave(crops if pictures is not None else 1, dim=0)
        yield EvaluationBatch(views, torch.tensor(-1), [clip.id], ["test"], audio)


def _unseen(clip: ReadClip) -> Tensor:
    return torch.empty(len(clip.places), 0, dtype=torch.uint8)


def _pictures(recipe: RecognitionRecipe, clips: Sequence[ReadClip]) -> list[Tensor | None]:
    """Return the crops of each clip's frames, uint8 [crops, n, 3, S, S]; frames of one size are resized at once."""
    found: dict[int, Tensor] = {}
    sizes: dict[tuple[int, ...], list[int]] = {}
    for number, clip in enumerate(clips):
        if clip.frames is not None:
            sizes.setdefault(tuple(clip.frames.shape[1:]), []).append(number)
    for numbers in sizes.values():
        frames = [frames for number in numbers if (frames := clips[number].frames) is not None]
        views = augment.crops(torch.cat(frames), recipe.clip.size, recipe.evaluate.crops)
        found.update(zip(numbers, views.split([len(one) for one in frames], dim=1), strict=True))
    return [found.get(number) for number in range(len(clips))]


def _sounds(
    recipe: RecognitionRecipe, statistics: LogMelStatistics | None, clips: Sequence[ReadClip]
) -> list[Tensor | None]:
    """Return each clip's normalised log-mels, float32 [V, L, M]."""
    waves = [clip.waves for clip in clips if clip.waves is not None]
    if not waves or statistics is None:
        return [None] * len(clips)
    mels = statistics.normalise(log_mel(torch.cat(waves), rate=RATE, mels=recipe.audio.mels))
    return list(torch.split(mels, [len(one) for one in waves]))
