"""UCF-51: the 51 classes of UCF-101 (Soomro, Zamir and Shah, 2012) whose clips carry sound."""

from __future__ import annotations

from pathlib import Path

import click

from asgmcli.data.size import Size
from asgmcli.errors import DataError
from asgmcli.files import read_text
from asgmcli.prepare.datasets.listing import Entry, LayoutOptions, Listing, match_lists

TITLE = "UCF-101's 51 classes with sound: 4,901 train, 1,944 test clips"
SIZE = Size(51, {"train": 4901, "test": 1944}, "official split 1")
ROOT_HELP = """\
Expected for ucf51: the class folders of UCF-101 (UCF-101/Archery/v_Archery_g01_c01.avi, ...) and the official lists
(ucfTrainTestlist/classInd.txt, trainlist01.txt, testlist01.txt, ...), both anywhere under --root. UCF101.rar holds
13,320 clips in 6.5 GB, UCF101TrainTestSplits-RecognitionTask.zip the lists; its owners publish both at
https://www.crcv.ucf.edu/data/UCF101.php"""
MISSING_IS_BAD = False
OPTIONS = (
    click.Option(["--fold"], type=click.IntRange(1, 3), default=1, show_default=True, help="The official split."),
)
CLASSES = (
    "ApplyEyeMakeup",
    "ApplyLipstick",
    "Archery",
    "BabyCrawling",
    "BalanceBeam",
    "BandMarching",
    "BasketballDunk",
    "BlowDryHair",
    "BlowingCandles",
    "BodyWeightSquats",
    "Bowling",
    "BoxingPunchingBag",
    "BoxingSpeedBag",
    "BrushingTeeth",
    "CliffDiving",
    "CricketBowling",
    "CricketShot",
    "CuttingInKitchen",
    "FieldHockeyPenalty",
    "FloorGymnastics",
    "FrisbeeCatch",
    "FrontCrawl",
    "Haircut",
    "Hammering",
    "HammerThrow",
    "HandstandPushups",
    "HandstandWalking",
    "HeadMassage",
    "IceDancing",
    "Knitting",
    "LongJump",
    "MoppingFloor",
    "ParallelBars",
    "PlayingCello",
    "PlayingDaf",
    "PlayingDhol",
    "PlayingFlute",
    "PlayingSitar",
    "Rafting",
    "ShavingBeard",
    "Shotput",
    "SkyDiving",
    "SoccerPenalty",
    "StillRings",
    "SumoWrestling",
    "Surfing",
    "TableTennisShot",
    "Typing",
    "UnevenBars",
    "WallPushups",
    "WritingOnBoard",
)


def find(root: Path, options: LayoutOptions) -> Listing:
    """List the clips of official split `fold` whose class carries sound.

    Raises:
        DataError: the lists are not there or cannot be understood.
    """
    places = sorted(root.rglob("classInd.txt"))
    if not places:
        raise DataError(f"No classInd.txt under {root}.\n{ROOT_HELP}")
    fold = options.own.get("fold", 1)
    names = {name.lower(): name for name in CLASSES}
    entries: list[Entry] = []
    unused: set[str] = set()
    for split in ("train", "test"):
        file = places[0].with_name(f"{split}list{fold:02d}.txt")
        if not file.is_file():
            raise DataError(f"No {file.name} beside {places[0]}.\n{ROOT_HELP}")
        for number, line in enumerate(read_text(file).splitlines(), start=1):
            if not line.strip():
                continue
            folder, slash, clip = line.split()[0].rpartition("/")
            if not slash:
                raise DataError(f"{file} line {number} reads '{line}', not Class/clip.avi; fetch the lists again.")
            # The lists spell the folder of one class HandstandPushups and its clips HandStandPushups.
            label = names.get(folder.lower())
            stem = Path(clip).stem
            if label is None:
                unused.add(stem)
            else:
                entries.append(Entry(stem, label, split))
    listing = match_lists(root, entries, sorted(CLASSES), frozenset(unused))
    listing.notes.append(f"official split {fold}; the 50 classes without sound are not used")
    tests = sum(entry.split == "test" for entry in entries)
    listing.notes.append(
        f"{tests:,} official test clips are of these classes, where the thesis of ASGM-Former prints 1.4K (its 4.9K "
        "for training agree); it names no smaller list, so all are used"
    )
    return listing
