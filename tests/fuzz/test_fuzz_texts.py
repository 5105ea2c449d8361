"""Damaged recipes and manifests through the commands that read them: taken or refused, never a traceback."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from asgmcli.cli import main
from asgmcli.recipe.read import dump_yaml, load_recipe
from asgmcli.runs.session import Session
from tests.fuzz.mutations import mutated_text

RECIPES = Path(__file__).parents[2] / "recipes"


def see_told(result: Result, path: Path, codes: tuple[int, ...]) -> None:
    """See that a command ended in an exit code it may have, and with words where it refused."""
    shown = (path.read_bytes()[:300], result.output[-500:])
    assert result.exception is None or isinstance(result.exception, SystemExit), (repr(result.exception), *shown)
    assert result.exit_code in codes, shown
    assert "Traceback" not in result.output, shown
    assert (result.exit_code == 0) != ("Error: " in result.output), shown


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.long)])
def test_a_damaged_recipe_is_taken_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """`asgm train`, up to where it would train; a recipe that it takes can be stored and read back for --resume."""
    monkeypatch.chdir(tmp_path)
    taken = []

    def run(_: Session, recipe: object, **__: bool) -> dict[str, object]:
        taken.append(recipe)
        return {"metrics": {}}

    monkeypatch.setattr(Session, "ensure", lambda *_: None)
    monkeypatch.setattr(Session, "run", run)
    texts = [path.read_text() for path in sorted(RECIPES.rglob("*.yaml"))]
    rng = random.Random(6)
    codes: Counter[int] = Counter()
    path = tmp_path / "damaged.yaml"
    for number in range(count):
        path.write_bytes(mutated_text(texts[number % len(texts)], texts, rng))
        result = CliRunner().invoke(main, ["train", str(path)])
        see_told(result, path, (0, 2))
        codes[result.exit_code] += 1
        if result.exit_code == 0:
            recipe = taken[-1]
            (tmp_path / "stored.yaml").write_text(dump_yaml(recipe))  # type: ignore[arg-type]
            stored = load_recipe(tmp_path / "stored.yaml")
            of_file = {"rows": recipe.rows, "compare": recipe.compare}  # type: ignore[attr-defined]
            assert stored.model_copy(update=of_file) == recipe
    assert min(codes[0], codes[2]) > count / 20
    assert {file.name for file in tmp_path.iterdir()} == {"damaged.yaml", "stored.yaml"}
    print(json.dumps({"recipes": count, "taken": codes[0], "refused": codes[2]}))


@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.long)])
def test_a_damaged_manifest_is_taken_or_refused(demo: Path, tmp_path: Path, count: int) -> None:
    out = tmp_path / "demo"
    out.mkdir()
    for name in ("classes.txt", "summary.json"):
        shutil.copy(demo / name, out / name)
    texts = [(demo / "manifest.csv").read_text(), (demo / "classes.txt").read_text()]
    rng = random.Random(6)
    codes: Counter[int] = Counter()
    for number in range(count):
        (out / "manifest.csv").write_text(texts[0])
        (out / "classes.txt").write_text(texts[1])
        path, text = (out / "classes.txt", texts[1]) if number % 5 == 4 else (out / "manifest.csv", texts[0])
        path.write_bytes(mutated_text(text, texts, rng))
        result = CliRunner().invoke(main, ["prepare", "demo", "--out", str(out), "--show-split"])
        see_told(result, path, (0, 2, 3))
        codes[result.exit_code] += 1
    assert min(codes[0], codes[3]) > count / 20
    print(json.dumps({"manifests": count, **{f"exit {code}": codes[code] for code in sorted(codes)}}))
