"""Parse a file of any length: its features by the networks that made the run's, window by window, runs joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.segments import Span, grid_to_spans, segments_csv
from asgmcli.errors import DataError, MediaError
from asgmcli.files import write_text
from asgmcli.media.probe import probe
from asgmcli.media.seconds import SECONDS, count_seconds, count_windows, read_frames, read_sound
from asgmcli.metrics.parsing import decode
from asgmcli.prepare.parsing_networks import NETWORKS, load_networks
from asgmcli.prepare.parsing_store import Maker, window_features
from asgmcli.report.table import Cell
from asgmcli.report.timeline import TimelineClip, Track, draw_timelines
from asgmcli.synthetic.demo_features import load_demo_features
from asgmcli.tasks.parsing.model import DEMO_MAKER, MAKER_WEIGHTS
from asgmcli.tasks.parsing.tokens import load_transformer
from asgmcli.tasks.parsing.truth import MODALITIES
from asgmcli.train.task import Prediction

if TYPE_CHECKING:
    from asgmcli.tasks.parsing.load import TrainedParser

MOST_THUMBNAILS = 20
THUMBNAIL = 96


@dataclass(frozen=True)
class Parsing:
    """Events heard and seen in a file.

    Attributes:
        row: the file.
        manifest: that it alone is in.
        spans: events in order of start, sound before picture.
        notes: what a reader of them must know.
    """

    row: ManifestRow
    manifest: Manifest
    spans: list[Span]
    notes: list[str]


def known_networks(trained: TrainedParser) -> list[str]:
    """Return the networks whose weight files a user may name."""
    return [] if trained.maker == DEMO_MAKER else list(NETWORKS)


def maker_of(trained: TrainedParser) -> tuple[Maker, list[str]]:
    """Return what makes the features that the network takes, and what must be said of it.

    Raises:
        DataError: its weights are not there.
    """
    if trained.maker == DEMO_MAKER:
        path = trained.folder / MAKER_WEIGHTS
        if not path.exists():
            raise DataError(f"{path}: not here; it makes the features. Copy it from the run, or train the run again.")
        return load_demo_features(path), []
    note = "features by our ResNet-152, R(2+1)D-18 and VGGish, close to the released ones and never equal"
    return load_networks(trained.weights, trained.device), [note] if trained.dims == (128, 2048, 512) else []


def ask(trained: TrainedParser, path: Path, audio: Path | None = None) -> Prediction:
    """Tell what is heard and seen in a file.

    A clip without sound, or without picture, gets zeros for what it lacks, which is said, and no events of it.

    Raises:
        MediaError: the file cannot be read.
        DataError: the networks that make its features are not there, or have other widths.
    """
    parsed = parse(trained, path, audio)
    rows: list[list[Cell]] = [
        [span.start, span.end, span.label, span.modality, round(span.probability, 4)] for span in parsed.spans
    ]
    events = [
        {
            "start": span.start,
            "end": span.end,
            "label": span.label,
            "modality": span.modality,
            "probability": round(span.probability, 4),
        }
        for span in parsed.spans
    ]
    files: dict[str, Callable[[Path], object]] = {
        "_timeline.png": partial(draw, parsed, trained.classes),
        "_segments.csv": partial(_write_segments, parsed),
    }
    return Prediction(parsed.spans, rows, {"events": events, "notes": parsed.notes}, files)


def parse(trained: TrainedParser, path: Path, audio: Path | None = None) -> Parsing:
    """Parse a file; see `ask`."""
    manifest, notes = open_file(path, audio)
    row = manifest.rows[0]
    maker, more = maker_of(trained)
    notes += more
    windows = count_windows(row.duration)
    frozen = None
    if trained.frozen is not None:
        frozen = load_transformer(trained.recipe, trained.dims, trained.frozen).to(trained.device)
    clips, frames = [], []
    with torch.no_grad():
        for window in range(windows):
            parts = window_features(manifest, row, window, maker)
            inputs = [torch.from_numpy(np.ascontiguousarray(part))[None].float() for part in parts]
            widths = tuple(part.shape[-1] for part in inputs)
            if widths != trained.dims:
                raise DataError(f"{path}: features {widths} wide are made of it; the network takes {trained.dims}.")
            audio_in, image_in, motion_in = (part.to(trained.device) for part in inputs)
            if frozen is not None:
                audio_in, image_in = frozen.ground(audio_in, image_in)
            found = trained.network(audio_in, image_in, motion_in)
            clips.append(found.clip.float().cpu())
            frames.append(found.frame.float().cpu())
    clip, frame = torch.cat(clips), torch.cat(frames)
    grid = decode(clip, frame, trained.recipe.evaluate.threshold).numpy()  # [W, 2, C, T]
    seconds = count_seconds(row.duration)
    if seconds < SECONDS * windows:
        notes.append(f"the last of its {windows} windows is filled up from {seconds} s")
    joined = grid.transpose(1, 0, 3, 2).reshape(2, SECONDS * windows, -1)[:, :seconds]  # [2, W T, C]
    known = frame.numpy().transpose(2, 0, 1, 3).reshape(2, SECONDS * windows, -1)[:, :seconds]
    spans: list[Span] = []
    there = {"audio": bool(row.audio), "visual": row.width > 0}
    for number, modality in enumerate(MODALITIES):
        if there[modality]:
            spans += grid_to_spans(joined[number], known[number], trained.classes, modality=modality)
    spans.sort(key=lambda span: (span.start, MODALITIES.index(span.modality), span.label))
    return Parsing(row, manifest, spans, notes)


def open_file(path: Path, audio: Path | None = None) -> tuple[Manifest, list[str]]:
    """Return a manifest of a file alone, which may have no picture or no sound, and what it lacks in words.

    Raises:
        MediaError: the file is missing, broken, or holds neither.
    """
    file = path.absolute()
    if not file.is_file():
        raise MediaError(f"{path}: no such file; is the path right?")
    info = probe(file)
    heard = probe(audio) if audio is not None else info
    if info.kind == "image" and audio is None:
        raise MediaError(f"{path}: a picture; video parsing needs a video or a sound.")
    sound = str((audio or file).absolute()) if heard.audio_rate > 0 else ""
    duration = info.duration or heard.duration
    fps = info.fps if info.fps > 0 else (1.0 / duration if info.width and duration else 0.0)
    row = ManifestRow(
        file.name, str(file), "", "test", duration, fps, max(info.frames, 1), info.width, info.height, sound, ""
    )
    notes = [] if info.width else ["it has no picture: nothing is seen"]
    notes += [] if sound else ["it has no sound: nothing is heard"]
    return Manifest(file.parent, [row], [], file, ""), notes


def draw(parsed: Parsing, classes: Sequence[str], path: Path) -> Path:
    """Draw thumbnails, waveform, and what is heard and seen."""
    row, manifest = parsed.row, parsed.manifest
    seconds = count_seconds(row.duration)
    windows = count_windows(row.duration)
    frames: NDArray[np.uint8] | None = None
    wave: NDArray[np.float32] | None = None
    if row.width:
        each = [read_frames(manifest.resolve(row), row.fps, row.frames, n, 1, THUMBNAIL) for n in range(windows)]
        whole = np.concatenate(each)[:seconds]
        frames = whole[:: -(-len(whole) // MOST_THUMBNAILS)]
    sound = manifest.resolve_audio(row)
    if sound is not None:
        rate = 16_000
        wave = np.concatenate([read_sound(sound, window, rate) for window in range(windows)])[: seconds * rate]
    tracks = [
        Track(title, [span for span in parsed.spans if span.modality == modality])
        for title, modality in (("heard", "audio"), ("seen", "visual"))
    ]
    clip = TimelineClip(row.id, float(seconds), tracks, frames, wave)
    title = "Who is heard, who is seen" + "".join(f"; {note}" for note in parsed.notes)
    return draw_timelines([clip], path, title=title, labels=list(classes))


def _write_segments(parsed: Parsing, path: Path) -> None:
    write_text(path, segments_csv({parsed.row.id: parsed.spans}, [parsed.row], modality=True, probability=True))
