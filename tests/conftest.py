"""What several folders of tests share: a small demo data set, made once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# Before torch is imported: on tensors this small a second thread only waits, on a busy machine for very long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in its background has them and their children ignore Ctrl-C, which some of them send.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a generated demo data set: 30 training clips, 10 validation clips, 10 test clips."""
    from asgmcli.synthetic.demo import generate

    folder = tmp_path_factory.mktemp("data") / "demo"
    generate(folder, train=30, val=10, test=10, workers=1)
    return folder
