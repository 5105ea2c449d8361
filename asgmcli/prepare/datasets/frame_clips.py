"""Check and cut clips that are frames with masks: what AVSBench's data sets and one's own share.

A clip's plan is JSON that its check reads in a process of its own: which files there should be, and what is made of a
video (pictures, sound, flow). What is made is written whole or not at all, so that a stopped preparation goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from asgmcli.data.frames import FRAMES_NAME, FrameRow, frames_text, mask_array, read_picture
from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.errors import AsgmError, InstallError, MediaError
from asgmcli.files import replacing
from asgmcli.media.probe import probe
from asgmcli.media.video import read_clip
from asgmcli.prepare.datasets.frame_plan import SIZE, Array, Plan, Unusable, squeezed, taken_at
from asgmcli.prepare.datasets.listing import Candidate, Listing
from asgmcli.prepare.datasets.stored_flow import flow_file, make_flow
from asgmcli.prepare.verify import Facts, Fault, FileCheck

SOUND_SECONDS = 0.975  # a window of VGGish: 15,600 samples
RATE = 16_000
FRAMES, MASKS, SOUND = "frames", "masks", "sound"


def examine_frames(task: FileCheck) -> Facts | Fault:
    """Check a clip of frames, and make of its video what is missing. Never raises for anything a file may hold."""
    plan = Plan.read(task.more[0])
    try:
        return _examine(task, plan)
    except Unusable as error:
        return Fault(error.reason, error.detail)
    except InstallError:
        raise
    except AsgmError as error:
        return Fault("unreadable", error.message)
    except OSError as error:
        return Fault("unreadable", f"{error.filename or task.path}: {error.strerror or error}")


def _examine(task: FileCheck, plan: Plan) -> Facts | Fault:
    if plan.squeeze:
        plan = _squeezed_plan(task.id, plan)
    images = [Path(name) for name in plan.images]
    if not images:
        images = _cut(task.id, plan)
    gone = next((path for path in images if not path.exists()), None)
    if gone is not None:
        raise Unusable("missing_frame", f"{gone} is not there")
    pictures = [_picture(path) for path in images]
    height, width = pictures[0].shape[:2]
    pairs = zip(images, pictures, strict=True)
    odd = next((path for path, picture in pairs if picture.shape[:2] != (height, width)), None)
    if odd is not None:
        raise Unusable("wrong_size", f"{odd}: another size than the clip's first frame, {width}x{height}")
    empty = _check_masks(plan, (height, width))
    _check_sound(task.id, plan)
    make_flow(task.id, plan, len(images), (height, width))
    digest = hashlib.blake2b(digest_size=16)
    for picture in pictures:
        digest.update(np.ascontiguousarray(picture).tobytes())
    note = f"no pixel in mask {', '.join(map(str, empty))}" if empty and plan.empty_is_odd else ""
    count = len(images)
    return Facts(float(count), 1.0, count, width, height, bool(plan.sound), None, digest.hexdigest(), note)


def _picture(path: Path) -> Array:
    try:
        return read_picture(path)
    except MediaError as error:
        raise Unusable("broken_png", error.message) from None


def _check_masks(plan: Plan, size: tuple[int, int]) -> list[int]:
    """See that masks are there and fit; return the numbers (from 1) of those without a pixel."""
    empty = []
    for place, name in enumerate(plan.masks):
        path = Path(name)
        if not name or not path.exists():
            if place in plan.needed:
                raise Unusable("missing_mask", f"{name or 'a mask'} of frame {place + 1} is not there")
            continue
        try:
            mask = mask_array(path)
        except MediaError as error:
            raise Unusable("broken_png", error.message) from None
        if mask.shape != size:
            height, width = mask.shape
            raise Unusable("wrong_size", f"{path}: {width}x{height}, its frame {size[1]}x{size[0]}")
        if not mask.any():
            empty.append(place + 1)
    return empty


def _check_sound(clip: str, plan: Plan) -> None:
    if not plan.sound:
        raise Unusable("no_audio", "neither a log-mel, nor a .wav, nor a video with sound")
    if plan.sound.endswith(".pkl"):
        from asgmcli.data.pickled import BadLogMel, RefusedPickle, read_logmel

        try:
            read_logmel(plan.sound)
        except RefusedPickle as error:
            raise Unusable("refused_pickle", error.message) from None
        except BadLogMel as error:
            raise Unusable("bad_logmel", error.message) from None
        return
    if not probe(plan.sound).audio_rate:
        raise Unusable("no_audio", f"{plan.sound}: holds no sound")
    if plan.sound_at is not None:
        _cut_sound(Path(plan.out) / SOUND / f"{clip}.npy", Path(plan.sound), plan.sound_at)


def _cut_sound(target: Path, source: Path, start: float) -> None:
    """Write a window of sound as int16 [15600] at 16 kHz, which `read_audio` reads."""
    if target.exists():
        return
    from asgmcli.media.audio import read_audio

    wave = read_audio(source, RATE, max(start, 0.0), SOUND_SECONDS)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.save(file, (np.clip(wave, -1, 1) * 32767).round().astype(np.int16))


def _squeezed_plan(clip: str, plan: Plan) -> Plan:
    """Write a clip's pictures and masks squeezed into the data set; return the plan of what was written."""
    out = Path(plan.out)
    pictures = [_picture(Path(name)) for name in plan.images]
    if plan.images:
        images = cut_names(out, clip, len(pictures))
        for target, picture in zip(images, pictures, strict=True):
            _write_png(target, squeezed(picture))
        sizes = [picture.shape[:2] for picture in pictures]
    else:
        images = _cut(clip, plan)
        info = probe(plan.video)
        sizes = [(info.height, info.width)] * len(images)
    if len(plan.masks) > len(images):
        raise Unusable("missing_frame", f"mask {len(plan.masks)} is of no frame: the clip has {len(images)}")
    masks = []
    for place, name in enumerate(plan.masks):
        masks.append(str(_squeeze_mask(out, clip, place, Path(name), sizes[place])) if name else "")
    return replace(plan, images=tuple(map(str, images)), masks=tuple(masks))


def _squeeze_mask(out: Path, clip: str, place: int, path: Path, size: tuple[int, ...]) -> Path:
    try:
        mask = mask_array(path)
    except MediaError as error:
        raise Unusable("broken_png", error.message) from None
    if mask.shape not in (tuple(size), (SIZE, SIZE)):
        height, width = mask.shape
        raise Unusable("wrong_size", f"{path}: {width}x{height}, its frame {size[1]}x{size[0]}")
    target = mask_names(out, clip, place + 1)[place]
    _write_png(target, np.asarray(Image.fromarray(mask).resize((SIZE, SIZE), Image.Resampling.NEAREST)))
    return target


def _write_png(target: Path, picture: Array) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        Image.fromarray(picture).save(temporary, format="png")


def mask_names(out: Path, clip: str, count: int) -> list[Path]:
    """Return the files of a clip's masks that are written squeezed, numbered from 1."""
    return [out / MASKS / f"{clip}_{number + 1}.png" for number in range(count)]


def cut_names(out: Path, clip: str, count: int) -> list[Path]:
    """Return the files of a clip's pictures that are cut from its video, numbered from 1."""
    return [out / FRAMES / f"{clip}_{number + 1}.png" for number in range(count)]


def _cut(clip: str, plan: Plan) -> list[Path]:
    """Return the pictures of a video, written as PNG of 224x224 unless they are there."""
    info = probe(plan.video)
    seconds = taken_at(info.duration) if plan.seconds is None else plan.seconds
    names = cut_names(Path(plan.out), clip, len(seconds))
    if not all(name.exists() for name in names):
        indices = [min(int(second * round(info.fps)), max(info.frames - 1, 0)) for second in seconds]
        for name, frame in zip(names, read_clip(plan.video, indices), strict=True):
            _write_png(name, squeezed(frame))
    return names


def listing_of(
    clips: Mapping[str, tuple[Candidate, Plan]],
    classes: Sequence[str],
    out: Path,
    flow: str,
    bound: float,
    listing: Listing,
) -> Listing:
    """Complete a listing of such clips: candidates with their plans, frames.csv, the summary's entry on flow."""
    from asgmcli.prepare.selection import relative

    def path(name: str | Path) -> str:
        return relative(Path(name), out) if str(name) else ""

    def rows_of(row: ManifestRow) -> list[FrameRow]:
        plan = clips[row.id][1]
        named = [Path(name) for name in plan.images] if not plan.squeeze else []
        images = named or cut_names(out, row.id, row.frames)
        made = flow_file(out, row.id)
        moved = path(made) if plan.flow != "none" and made.exists() else ""
        own: list[Path] = mask_names(out, row.id, len(images)) if plan.squeeze else [Path(name) for name in plan.masks]
        pairs = zip(own, plan.masks, strict=False)
        there = [str(name) if given and name.exists() else "" for name, given in pairs]
        masks = [*there, *[""] * (len(images) - len(there))]
        return [
            FrameRow(place + 1, path(image), path(mask), moved, place)
            for place, (image, mask) in enumerate(zip(images, masks, strict=False))
        ]

    def frames(rows: Sequence[ManifestRow]) -> str:
        return frames_text({row.id: rows_of(row) for row in rows}, [row.id for row in rows])

    def finish(manifest: Manifest, say: Callable[[str], None]) -> dict[str, object]:
        rows = manifest.rows
        known = sum(flow_file(out, row.id).exists() for row in rows) if flow != "none" else 0
        size = None if flow == "released" else bound
        if flow != "none" and known < len(rows):
            say(f"{len(rows) - known} of {len(rows)} clips have no optical flow: no video, so no motion.")
        return {"flow": {"kind": flow, "bound": size, "clips": known, "without": len(rows) - known}}

    listing.candidates = [candidate for candidate, _ in clips.values()]
    listing.classes = list(classes)
    listing.files[FRAMES_NAME] = frames
    listing.examine = examine_frames
    listing.finish = finish
    return listing


def candidate_of(clip: str, plan: Plan, label: str, split: str, note: str = "") -> Candidate:
    """Return the candidate of a clip: its path is its first picture, or the video that pictures are cut from."""
    path = Path(plan.images[0] if plan.images else plan.video)
    sound: Path | None = Path(plan.sound) if plan.sound else None
    if plan.sound_at is not None:
        sound = Path(plan.out) / SOUND / f"{clip}.npy"
    return Candidate(clip, path, label, split, sound, note=note, more=(plan.text(), *plan.files))
