"""Each data set's listing on a tiny tree in exactly the layout its owners distribute."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgmcli.data.manifest import ManifestRow, write_manifest
from asgmcli.errors import DataError
from asgmcli.prepare.datasets import DATASETS, folder, kinetics400, ucf51, vggsound
from asgmcli.prepare.datasets.listing import LayoutOptions, Listing
from asgmcli.prepare.datasets.lists import split_line, write_lists


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def found(listing: Listing, root: Path) -> dict[str, tuple[str, str, str]]:
    return {clip.id: (clip.path.relative_to(root).as_posix(), clip.label, clip.split) for clip in listing.candidates}


def left(listing: Listing) -> dict[str, str]:
    return {entry.id: entry.reason for entry in listing.left_out}


def test_every_data_set_says_what_it_expects() -> None:
    for name, module in DATASETS.items():
        assert module.TITLE
        own = name in ("folder", "events", "parsing", "segmentation")  # a user's
        assert own or ("Expected for" in module.ROOT_HELP and "https://" in module.ROOT_HELP)
        assert len(module.ROOT_HELP) > 80
        assert isinstance(module.MISSING_IS_BAD, bool)


UCF_NAMES = {
    "UCF-101/Archery/v_Archery_g01_c01.avi",
    "UCF-101/Archery/v_Archery_g08_c01.avi",
    "UCF-101/HandstandPushups/v_HandStandPushups_g08_c02.avi",
    "UCF-101/Billiards/v_Billiards_g08_c01.avi",
    "UCF-101/Typing/v_Typing_g30_c01.avi",
}


def ucf_tree(root: Path) -> None:
    touch(root, *UCF_NAMES)
    lists = root / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("3 Archery\r\n12 Billiards\r\n37 HandstandPushups\r\n95 Typing\r\n")
    (lists / "trainlist01.txt").write_text(
        "Archery/v_Archery_g08_c01.avi 3\r\nHandstandPushups/v_HandStandPushups_g08_c02.avi 37\r\n"
        "Billiards/v_Billiards_g08_c01.avi 12\r\nTyping/v_Typing_g08_c01.avi 95\r\n"
    )
    (lists / "testlist01.txt").write_text("Archery/v_Archery_g01_c01.avi\r\n")
    (lists / "trainlist02.txt").write_text("Archery/v_Archery_g01_c01.avi 3\n")
    (lists / "testlist02.txt").write_text("Archery/v_Archery_g08_c01.avi\n")


def test_ucf51_takes_the_classes_with_sound_of_the_official_split(tmp_path: Path) -> None:
    ucf_tree(tmp_path)
    listing = ucf51.find(tmp_path, LayoutOptions())
    assert found(listing, tmp_path) == {
        "v_Archery_g08_c01": ("UCF-101/Archery/v_Archery_g08_c01.avi", "Archery", "train"),
        "v_HandStandPushups_g08_c02": (
            "UCF-101/HandstandPushups/v_HandStandPushups_g08_c02.avi",
            "HandstandPushups",
            "train",
        ),
        "v_Archery_g01_c01": ("UCF-101/Archery/v_Archery_g01_c01.avi", "Archery", "test"),
    }
    assert left(listing) == {
        "v_Typing_g08_c01": "missing",
        "v_Billiards_g08_c01": "other_class",
        "v_Typing_g30_c01": "not_listed",
    }
    assert listing.classes == sorted(ucf51.CLASSES)
    assert len(set(ucf51.CLASSES)) == 51
    assert listing.official == {
        ("test", "Archery"): 1,
        ("train", "Archery"): 1,
        ("train", "HandstandPushups"): 1,
        ("train", "Typing"): 1,
    }
    other = {clip.id: clip.split for clip in ucf51.find(tmp_path, LayoutOptions(own={"fold": 2})).candidates}
    assert other == {"v_Archery_g01_c01": "train", "v_Archery_g08_c01": "test"}


K400_HEADER = "label,youtube_id,time_start,time_end,split\n"


def test_kinetics_class_folders_with_spaces_or_underscores(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "train/playing drums/-_aaaaaaaaa_000001_000011.mp4",
        "train/shaking_hands/bbbbbbbbbbb_000123_000133.mp4",
        "val/playing drums/ccccccccccc_000002_000012.mp4",
        "train/playing drums/unlisted000_000000_000010.mp4",
        "replacement/shaking hands/bbbbbbbbbbb_000123_000133.mp4",
    )
    (tmp_path / "train.csv").write_text(
        K400_HEADER + "playing drums,-_aaaaaaaaa,1,11,train\nshaking hands,bbbbbbbbbbb,123,133,train\n"
        "shaking hands,gone0000000,5,15,train\n"
    )
    (tmp_path / "validate.csv").write_text(K400_HEADER + "playing drums,ccccccccccc,2,12,validate\n")
    listing = kinetics400.find(tmp_path, LayoutOptions())
    assert found(listing, tmp_path) == {
        "-_aaaaaaaaa_000001_000011": ("train/playing drums/-_aaaaaaaaa_000001_000011.mp4", "playing drums", "train"),
        "bbbbbbbbbbb_000123_000133": ("train/shaking_hands/bbbbbbbbbbb_000123_000133.mp4", "shaking hands", "train"),
        "ccccccccccc_000002_000012": ("val/playing drums/ccccccccccc_000002_000012.mp4", "playing drums", "test"),
    }
    assert left(listing) == {
        "gone0000000_000005_000015": "missing",
        "unlisted000_000000_000010": "not_listed",
        "bbbbbbbbbbb_000123_000133": "duplicate_id",
    }
    assert listing.classes == ["playing drums", "shaking hands"]
    assert listing.official["train", "shaking hands"] == 2
    assert {clip.seconds for clip in listing.candidates} == {10.0}


def test_kinetics_cvdf_layout_and_its_official_test_split(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "train/aaaaaaaaaaa_000001_000011.mp4",
        "val/bbbbbbbbbbb_000123_000133.mp4",
        "test/ccccccccccc_000002_000012.mp4",
    )
    lists = tmp_path / "annotations"
    lists.mkdir()
    for name, clip in (("train", "aaaaaaaaaaa,1,11"), ("val", "bbbbbbbbbbb,123,133"), ("test", "ccccccccccc,2,12")):
        (lists / f"{name}.csv").write_text(K400_HEADER + f"playing drums,{clip},{name}\n")
    listing = kinetics400.find(tmp_path, LayoutOptions())
    assert left(listing) == {"ccccccccccc_000002_000012": "other_split"}
    as_papers = {clip.id[0]: clip.split for clip in listing.candidates}
    assert as_papers == {"a": "train", "b": "test"}
    official = {
        clip.id[0]: clip.split
        for clip in kinetics400.find(tmp_path, LayoutOptions(own={"test_from": "test"})).candidates
    }
    assert official == {"a": "train", "b": "val", "c": "test"}


def test_a_clip_listed_in_train_and_test_is_a_test_clip(tmp_path: Path) -> None:
    touch(tmp_path, "aaaaaaaaaaa_000001_000011.mp4")
    (tmp_path / "train.csv").write_text(K400_HEADER + "playing drums,aaaaaaaaaaa,1,11,train\n")
    (tmp_path / "val.csv").write_text(K400_HEADER + "playing drums,aaaaaaaaaaa,1,11,val\n")
    splits = [clip.split for clip in kinetics400.find(tmp_path, LayoutOptions()).candidates]
    assert splits == ["test", "train"]


def test_vggsound_reads_labels_with_commas(tmp_path: Path) -> None:
    touch(tmp_path, "video/--0PQM4-hqg_000030.mp4", "video/--56QUhyDQM_000185.mp4")
    (tmp_path / "vggsound.csv").write_text(
        '--0PQM4-hqg,30,"waterfall burbling, flowing",train\n--56QUhyDQM,185,playing tennis,train\n'
        "--5OkAjCI7g,40,people belly laughing,test\n"
    )
    listing = vggsound.find(tmp_path, LayoutOptions())
    assert found(listing, tmp_path) == {
        "--0PQM4-hqg_000030": ("video/--0PQM4-hqg_000030.mp4", "waterfall burbling, flowing", "train"),
        "--56QUhyDQM_000185": ("video/--56QUhyDQM_000185.mp4", "playing tennis", "train"),
    }
    assert left(listing) == {"--5OkAjCI7g_000040": "missing"}
    assert listing.classes == ["people belly laughing", "playing tennis", "waterfall burbling, flowing"]


@pytest.mark.parametrize(
    ("module", "part"),
    [
        (ucf51, "UCF101.php"),
        (kinetics400, "cvdfoundation"),
        (vggsound, "vgg/data/vggsound"),
        (folder, "one folder a class"),
    ],
)
def test_an_empty_root_says_what_is_expected_and_where_to_get_it(module: object, part: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=part):
        module.find(tmp_path, LayoutOptions())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("module", "name", "text", "part"),
    [
        (vggsound, "vggsound.csv", "abc,30,waterfall burbling, flowing,train\n", "line 1"),
        (kinetics400, "train.csv", "label,youtube_id,start\nx,y,1\n", "no column time_start, time_end"),
        (kinetics400, "train.csv", K400_HEADER + "x,y,one,11,train\n", "line 2"),
    ],
)
def test_lists_that_cannot_be_understood_are_named(
    module: object, name: str, text: str, part: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=part):
        module.find(tmp_path, LayoutOptions())  # type: ignore[attr-defined]


def test_folder_with_split_folders_keeps_the_splits(tmp_path: Path) -> None:
    touch(tmp_path, "training/dog/a.mp4", "validation/dog/b.mp4", "test/cat/deep/c.avi", "test/loose.mp4")
    listing = folder.find(tmp_path, LayoutOptions())
    assert found(listing, tmp_path) == {
        "training/dog/a.mp4": ("training/dog/a.mp4", "dog", "train"),
        "validation/dog/b.mp4": ("validation/dog/b.mp4", "dog", "val"),
        "test/cat/deep/c.avi": ("test/cat/deep/c.avi", "cat", "test"),
        "test/loose.mp4": ("test/loose.mp4", "", "test"),
    }


def test_a_linked_folder_that_leads_back_is_walked_once(tmp_path: Path) -> None:
    touch(tmp_path, "dog/a.mp4")
    (tmp_path / "dog/again").symlink_to(tmp_path)
    assert list(found(folder.find(tmp_path, LayoutOptions()), tmp_path)) == ["dog/a.mp4"]


def test_a_csv_with_labels_splits_and_unlabelled_clips(tmp_path: Path) -> None:
    touch(tmp_path, "clips/a.mp4", "clips/b.mp4", "clips/c, d.mp4")
    file = tmp_path / "labels.csv"
    file.write_text(
        f'\ufeffPath,Label,Split\nclips/a.mp4,dog,training\n{tmp_path}/clips/b.mp4,,\n"clips/c, d.mp4",cat,test\n'
        "clips/gone.mp4,dog,train\n",
        encoding="utf-8",
    )
    listing = folder.find(file, LayoutOptions())
    assert found(listing, tmp_path) == {
        "clips/a.mp4": ("clips/a.mp4", "dog", "train"),
        f"{tmp_path}/clips/b.mp4"[1:]: ("clips/b.mp4", "", "train"),  # files named after it lie below a folder
        "clips/c, d.mp4": ("clips/c, d.mp4", "cat", "test"),
    }
    assert left(listing) == {"clips/gone.mp4": "missing"}
    file.write_text("path,label,split\n,dog,train\nclips/a.mp4,dog,tset\n")
    with pytest.raises(DataError, match=r"line 2: the path is empty[\s\S]*line 3: split 'tset'"):
        folder.find(file, LayoutOptions())
    file.write_text("name,kind\na,b\n")
    with pytest.raises(DataError, match="must name the columns path and label"):
        folder.find(file, LayoutOptions())


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("dir/a.mp4 3", ("dir/a.mp4", "3")),
        ("dir/my clip.mp4 3\n", ("dir/my clip.mp4", "3")),
        ("dir/my clip.mp4\tplaying drums", ("dir/my clip.mp4", "playing drums")),
        ("dir/a.mp4,dog", ("dir/a.mp4", "dog")),
        ("dir/a.mp4 -1", ("dir/a.mp4", "")),
        ("dir/a.mp4", ("dir/a.mp4", "")),
        ("dir/my clip.mp4", ("dir/my clip.mp4", "")),
    ],
)
def test_lines_of_list_files(line: str, parts: tuple[str, str]) -> None:
    assert split_line(line) == parts


def test_list_files_come_in_and_go_out(tmp_path: Path) -> None:
    touch(tmp_path, "v/a.mp4", "v/b c.mp4", "v/d.mp4")
    (tmp_path / "train.txt").write_text("v/a.mp4 10\nv/b c.mp4 2\nv/gone.mp4 2\n")
    (tmp_path / "test.txt").write_text("v/d.mp4 10\n")
    lists = (("train", tmp_path / "train.txt"), ("test", tmp_path / "test.txt"))
    listing = folder.find(tmp_path, LayoutOptions(lists=lists))
    assert found(listing, tmp_path) == {
        "v/a.mp4": ("v/a.mp4", "10", "train"),
        "v/b c.mp4": ("v/b c.mp4", "2", "train"),
        "v/d.mp4": ("v/d.mp4", "10", "test"),
    }
    assert listing.classes == ["2", "10"]
    assert left(listing) == {"v/gone.mp4": "missing"}
    names = tmp_path / "classInd.txt"
    names.write_text("".join(f"{number + 1} kind{number}\n" for number in range(11)))
    named = folder.find(tmp_path, LayoutOptions(lists=lists, classes=names))
    assert [clip.label for clip in named.candidates] == ["kind10", "kind2", "kind10"]
    assert named.classes[10] == "kind10"

    rows = [
        ManifestRow(clip.id, str(clip.path), clip.label, clip.split, 1, 8, 8, 8, 8, "", "") for clip in named.candidates
    ]
    rows.append(ManifestRow("u", "v/u.mp4", "", "train", 1, 8, 8, 8, 8, "", ""))
    manifest = write_manifest(tmp_path, rows, named.classes)
    out = tmp_path / "out"
    out.mkdir()
    written = write_lists(manifest, out, [manifest.rows[1]])
    assert [path.name for path in written] == ["train.txt", "test.txt", "train_labeled.txt", "train_unlabeled.txt"]
    assert (out / "train.txt").read_text() == f"{tmp_path}/v/a.mp4 10\n{tmp_path}/v/b c.mp4 2\n{tmp_path}/v/u.mp4 -1\n"
    assert (out / "train_labeled.txt").read_text() == f"{tmp_path}/v/b c.mp4 2\n"
    again = folder.find(tmp_path, LayoutOptions(lists=(("train", out / "train.txt"),), classes=names))
    assert [(clip.label, clip.path.name) for clip in again.candidates] == [("kind10", "a.mp4"), ("kind2", "b c.mp4")]


def test_a_number_beyond_the_class_names_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "train.txt").write_text("a.mp4 2\n")
    (tmp_path / "names.txt").write_text("dog\ncat\n")
    options = LayoutOptions(lists=(("train", tmp_path / "train.txt"),), classes=tmp_path / "names.txt")
    with pytest.raises(DataError, match="line 1: label '2'"):
        folder.find(tmp_path, options)
