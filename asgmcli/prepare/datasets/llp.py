"""LLP (Tian et al., ECCV 2020): its lists, and its features as they are distributed or made from its videos."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import numpy as np

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.segments import SEGMENTS_NAME, Span, grid_to_spans, segments_csv
from asgmcli.errors import DataError, UsageError
from asgmcli.prepare.datasets.listing import Candidate, LayoutOptions, Listing, index_videos
from asgmcli.prepare.datasets.llp_lists import CLASSES, SECONDS, Clip, Lists, read_lists
from asgmcli.prepare.parsing_networks import load_networks, weight_options
from asgmcli.prepare.parsing_store import ARRAYS, EXTRACTED, Source, write_store
from asgmcli.prepare.verify import Facts, Fault, FileCheck, examine

__all__ = ["CLASSES", "Clip", "Lists", "find", "read_lists"]

TITLE = "LLP: who is heard and who is seen, 11,849 clips of 25 events"
ROOT_HELP = """\
Expected for llp: --root holds
  - AVVP_train.csv, AVVP_val_pd.csv, AVVP_test_pd.csv, AVVP_eval_audio.csv, AVVP_eval_visual.csv, there or in data/
    (https://github.com/YapengTian/AVVP-ECCV20, folder data);
  - the features, anywhere below it or in --features: folders vggish, res152 and r2plus1d_18 with an ID.npy a clip
    (the same page; 8 GB);
  - or, for --extract, the videos, ID.mp4 anywhere below it."""
MISSING_IS_BAD = False
EXTRACT = click.Option(["--extract"], is_flag=True, help="Make the features of clips without arrays from their videos.")
WEIGHTS = click.Option(
    ["--weights"],
    multiple=True,
    metavar="NAME=FILE",
    help="Weights of resnet152, r2plus1d_18, vggish.  [default: weights/, else torchvision's]",
)
DTYPE = click.Option(
    ["--dtype"],
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="Numbers of the feature store.",
)
OPTIONS = (
    click.Option(["--features"], help="Folder of vggish, res152 and r2plus1d_18.  [default: found below --root]"),
    DTYPE,
    EXTRACT,
    WEIGHTS,
)
FEWEST_SHARE = 0.9  # of a clip's rows, below which it is cut short
CLIP_FPS, CLIP_FRAMES = 8.0, 80


def find(root: Path, options: LayoutOptions) -> Listing:
    """List the clips of LLP's lists, their arrays and, where there are any, their videos.

    Raises:
        DataError: a list is missing or broken, or there are neither arrays nor, with --extract, videos.
        UsageError: --features names no folder of arrays.
    """
    own = options.own
    lists = read_lists(root)
    files = weight_options(tuple(own["weights"]))
    place = _features_folder(root, own["features"])
    videos = index_videos(root)
    if place is None and not (own["extract"] and videos):
        raise DataError(
            f"No features under {root}: folders {', '.join(ARRAYS)}, side by side. Name theirs with --features, or "
            "make them from videos with --extract."
        )
    arrays = root / "feats" if place is None else place
    found = []
    for clip in lists.clips.values():
        paths = _arrays(arrays, clip.features)
        video = videos.get(clip.features, [None])[0]
        found.append(Candidate(clip.id, video or paths[1], "", clip.split, more=tuple(map(str, paths))))
    notes = [f"{count} rows of the dense lists are passed over, {reason}" for reason, count in _counted(lists)]
    source = Source(
        lambda row: _arrays(arrays, lists.clips[row.id].features),
        partial(load_networks, files),
        {"maker": "released"},
        own["dtype"],
    )
    return Listing(
        found,
        list(CLASSES),
        list(lists.ignored),
        notes=notes,
        files={SEGMENTS_NAME: partial(_segments, lists)},
        examine=partial(check_clip, bool(own["extract"])),
        finish=partial(_finish, lists, source),
    )


def _counted(lists: Lists) -> list[tuple[str, int]]:
    return sorted(Counter(entry.reason for entry in lists.ignored).items())


def _features_folder(root: Path, given: str | None) -> Path | None:
    """Return the folder that holds the folders of arrays.

    Raises:
        UsageError: `given` is none.
    """
    if given is not None:
        if not (Path(given) / "res152").is_dir():
            raise UsageError(f"--features {given}: no folder res152 in it; it holds {', '.join(ARRAYS)}.")
        return Path(given)
    for folder, folders, _ in os.walk(root, followlinks=True):
        folders.sort()
        if set(ARRAYS) & set(folders):
            return Path(folder)
    return None


def _arrays(folder: Path, name: str) -> tuple[Path, ...]:
    return tuple(folder / kind / f"{name}.npy" for kind in ARRAYS)


def check_clip(extract: bool, task: FileCheck) -> Facts | Fault:
    """Check a clip's arrays; with `extract` a clip without good ones is taken for its video."""
    notes: list[str] = []
    fault = next(filter(None, (_check_array(Path(path), notes) for path in task.more)), None)
    video = Path(task.path).suffix != ".npy"
    if fault is not None:
        if not extract or not video:
            return fault
        facts = examine(task)
        return facts if isinstance(facts, Fault) else replace(facts, fingerprint=task.id, note=EXTRACTED)
    note = "; ".join(dict.fromkeys(notes))
    if video:
        facts = examine(task)
        if isinstance(facts, Facts):
            return replace(facts, fingerprint=task.id, note="; ".join(filter(None, (note, facts.note))))
        note = "; ".join(filter(None, (note, f"video {facts.reason}")))
    # A clip in two splits is refused by its lists; equal arrays make no copies.
    return Facts(float(SECONDS), CLIP_FPS, CLIP_FRAMES, 0, 0, False, None, task.id, note)


def _check_array(path: Path, notes: list[str]) -> Fault | None:
    """Return what is wrong with an array; what is filled or cut off goes to `notes`."""
    count, width = ARRAYS[path.parent.name]
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return Fault("missing", f"{path} is not there")
    except (OSError, ValueError, EOFError) as error:
        return Fault("unreadable", f"{path}: {str(error).splitlines()[0]}")
    if values.ndim != 2 or values.shape[1] != width or values.dtype.kind != "f":
        return Fault("wrong_shape", f"{path}: {list(values.shape)} {values.dtype}, where [{count}, {width}] is wanted")
    if not np.isfinite(values).all():
        return Fault("not_finite", f"{path}: holds a number that is not finite")
    if len(values) < FEWEST_SHARE * count:
        return Fault("truncated", f"{path}: {len(values)} rows of {count}")
    if len(values) != count:
        notes.append("filled" if len(values) < count else "cut")
    return None


def _segments(lists: Lists, rows: Sequence[ManifestRow]) -> str:
    """Return segments.csv: each clip's bag, and of val and test the runs of what is heard and seen."""
    events = {}
    for row in rows:
        clip = lists.clips[row.id]
        spans = [Span(0.0, float(SECONDS), CLASSES[number], modality="clip") for number in np.flatnonzero(clip.labels)]
        for modality, name in enumerate(("audio", "visual") if clip.events is not None else ()):
            assert clip.events is not None
            spans += grid_to_spans(clip.events[modality].T.astype(bool), None, CLASSES, modality=name)
        events[row.id] = spans
    return segments_csv(events, rows, modality=True)


def _finish(lists: Lists, source: Source, manifest: Manifest, say: Callable[[str], None]) -> dict[str, object]:
    """Write the feature store; the summary keeps the lists' hashes and how many clips they name."""
    listed = Counter(clip.split for clip in lists.clips.values())
    return {**write_store(manifest, source, say), "lists": lists.hashes, "listed": dict(listed)}
