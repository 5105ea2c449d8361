"""AVSBench-object, single source (S4): five frames a clip, the first labelled in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from asgmcli.data.size import Size
from asgmcli.prepare.datasets.avsbench import (
    FRAMES,
    folder_of,
    plan_of,
    read_list,
    released_flow,
    sound_of,
)
from asgmcli.prepare.datasets.frame_clips import candidate_of, listing_of
from asgmcli.prepare.datasets.listing import LayoutOptions, Listing
from asgmcli.prepare.datasets.stored_flow import FLOW_OPTIONS, choose_flow

TITLE = "AVSBench single source (S4): 4,932 clips of five frames, masks of what sounds, 23 categories"
ROOT_HELP = """\
Expected for avsbench_s4: --root holds Single-source/ with s4_meta_data.csv and s4_data/{visual_frames, gt_masks,
audio_log_mel or audio_wav, raw_videos, S4_flows}/split/category/... as its authors hand it out on request:
https://github.com/OpenNLPLab/AVSBench. Raw videos are often absent; without them and without released flow
(S4_flows, of UFE) rows without neighbouring frames still train: --flow none."""
MISSING_IS_BAD = True
OPTIONS = FLOW_OPTIONS
SIZE = Size(23, {"train": 3452, "val": 740, "test": 740}, "AVSBench's list")
LIST = "s4_meta_data.csv"


def find(root: Path, options: LayoutOptions) -> Listing:
    """List the clips of the official list.

    Raises:
        DataError: no list, or flow that cannot be made.
    """
    folder = folder_of(root, "Single-source", ROOT_HELP)
    data, clips = folder / "s4_data", {}
    classes = set()
    for entry in read_list(folder / LIST, ("name", "start", "category", "split")):
        name, label, split = entry["name"], entry["category"], entry["split"]
        classes.add(label)
        inner = Path(split) / label
        numbers = range(1, FRAMES + 1)
        files = [f"{name}/{name}_{number}.png" for number in numbers]
        video = data / "raw_videos" / inner / f"{name}.mp4"
        plan = plan_of(
            options,
            images=tuple(str(data / "visual_frames" / inner / file) for file in files),
            masks=tuple(str(data / "gt_masks" / inner / file) for file in files),
            needed=(0,) if split == "train" else tuple(range(FRAMES)),
            video=str(video) if video.exists() else "",
            sound=sound_of(
                [
                    data / "audio_log_mel" / inner / f"{name}.pkl",
                    data / "audio_wav" / inner / f"{name}.wav",
                    video,
                ]
            ),
            released=released_flow(data / "S4_flows", [str(inner / file) for file in files]),
            empty_is_odd=True,
        )
        clips[name] = (plan, label, split)
    complete = all(Path(file).exists() for plan, _, _ in clips.values() for pair in plan.released for file in pair)
    videos = any(plan.video for plan, _, _ in clips.values())
    flow, note = choose_flow(options, complete and bool(clips), videos)
    whole = {
        name: replace(plan, flow=flow, released=plan.released if flow == "released" else ())
        for name, (plan, _, _) in clips.items()
    }
    found = {name: (candidate_of(name, whole[name], *clips[name][1:]), whole[name]) for name in clips}
    listing = Listing([], [], notes=[note] if note else [])
    bound = float(options.own["flow_bound"])
    return listing_of(found, sorted(classes), options.out.absolute(), flow, bound, listing)
