"""Flickr-SoundNet (Senocak et al., CVPR 2018): pictures with sound; boxes of several annotators for the test pairs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from asgmcli.data.boxes import BOXES_NAME
from asgmcli.errors import DataError
from asgmcli.prepare.datasets.listing import LayoutOptions, Listing
from asgmcli.prepare.datasets.pairs import ID_LISTS, Box, boxes_csv, find_pairs, read_ids

TITLE = "Flickr-SoundNet: pictures with sound for the localizer, test pairs with boxes"
ROOT_HELP = """\
Expected for flickr_soundnet: pictures (frames/ID.jpg), sounds (audio/ID.wav) and the boxes (Annotations/ID.xml), each
anywhere under --root; without pictures, videos of the same name. Pairs with boxes are the test split, all others train;
--list train=FILE and --list test=FILE, one id a line, choose among them (10k, 144k; the 250 of the papers). 5,000 pairs
have boxes; 144,000 pairs with 20 s of sound at 16 kHz take about 100 GB. Boxes and videos are published at
https://github.com/ardasnck/learning_to_localize_sound_source and http://soundnet.csail.mit.edu"""
MISSING_IS_BAD = False
OPTIONS = (ID_LISTS,)
SIDE = 256  # pixels: the boxes were drawn on pictures of this width and height


def find(root: Path, options: LayoutOptions) -> Listing:
    """List the pairs on disk, and the boxes of those that have an annotation.

    Raises:
        DataError: nothing there, or an annotation that cannot be understood.
    """
    files = {file.stem: file for file in sorted(root.rglob("*.xml"))}
    chosen = read_ids(options)
    splits = {name: split for split in ("train", "val") for name in chosen.get(split, ())}
    splits |= dict.fromkeys(chosen.get("test", files), "test")
    # An annotated pair that the test list leaves out is no training pair unless a list says so.
    pairs, left_out = find_pairs(root, splits, {}, held_back=files, others="" if "train" in chosen else "train")
    if not pairs:
        raise DataError(f"No pair of picture and sound under {root}.\n{ROOT_HELP}")
    boxes = {pair.id: read_boxes(files[pair.id]) for pair in pairs if pair.split == "test" and pair.id in files}
    return Listing(pairs, [], left_out, files={BOXES_NAME: partial(boxes_csv, boxes)})


def read_boxes(file: Path) -> list[Box]:
    """Return every annotator's boxes of one picture.

    Each child of the root is one annotator's; its `bbox` elements hold a label and xmin, ymin, xmax, ymax in pixels of
    the 256 x 256 picture.

    Raises:
        DataError: not XML, or a box that is not four numbers.
    """
    try:
        root = ElementTree.parse(file).getroot()
        boxes: list[Box] = []
        for person, child in enumerate(root, start=1):
            for element in child.iter("bbox"):
                corners = [float(part.text or "") / SIDE for part in element if part.tag != "label"][-4:]
                x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in corners)
                boxes.append(Box(x1, y1, x2, y2, person))
        return boxes
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{file} is not an annotation of Flickr-SoundNet ({error}); fetch it again.") from None
