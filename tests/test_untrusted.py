"""Files from others are read, never run, and take no more than they are worth."""

from __future__ import annotations

import ast
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from asgmcli.cli import main
from asgmcli.data.manifest import CLASSES_NAME, COLUMNS, MANIFEST_NAME, Manifest, ManifestRow, read_manifest
from asgmcli.data.maps import MapReader
from asgmcli.errors import DataError, MediaError
from tests.calling import Harmful

SOURCE = Path(__file__).parents[1] / "asgmcli"
# Modules and functions that run what they read, or unpack archives: none is used, so no member can leave its folder.
FORBIDDEN_MODULES = {"shelve", "marshal", "dill", "joblib", "cloudpickle", "tarfile", "urllib", "requests", "ftplib"}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "extractall",
    "extract",
    "unpack_archive",
    "system",
    "popen",
    "urlopen",
}


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """(the name or attribute that is called, the call)."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [(getattr(call.func, "attr", getattr(call.func, "id", "")), call) for call in found]


def test_no_code_of_the_program_runs_or_unpacks_what_it_reads() -> None:
    loads = 0
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not FORBIDDEN_MODULES & {name.partition(".")[0] for name in names}, path
        for name, call in calls(tree):
            where = f"{path}:{call.lineno}"
            if name == "eval" and isinstance(call.func, ast.Attribute) and not call.args:
                continue  # module.eval(): no dropout
            assert name not in FORBIDDEN_CALLS, where
            assert all(keyword.arg != "shell" for keyword in call.keywords), where
            if name in ("load", "loads", "Unpickler"):
                loads += 1
                owner = ast.unparse(call.func).rpartition(".")[0]
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
                assert owner != "pickle", where
                assert owner != "torch" or given.get("weights_only") == "True", where
                assert owner != "np" or given.get("allow_pickle") == "False", where
                assert owner != "yaml" or given.get("Loader") == "_Loader", where
    assert loads >= 5


BOMBS = {
    "laughs": "a: &a [x, x]\n"
    + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "nested": "[" * 20_000,
    "mapped": "about: " + "{a: " * 5_000,
    "tag": "name: !!python/object/apply:os.mkdir [HARM]\n",
    "module": "name: !!python/module:os\n",
    "new": "name: !!python/object/new:os.mkdir {args: [HARM]}\n",
    "large": "x" * (2**20 + 1),
    "keys": "".join(f"k{number}: 1\n" for number in range(2_000)),
    "twice": "k: 1\n" * 4_000,
    "digits": "seed: " + "9" * 100_000,
    "name": "../" * 1000,
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_recipe_that_would_run_or_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    harm = tmp_path / "harm"
    Path("bad.yaml").write_text(BOMBS[kind].replace("HARM", str(harm)))
    result = CliRunner().invoke(main, ["train", "bad.yaml"])
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert "Error: bad.yaml: " in result.output
    assert len(result.output) < 20_000
    Path("good.yaml").write_text((SOURCE.parent / "recipes" / "demo.yaml").read_text())
    result = CliRunner().invoke(
        main, ["train", "good.yaml", "--set", f"about={BOMBS['tag'][6:].replace('HARM', str(harm))}"]
    )
    assert result.exit_code == 2
    assert {path.name for path in tmp_path.iterdir()} == {"bad.yaml", "good.yaml"}


def claim(shape: tuple[int, ...]) -> bytes:
    """The head of an array in numpy's format, with nothing behind it."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f2", "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["pickle", "claim"])
def test_maps_that_would_run_or_fill_the_memory_are_refused(tmp_path: Path, kind: str) -> None:
    row = ManifestRow("a", "a.mp4", "x", "train", 1.0, 8.0, 8, 32, 32, "", "")
    maps = MapReader(Manifest(tmp_path, [row], ["x"], tmp_path / MANIFEST_NAME, ""))
    path, harm = maps._file(row), tmp_path / "harm"
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pickle":
        np.savez(path, maps=np.array([Harmful(harm)], dtype=object), times=np.zeros(1), localizer="motion")
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("maps.npy", claim((2**40, 8, 8)))
    with pytest.raises(MediaError, match="not the maps of a clip"):
        maps._read(row)
    assert not harm.exists()


def test_a_manifest_of_impossible_numbers_or_a_list_of_one_class_is_refused(tmp_path: Path) -> None:
    cells = ["a", "a.mp4", "x", "train", "1.0", "8.0", "9" * 12, "32", "32", "", ""]
    (tmp_path / MANIFEST_NAME).write_text(f"{','.join(COLUMNS)}\n{','.join(cells)}\n")
    with pytest.raises(DataError, match="frames '999999999999' is not a whole number"):
        read_manifest(tmp_path)
    (tmp_path / CLASSES_NAME).write_text("".join(f"{number // 2}\n" for number in range(4_000)))
    with pytest.raises(DataError, match="names a class twice: 0, 1, 10, 100, 1000"):
        read_manifest(tmp_path)
