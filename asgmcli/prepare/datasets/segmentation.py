"""Own clips with masks for segmentation: a folder a clip, a video or frames with sound, and masks of any of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from asgmcli.errors import DataError
from asgmcli.prepare.datasets.avsbench import plan_of
from asgmcli.prepare.datasets.frame_clips import candidate_of, listing_of
from asgmcli.prepare.datasets.frame_plan import Plan
from asgmcli.prepare.datasets.listing import DRAWN_SPLITS, SPLIT_WORDS, VIDEO_SUFFIXES, LayoutOptions, LeftOut, Listing
from asgmcli.prepare.datasets.stored_flow import FLOW_OPTIONS, choose_flow

TITLE = "your own clips with masks for segmentation: a folder a clip"
ROOT_HELP = """\
Expected for segmentation: a folder a clip, in folders train, val, test where the split is fixed. In it
  - one video, of which a frame a second is taken (at 15/16 of it), with its sound and its optical flow; or frames/ with
    pictures (.png, .jpg) in order of name, one a second, and sound.wav;
  - masks/K.png of any of its frames, K from 1: white is what sounds. A clip without masks is trained on without.
Any number of frames, any size: squeezed to 224x224."""
MISSING_IS_BAD = True
OPTIONS = (*FLOW_OPTIONS, *DRAWN_SPLITS)
PICTURES = frozenset((".png", ".jpg", ".jpeg"))


def find(root: Path, options: LayoutOptions) -> Listing:
    """List the clips below `root`.

    Raises:
        DataError: no clip, or flow that cannot be made.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder.\n{ROOT_HELP}")
    left_out: list[LeftOut] = []
    plans: dict[str, tuple[Plan, str]] = {}
    for folder, split in _folders(root):
        plan = _plan(folder, options)
        if plan is None:
            left_out.append(LeftOut(folder.name, str(folder), "not_a_clip", "neither one video nor frames/"))
        elif folder.name in plans:
            left_out.append(LeftOut(folder.name, str(folder), "duplicate_id", "another folder has this name"))
        else:
            plans[folder.name] = (plan, split)
    if not plans:
        raise DataError(f"{root}: no clip here.\n{ROOT_HELP}")
    videos = any(plan.video for plan, _ in plans.values())
    flow, note = choose_flow(options, False, videos)
    found = {}
    for name, (plan, split) in plans.items():
        whole = replace(plan, flow=flow if plan.video else "none")
        found[name] = (candidate_of(name, whole, "", split), whole)
    notes = [note] if note else []
    listing = Listing([], [], left_out, notes=notes, shares=options.shares, seed=options.seed)
    return listing_of(found, [], options.out.absolute(), flow, float(options.own["flow_bound"]), listing)


def _folders(root: Path) -> list[tuple[Path, str]]:
    """Return the clips' folders and their splits, "" where these are to be drawn."""
    inner = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    fixed = [(folder, SPLIT_WORDS[folder.name.lower()]) for folder in inner if folder.name.lower() in SPLIT_WORDS]
    if not fixed:
        return [(folder, "") for folder in inner]
    return [(clip, split) for folder, split in fixed for clip in sorted(folder.iterdir()) if clip.is_dir()]


def _plan(folder: Path, options: LayoutOptions) -> Plan | None:
    """Return what a clip's folder holds; None where it is none."""
    videos = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    frames = folder / "frames"
    pictures = sorted(path for path in frames.iterdir() if path.suffix.lower() in PICTURES) if frames.is_dir() else []
    sound = folder / "sound.wav"
    masks = _masks(folder / "masks")
    if pictures:
        own = str(sound) if sound.exists() else ""
        return plan_of(options, images=tuple(map(str, pictures)), masks=masks, sound=own, squeeze=True)
    if len(videos) != 1:
        return None
    heard = str(sound) if sound.exists() else str(videos[0])
    return plan_of(options, masks=masks, video=str(videos[0]), sound=heard, squeeze=True)


def _masks(folder: Path) -> tuple[str, ...]:
    """Return mask files by frame, "" where one has none: 3.png is the third frame's.

    Raises:
        DataError: a picture whose name is no number from 1.
    """
    if not folder.is_dir():
        return ()
    found: dict[int, str] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in PICTURES:
            continue
        if not path.stem.isdigit() or int(path.stem) < 1:
            raise DataError(f"{path}: a mask is named by its frame's number, from 1: 1.png, 2.png")
        found[int(path.stem)] = str(path)
    return tuple(found.get(number, "") for number in range(1, max(found, default=0) + 1))
