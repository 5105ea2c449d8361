"""VGG-SS (Chen et al., CVPR 2021): boxes around what sounds in 5,158 test clips of VGGSound."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from asgmcli.data.boxes import BOXES_NAME
from asgmcli.errors import DataError
from asgmcli.files import read_text
from asgmcli.prepare.datasets import vggsound
from asgmcli.prepare.datasets.listing import LayoutOptions, Listing
from asgmcli.prepare.datasets.pairs import ID_LISTS, Box, boxes_csv, find_pairs, read_ids

TITLE = "VGG-SS: VGGSound pictures with sound for the localizer, test pairs with boxes"
ROOT_HELP = """\
Expected for vggss: vggss.json (file, class, bbox as fractions) and pictures with sounds (frames/ID_000030.jpg and
audio/ID_000030.wav) or VGGSound's clips (ID_000030.mp4), each anywhere under --root. The clips of vggss.json are the
test split; all others train, but those that vggsound.csv, where it is there, calls test; --list train=FILE and --list
test=FILE, one id a line, choose among them (10k, 144k). 5,158 test clips, about 15 GB as clips; published at
https://github.com/hche11/Localizing-Visual-Sounds-the-Hard-Way and https://www.robots.ox.ac.uk/~vgg/data/vggsound/"""
MISSING_IS_BAD = False
OPTIONS = (ID_LISTS,)
LIST_NAME = "vggss.json"


def find(root: Path, options: LayoutOptions) -> Listing:
    """List the pairs on disk, with the boxes and classes of the test clips.

    Raises:
        DataError: no vggss.json, or one that cannot be understood, or no pair.
    """
    places = sorted(root.rglob(LIST_NAME))
    if not places:
        raise DataError(f"No {LIST_NAME} under {root}.\n{ROOT_HELP}")
    labels, boxes = read_annotations(places[0])
    chosen = read_ids(options)
    splits = {name: split for split in ("train", "val") for name in chosen.get(split, ())}
    test = chosen.get("test", list(boxes))
    splits |= dict.fromkeys(test, "test")
    held_back = set(boxes)
    for file in sorted(root.rglob(vggsound.LIST_NAME))[:1]:
        held_back |= {entry.id for entry in vggsound.read_list(file) if entry.split == "test"}
    pairs, left_out = find_pairs(root, splits, labels, held_back, "" if "train" in chosen else "train")
    if not pairs:
        raise DataError(f"No pair of picture and sound, and no clip, under {root}.\n{ROOT_HELP}")
    official: dict[tuple[str, str], int] = {}
    for name in test:
        key = ("test", labels.get(name, ""))
        official[key] = official.get(key, 0) + 1
    kept = {pair.id: boxes[pair.id] for pair in pairs if pair.split == "test" and pair.id in boxes}
    return Listing(
        pairs, sorted(set(labels.values())), left_out, official, files={BOXES_NAME: partial(boxes_csv, kept)}
    )


def read_annotations(file: Path) -> tuple[dict[str, str], dict[str, list[Box]]]:
    """Return class name and boxes by clip id.

    Raises:
        DataError: not a list of objects with file, class and bbox.
    """
    try:
        entries = json.loads(read_text(file))
        labels: dict[str, str] = {}
        boxes: dict[str, list[Box]] = {}
        for entry in entries:
            labels[entry["file"]] = str(entry["class"]).strip()
            clipped = [[min(max(float(value), 0.0), 1.0) for value in box] for box in entry["bbox"]]
            boxes[entry["file"]] = [Box(x1, y1, x2, y2) for x1, y1, x2, y2 in clipped]
        return labels, boxes
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is not VGG-SS's list ({error!r}): file, class, bbox. Fetch it again.") from None
