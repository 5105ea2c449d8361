"""AVSBench-object, several sources (MS3): five labelled frames a clip; distant frames of VGGSound beside them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from asgmcli.data.manifest import read_manifest
from asgmcli.data.size import Size
from asgmcli.data.split import hashed
from asgmcli.errors import DataError
from asgmcli.files import read_text
from asgmcli.media.probe import probe
from asgmcli.prepare.datasets.avsbench import (
    FRAMES,
    folder_of,
    plan_of,
    read_list,
    released_flow,
    sound_of,
    youtube_id,
)
from asgmcli.prepare.datasets.frame_clips import candidate_of, listing_of
from asgmcli.prepare.datasets.frame_plan import Plan
from asgmcli.prepare.datasets.listing import LayoutOptions, Listing
from asgmcli.prepare.datasets.stored_flow import FLOW_OPTIONS, choose_flow

TITLE = "AVSBench several sources (MS3): 424 clips of five frames, masks of all that sounds"
ROOT_HELP = """\
Expected for avsbench_ms3: --root holds Multi-sources/ with ms3_meta_data.csv and ms3_data/{visual_frames, gt_masks,
audio_log_mel or audio_wav, raw_videos, MS3_flows} as its authors hand it out on request:
https://github.com/OpenNLPLab/AVSBench. Distant frames for UFE come from a prepared VGGSound: --distant MANIFEST;
the paper's own list of 12,990 clips is not public, --distant-list takes one."""
MISSING_IS_BAD = True
OPTIONS = (
    *FLOW_OPTIONS,
    click.Option(
        ["--distant"],
        type=click.Path(path_type=Path),
        help="Manifest of VGGSound, whose training clips of S4's categories give distant frames.",
    ),
    click.Option(
        ["--distant-list"],
        type=click.Path(path_type=Path),
        help="With --distant: names of the clips to take, .txt (one a line) or .json (a list).",
    ),
)
SIZE = Size(0, {"train": 296, "val": 64, "test": 64}, "AVSBench's list")
LIST = "ms3_meta_data.csv"
DISTANT = 12_990
"""Distant clips of the paper."""
CATEGORIES = (
    "ambulance siren", "baby laughter", "cap gun shooting", "cat meowing", "chainsawing trees", "coyote howling",
    "dog barking", "driving buses", "female singing", "helicopter", "horse clip-clop", "lawn mowing", "lions roaring",
    "male speech", "mynah bird singing", "playing acoustic guitar", "playing glockenspiel", "playing piano",
    "playing tabla", "playing ukulele", "playing violin", "race car", "typing on computer keyboard",
)  # fmt: skip
"""S4's categories, with spaces for its underscores."""
_BEFORE = 0.9375  # s from the begin of a distant frame's sound to its picture


def find(root: Path, options: LayoutOptions) -> Listing:
    """List the clips of the official list, and distant ones where they are asked for.

    Raises:
        DataError: no list, or flow that cannot be made.
    """
    folder = folder_of(root, "Multi-sources", ROOT_HELP)
    data, plans, splits = folder / "ms3_data", {}, {}
    for entry in read_list(folder / LIST, ("video_id", "split")):
        name, split = entry["video_id"], entry["split"]
        files = [f"{name}/{name}.mp4_{number}.png" for number in range(1, FRAMES + 1)]
        video = data / "raw_videos" / f"{name}.mp4"
        masks = [f"{name}/{name}_{number}.png" for number in range(1, FRAMES + 1)]
        plans[name] = plan_of(
            options,
            images=tuple(str(data / "visual_frames" / file) for file in files),
            masks=tuple(str(data / "gt_masks" / split / file) for file in masks),
            needed=tuple(range(FRAMES)),
            video=str(video) if video.exists() else "",
            sound=sound_of(
                [data / "audio_log_mel" / split / f"{name}.pkl", data / "audio_wav" / split / f"{name}.wav", video]
            ),
            released=released_flow(data / "MS3_flows", files),
        )
        splits[name] = split
    complete = all(Path(file).exists() for plan in plans.values() for pair in plan.released for file in pair)
    flow, note = choose_flow(options, complete and bool(plans), any(plan.video for plan in plans.values()))
    found = {}
    for name, plan in plans.items():
        whole = replace(plan, flow=flow, released=plan.released if flow == "released" else ())
        found[name] = (candidate_of(name, whole, "", splits[name]), whole)
    notes = [note] if note else []
    if options.own.get("distant") is not None:
        known = {youtube_id(name) for name in plans} | _judged_in_s4(root)
        for name, plan in _distant(options, known, flow, notes).items():
            found[name] = (candidate_of(name, plan, "", "train", "distant"), plan)
    elif options.own.get("distant_list") is not None:
        raise DataError("--distant-list names clips of the manifest that --distant gives: give both.")
    bound = float(options.own["flow_bound"])
    return listing_of(found, [], options.out.absolute(), flow, bound, Listing([], [], notes=notes))


def _judged_in_s4(root: Path) -> set[str]:
    """Return the YouTube ids that S4 validates and tests on, where its list lies beside."""
    path = root / "Single-source" / "s4_meta_data.csv"
    if not path.exists():
        return set()
    entries = read_list(path, ("name", "start", "category", "split"))
    return {youtube_id(entry["name"]) for entry in entries if entry["split"] != "train"}


def _distant(options: LayoutOptions, known: set[str], flow: str, notes: list[str]) -> dict[str, Plan]:
    """Return plans of distant clips: one picture at half of each one's length, the sound before it, its flow."""
    manifest = read_manifest(options.own["distant"])
    rows = [row for row in manifest.of_split("train") if youtube_id(row.id) not in known]
    if options.own.get("distant_list") is not None:
        wanted = _names(options.own["distant_list"])
        rows = [row for row in rows if row.id in wanted]
        notes.append(f"distant frames: {len(rows):,} of the {len(wanted):,} listed clips are there")
    else:
        without = [name for name in CATEGORIES if name not in manifest.classes]
        if without:
            notes.append(f"distant frames: VGGSound has no class {', '.join(without)}")
        rows = [row for row in rows if row.label in CATEGORIES]
        rows = sorted(rows, key=lambda row: hashed(options.seed, row.id))[:DISTANT]
        if len(rows) < DISTANT:
            notes.append(f"distant frames: {len(rows):,} clips of S4's categories, all there are (paper: {DISTANT:,})")
    moved = "farneback" if flow == "released" else flow
    plans = {}
    for row in rows:
        middle = row.duration / 2 if row.duration else probe(manifest.resolve(row)).duration / 2
        video, audio = manifest.resolve(row), manifest.resolve_audio(row)
        plans[row.id] = plan_of(
            options,
            video=str(video.absolute()),
            seconds=(middle,),
            sound="" if audio is None else str(audio.absolute()),
            sound_at=middle - _BEFORE,
            flow=moved,
        )
    return plans


def _names(path: Path) -> set[str]:
    try:
        text = read_text(path)
        names = json.loads(text) if path.suffix == ".json" else text.splitlines()
        return {Path(str(name).strip()).stem for name in names if str(name).strip()}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a list of names ({error})") from None
