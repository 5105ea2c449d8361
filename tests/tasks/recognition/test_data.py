"""Which clips train with their label, which without, and what is said of it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from asgmcli.data.manifest import COLUMNS
from asgmcli.errors import DataError
from asgmcli.tasks.recognition.data import RecognitionData, build_data
from tests.tiny_training import tiny, trainer_of


def relabelled(demo: Path, folder: Path, kept: dict[str, int]) -> Path:
    """A manifest of the demo's clips in which the classes of `kept` have so many training labels, others none."""
    folder.mkdir()
    with (demo / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    seen: Counter[str] = Counter()
    for row in rows:
        row["path"], row["audio"] = str(demo / row["path"]), str(demo / row["audio"])
        if row["split"] == "train":
            seen[row["label"]] += 1
            if seen[row["label"]] > kept.get(row["label"], 0):
                row["label"] = ""
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (folder / "classes.txt").write_text((demo / "classes.txt").read_text())
    return folder / "manifest.csv"


def classes_of(demo: Path) -> list[str]:
    return (demo / "classes.txt").read_text().split("\n")[:-1]


def data_of(folder: Path, demo: Path, manifest: Path, row: str | None = None, **changes: object) -> RecognitionData:
    return build_data(tiny(folder, demo, row, data__manifest=str(manifest), **changes))


def test_null_takes_the_labels_that_are_there_uneven_or_not(demo: Path, tmp_path: Path) -> None:
    kept = {name: 1 + number % 3 for number, name in enumerate(classes_of(demo))}  # 1, 2 or 3 of 3 clips
    manifest = relabelled(demo, tmp_path / "mine", kept)
    data = data_of(tmp_path, demo, manifest, data__labeled_per_class=None)
    views = data.train.views
    assert Counter(row.label for row in views.labeled) == kept
    assert len(views.unlabeled) == 30 - sum(kept.values())
    assert not any(row.label for row in views.unlabeled)
    assert data.chance == 3 / sum(kept.values())
    assert data.notes == []


def test_where_no_clip_is_unlabelled_all_serve_as_both(demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, demo, data__labeled_per_class=None, train__epochs=2)
    trainer = trainer_of(recipe, tmp_path / "runs")
    views = trainer.data.train.views
    assert len(views.labeled) == 30
    assert views.unlabeled == views.labeled
    assert trainer.data.steps == 15  # an epoch sees every label, 2 a step
    result = trainer.fit()
    assert (result["data"]["labeled"], result["data"]["unlabeled"]) == (30, 30)
    assert result["notes"] == [
        "No clip in split 'train' is unlabelled: the 30 labelled ones serve as the unlabelled clips as well, without "
        "their labels."
    ]
    assert result["notes"][0] in trainer.console.file.getvalue()  # type: ignore[attr-defined]
    lines = [json.loads(line) for line in trainer.run.metrics_path.read_text().splitlines()]
    assert any("pseudo_share" in line for line in lines)
    # As many labels as there are is the same, said with a number.
    assert build_data(tiny(tmp_path, demo, data__labeled_per_class=3)).notes == result["notes"]


def test_labels_that_are_not_used_are_told_with_how_to_use_them(demo: Path, tmp_path: Path) -> None:
    kept = {name: 3 if number else 2 for number, name in enumerate(classes_of(demo))}
    manifest = relabelled(demo, tmp_path / "mine", kept)
    told = "of the 29 labels in split 'train' are not used, their clips {}: data.labeled_per_class is {}. To use every"
    data = data_of(tmp_path, demo, manifest)
    assert data.notes[0].startswith("19 " + told.format("count as unlabelled", 1))
    assert data.notes[0].endswith("--set data.labeled_per_class=null")
    alone = {f"losses__{name}__weight": 0.0 for name in ("unlabeled", "mixup", "contrastive")}
    supervised = data_of(tmp_path, demo, manifest, data__labeled_per_class=2, **alone)
    assert supervised.notes[0].startswith("9 " + told.format("are left out", 2))
    assert data_of(tmp_path, demo, manifest, data__labeled_per_class=None).notes == []


def test_labelled_clips_alone_can_be_the_unlabelled_ones(demo: Path, tmp_path: Path) -> None:
    data = build_data(tiny(tmp_path, demo, data__unlabeled="labeled"))
    assert data.train.views.unlabeled == data.train.views.labeled
    assert data.summary()["unlabeled"] == data.summary()["labeled"] == 10
    (note,) = data.notes
    assert note.startswith("20 of the 30 labels in split 'train' are not used, their clips are left out")


def test_supervised_alone_needs_no_unlabelled_clip(demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, demo, data__labeled_per_class=None, train__unlabeled_ratio=0, train__max_steps=2)
    result = trainer_of(recipe, tmp_path / "supervised").fit()
    assert result["data"]["unlabeled"] == 0
    assert result["notes"] == []


def test_a_class_with_fewer_labels_than_asked_is_named(demo: Path, tmp_path: Path) -> None:
    first, second, third, *others = classes_of(demo)
    manifest = relabelled(demo, tmp_path / "mine", {second: 1, third: 3, **dict.fromkeys(others, 2)})
    with pytest.raises(DataError) as error:
        data_of(tmp_path, demo, manifest, data__labeled_per_class=2)
    for words in (f"{first} has 0", f"{second} has 1", "take the labels that are there: --set data.labeled_per_class"):
        assert words in str(error.value)
    assert f"{third} has" not in str(error.value)
    (note,) = data_of(tmp_path, demo, manifest, data__labeled_per_class=None).notes
    assert f"has the label {first}: it cannot be learnt" in note


def test_no_label_at_all_is_an_error(demo: Path, tmp_path: Path) -> None:
    manifest = relabelled(demo, tmp_path / "mine", {})
    for wanted, words in ((None, "no labelled clip in split 'train'"), (1, "No row has a label")):
        with pytest.raises(DataError, match=words):
            data_of(tmp_path, demo, manifest, data__labeled_per_class=wanted)
