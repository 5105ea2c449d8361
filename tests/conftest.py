"""What several folders of tests share: a small demo data set, made once, and a look at what each test leaves behind."""

from __future__ import annotations

import locale
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Before torch is imported: on tensors this small a second thread only waits, on a busy machine for very long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in its background has them and their children ignore Ctrl-C, which some of them send.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED: dict[Path, dict[str, tuple[int, int]]] = {}
"""Folders that no test may write to, and what lay in each when it was made."""


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below `folder`."""
    found: dict[str, tuple[int, int]] = {}
    for entry in os.scandir(folder):  # a fifth of what pathlib takes, around each of thousands of tests
        if entry.is_dir():
            found |= contents(Path(entry.path))
        else:
            state = entry.stat()
            found[entry.path] = (state.st_size, state.st_mtime_ns)
    return found


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a generated demo data set: 30 training clips, 10 validation clips, 10 test clips.

    All tests read it and none may write there: `own_demo` is for that.
    """
    from asgmcli.synthetic.demo import generate

    folder = tmp_path_factory.mktemp("data") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        leave_blank(patch)  # the preview, which nobody looks at
        generate(folder, train=30, val=10, test=10, workers=1)
    SHARED[folder] = contents(folder)
    return folder


@pytest.fixture(scope="session")
def demo_events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of generated clips with events: 8 to train, 3 to validate, 4 to test. None may write there."""
    from asgmcli.synthetic.demo_events import generate

    folder = tmp_path_factory.mktemp("data") / "demo_events"
    with pytest.MonkeyPatch.context() as patch:
        leave_blank(patch)
        patch.setattr("asgmcli.synthetic.event_sets.draw_event_preview", lambda path, *_: path.write_bytes(b"blank"))
        generate(folder, train=8, val=3, test=4, size=32, fps=4, workers=1)
    SHARED[folder] = contents(folder)
    return folder


@pytest.fixture
def own_events(demo_events: Path, tmp_path: Path) -> Path:
    """A copy of the clips with events that a test may write to: features go beside the manifest."""
    import shutil

    return Path(shutil.copytree(demo_events, tmp_path / "demo_events"))


@pytest.fixture
def own_demo(demo: Path, tmp_path: Path) -> Path:
    """A copy of the demo data set that a test may write to."""
    import shutil

    return Path(shutil.copytree(demo, tmp_path / "demo"))


def leave_blank(patch: pytest.MonkeyPatch) -> None:
    """Have figures be one white pixel, in whichever format."""
    from PIL import Image

    def render(draw: object, path: Path, suffix: str) -> None:
        Image.new("RGB", (1, 1), "white").save(path, format="PNG")

    patch.setattr("asgmcli.report.style.render", render)
    patch.setattr("asgmcli.synthetic.demo.draw_preview", lambda path, *_: path.write_bytes(b"blank"))


@pytest.fixture(autouse=True)
def blank_pictures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave figures undrawn, most of what a training of a few steps takes, but in tests that `pictures` marks."""
    with pytest.MonkeyPatch.context() as patch:  # not the test's, which would outlive the look at what it leaves
        if request.node.get_closest_marker("pictures") is None:
            leave_blank(patch)
        yield


# Set in the environment by torch, decord, ray and scikit-learn as they are imported, and by `asgm train` meanwhile.
OF_THE_PROCESS = (
    "RAY_CLIENT_MODE",
    "KMP_DUPLICATE_LIB_OK",
    "KMP_INIT_AT_FORK",
    "TORCHINDUCTOR_CACHE_DIR",
    "PATH",
    "THP_MEM_ALLOC_ENABLE",
)


def around() -> dict[str, Any]:
    """What tests could change for each other without a file: all of the process that the program touches."""
    found: dict[str, Any] = {
        "folder": os.getcwd(),
        "locale": locale.setlocale(locale.LC_ALL),
        **{f"${key}": value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"},
        **{f"signal {number}": signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
    }
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        flags = (torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled())
        found |= {"torch": flags, "threads": torch.get_num_threads(), "ranks": torch.distributed.is_initialized()}
    return found


@pytest.fixture(autouse=True)
def leaves_no_trace() -> Iterator[None]:
    """Begin each test with the same random numbers; fail it where it leaves something that the next one would see."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    before = around()
    yield
    for key in OF_THE_PROCESS:
        os.environ.pop(key, None)
        if f"${key}" in before:
            os.environ[key] = before[f"${key}"]
    after = around()
    kept = before.keys() | {key for key in after if key.startswith("$")}
    changed = [
        f"{key}: {before.get(key)} -> {after.get(key)}" for key in sorted(kept) if before.get(key) != after.get(key)
    ]
    for folder, there in SHARED.items():
        now = contents(folder)
        changed += [name for name in sorted(there.keys() | now) if there.get(name) != now.get(name)]
        SHARED[folder] = now  # told once, of the test that did it
    assert not changed
