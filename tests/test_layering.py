"""Imports point left: what a folder may import, read from the source; and what the light modules load, by running."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asgmcli.cli import COMMANDS

PACKAGE = Path(__file__).parents[1] / "asgmcli"
# The reading order; a module may import modules of its own place and of those before it.
ORDER = [
    ("errors", "__init__"),
    ("console", "files", "loading", "options", "progress", "signals", "status", "workers"),
    ("cluster",),
    ("masks",),
    ("losses",),
    ("metrics",),
    ("recipe",),
    ("report",),
    ("media",),
    ("data",),
    ("nn",),
    ("synthetic",),
    ("prepare",),
    ("localize",),
    ("ranks",),
    ("train",),
    ("tasks",),
    ("runs",),
    ("serve",),
    ("bench",),
    ("doctor",),
    ("api",),
    ("commands",),
    ("cli", "__main__"),
]
PLACE = {name: number for number, names in enumerate(ORDER) for name in names}
# Imports to the right that exist for a reason: (importing module, imported module).
EXCEPTIONS = {
    # `asgmcli.load` is the door to the package from Python; it imports inside the function.
    ("asgmcli", "asgmcli.api"),
}
HEAVY = {
    "torch",
    "torchvision",
    "torchaudio",
    "timm",
    "pydantic",
    "matplotlib",
    "scipy",
    "av",
    "decord",
    "torchmetrics",
}


def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(tree: ast.AST) -> Iterator[str]:
    """Names of this package that are imported, inside functions too; those for type checkers alone left out."""
    for node in ast.iter_child_nodes(tree):
        if is_type_checking(node):
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield from imports(node)


TREES = modules()
PAIRS = sorted(
    {
        (name, target if target in TREES else target.rpartition(".")[0])
        for name, tree in TREES.items()
        for target in imports(tree)
        if target.split(".")[0] == "asgmcli"
    }
)


def place(module: str) -> int:
    parts = module.split(".")
    return PLACE[parts[1] if len(parts) > 1 else "__init__"]


def test_every_part_has_its_place_in_the_order() -> None:
    assert {name.split(".")[1] for name in TREES if "." in name} <= PLACE.keys()
    assert len(PAIRS) > 100


def test_imports_point_left() -> None:
    wrong = [(a, b) for a, b in PAIRS if place(b) > place(a) and (a, b) not in EXCEPTIONS]
    assert not wrong


def test_no_exception_outlives_its_need() -> None:
    needed = {(a, b) for a, b in PAIRS if place(b) > place(a)}
    assert needed >= {pair for pair in EXCEPTIONS if pair[0] in TREES}


def test_tasks_never_import_each_other() -> None:
    wrong = [
        (a, b)
        for a, b in PAIRS
        if a.startswith("asgmcli.tasks.") and b.startswith("asgmcli.tasks.") and a.split(".")[2] != b.split(".")[2]
    ]
    assert not wrong


def test_files_and_functions_stay_readable() -> None:
    long_files = [
        (str(path.relative_to(PACKAGE)), lines)
        for path in PACKAGE.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    ]
    long_functions = [
        (name, node.name, node.end_lineno - node.lineno + 1)
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None and node.end_lineno - node.lineno >= 80
    ]
    assert not long_files
    assert not long_functions


def loaded(code: str) -> set[str]:
    """Top-level packages that are loaded after `code` ran in a fresh interpreter."""
    report = f"{code}\nimport sys; print(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_command_line_loads_nothing_heavy() -> None:
    code = "import asgmcli.cli; from asgmcli import load\n"
    code += "".join(f"import asgmcli.commands.{module}\n" for module in COMMANDS.values())
    assert not loaded(code) & HEAVY


@pytest.mark.parametrize(
    "module",
    [
        "prepare.cache",  # with media, manifest, verify and workers
        "prepare.datasets",
        "synthetic.demo",
        "prepare.run",
    ],
)
def test_what_prepares_data_loads_no_torch(module: str) -> None:
    assert "torch" not in loaded(f"import asgmcli.{module}")


# Test files that tell of a scenario through several modules, and bear its name instead of a module's.
SCENARIOS = {
    "fuzz/test_fuzz_media.py",
    "fuzz/test_fuzz_texts.py",
    "prepare/datasets/test_layouts.py",
    "tasks/event_localization/test_task.py",
    "tasks/event_representation/test_task.py",
    "tasks/localization/test_released_recipes.py",
    "tasks/localization/test_released_weights.py",
    "tasks/localization/test_task.py",
    "tasks/pretext/test_task.py",
    "tasks/recognition/test_motion_guide.py",
    "tasks/segmentation/test_task.py",
    "test_layering.py",
    "test_recipes.py",
    "test_seam.py",
    "test_setup.py",
    "test_untrusted.py",
    "train/test_nothing_lost.py",
}


def test_test_files_are_named_after_what_they_test() -> None:
    tests = PACKAGE.parent / "tests"
    found = {str(path.relative_to(tests)) for path in tests.rglob("test_*.py")}
    assert found >= SCENARIOS
    wrong = []
    for name in sorted(found - SCENARIOS):
        module = (PACKAGE / name).with_name(Path(name).name.removeprefix("test_"))
        if not module.exists() and not module.with_suffix("").is_dir():
            wrong.append(name)
    assert not wrong
