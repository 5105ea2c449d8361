"""A copy of a shipped recipe bears its own name and is else the same; what cannot be a copy is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgmcli.errors import AsgmError
from asgmcli.recipe.copy import copy_recipe
from asgmcli.recipe.read import load_recipe, settings_hash
from asgmcli.recipe.shipped import shipped


@pytest.mark.parametrize("name", ["demo", "demo_localizer", "table2_ablation", "figure3_masks", "demo_pretext"])
def test_a_copy_is_the_same_under_another_name(name: str, tmp_path: Path) -> None:
    target = tmp_path / "sub" / "mine.yaml"
    copy_recipe(name, target)
    copied, own = load_recipe(target), load_recipe(shipped()[name])
    assert copied.name == "mine"
    assert settings_hash(copied) == settings_hash(own)
    assert copied.rows == own.rows
    lines = zip(target.read_text().splitlines(), shipped()[name].read_text().splitlines(), strict=True)
    changed = [(new, old) for new, old in lines if new != old and not old.startswith("#")]
    assert changed == [("name: mine", f"name: {name}")]


def test_the_command_in_a_copys_head_names_the_copy(tmp_path: Path) -> None:
    target = tmp_path / "mine.yaml"
    copy_recipe("claim_companions", target)
    assert f"asgm train {target} --row all" in target.read_text()
    assert "recipes/claim_companions.yaml" not in target.read_text()


@pytest.mark.parametrize(
    ("name", "target", "code", "words"),
    [
        ("dmeo", "mine.yaml", 2, "(did you mean 'demo'?)"),
        ("demo.yaml", "mine.yaml", 2, "(did you mean 'demo'?)"),
        ("demo", "mine", 2, "ends in .yaml, for example mine.yaml"),
        ("demo", "folder", 2, "ends in .yaml, for example folder/mine.yaml"),
        ("demo", "sub/demo_pretext.yaml", 2, "Give the copy one of its own"),
        ("demo", "my recipe.yaml", 2, "letters, digits"),
        ("demo", "there.yaml", 2, "--overwrite"),
        ("demo", "there.yaml/mine.yaml", 3, "cannot be written"),
    ],
)
def test_what_cannot_be_a_copy_is_refused(
    name: str, target: str, code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("there.yaml").write_text("theirs")
    with pytest.raises(AsgmError) as error:
        copy_recipe(name, Path(target))
    assert error.value.exit_code == code
    assert words in error.value.message
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "there.yaml"]
    assert Path("there.yaml").read_text() == "theirs"


def test_overwrite_replaces(tmp_path: Path) -> None:
    target = tmp_path / "mine.yaml"
    target.write_text("theirs")
    copy_recipe("demo", target, overwrite=True)
    assert load_recipe(target).name == "mine"
