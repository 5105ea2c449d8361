"""Steps in processes of their own: killed at any point and resumed, and shared by two ranks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.parsing_files import write_recipe, write_set

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[3]
NAME = "tiny_parsing/whole/seed0"
KILLED = """
import os, signal, sys
from asgmcli.cli import main
from asgmcli.tasks import parsing
from asgmcli.train.best import BestEpoch

place, left, *words = sys.argv[1:]
left = int(left)

def deadly(own):
    def function(*args, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return own(*args, **options)
    return function

if place == "step":
    parsing.train_step = deadly(parsing.train_step)
if place == "validated":
    BestEpoch.see = deadly(BestEpoch.see)
if place == "kept":
    BestEpoch.tidy = deadly(BestEpoch.tidy)
main(words)
"""


def call(code: int, *words: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def test_a_killed_run_goes_on_and_keeps_the_same_epoch(tmp_path: Path) -> None:
    """Killed in a step, between a validation and the note of it, and after the best weights are written."""
    write_set(tmp_path / "own")
    recipe = write_recipe(tmp_path, tmp_path / "own")
    often = ("--device", "cpu", "--set", "train.save_minutes=1e-9")
    call(0, "-m", "asgmcli", "train", recipe, "--runs", tmp_path / "straight", *often)
    base = ("train", recipe, "--runs", tmp_path / "killed", *often, "--resume")
    for place, count in (("step", 5), ("validated", 2), ("kept", 4)):
        call(-signal.SIGKILL, "-c", KILLED, place, count, *base)
    call(0, "-c", KILLED, "never", 0, *base)
    one, other = (tmp_path / runs / NAME for runs in ("straight", "killed"))
    assert (one / "parser.safetensors").read_bytes() == (other / "parser.safetensors").read_bytes()
    results = [json.loads((run / "result.json").read_text()) for run in (one, other)]
    assert results[0]["kept"] == results[1]["kept"]
    assert results[0]["metrics"] == results[1]["metrics"]


@pytest.mark.parametrize("row", ["whole", "han"])
def test_two_ranks_give_one_process_losses(tmp_path: Path, row: str) -> None:
    """The batch norm of row `whole`'s discriminator sees the rows of both."""
    write_set(tmp_path / "own")
    recipe = write_recipe(tmp_path, tmp_path / "own")
    found = []
    for ranks in (1, 2):
        launch = ["-m", "torch.distributed.run", f"--nproc-per-node={ranks}", "--standalone"] if ranks > 1 else []
        words = ("--row", row, "--runs", tmp_path / f"runs{ranks}", "--device", "cpu", "--set", "model.dropout=0.0")
        call(0, *launch, "-m", "asgmcli", "train", recipe, *words, "--set", "train.epochs=4")
        run = tmp_path / f"runs{ranks}/tiny_parsing/{row}/seed0"
        judge = ("--out", tmp_path / f"eval{ranks}", "--device", "cpu", "--set", "evaluate.batch=3")
        call(0, *launch, "-m", "asgmcli", "eval", tmp_path / f"runs1/tiny_parsing/{row}/seed0", *judge)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        losses = [value for line in lines for name, value in sorted(line.items()) if name in TERMS]
        found.append((losses, json.loads((run / "result.json").read_text()), load_file(run / "parser.safetensors")))
    (one, result, weights), (two, other, others) = found
    assert len(one) >= 4
    assert one == pytest.approx(two, rel=1e-4)
    assert result["metrics"] == pytest.approx(other["metrics"])
    judged = [json.loads((tmp_path / f"eval{ranks}/result.json").read_text())["metrics"] for ranks in (1, 2)]
    assert judged[0] == pytest.approx(judged[1])
    assert "segment_type_other_sound" in judged[0]
    assert weights.keys() == others.keys()
    assert ("mod_classifier.norm1.running_var" in weights) == (row == "whole")
    for name in weights.keys() - UNSEEN:
        pair = weights[name], others[name]
        if name.endswith("in_proj_bias"):  # of queries, keys and values; a softmax sees no keys' bias
            pair = tuple(torch.cat((value.chunk(3)[0], value.chunk(3)[2])) for value in pair)
        torch.testing.assert_close(*pair, rtol=1e-3, atol=1e-5, msg=name)


# A bias before a batch norm or a softmax has no gradient but rounding, which Adam makes whole steps of; the running
# means follow it.
UNSEEN = {f"mod_classifier.{name}" for name in ("fc1.bias", "fc2.bias", "norm1.running_mean", "norm2.running_mean")}
UNSEEN |= {"fc_frame_att.bias", "fc_av_att.bias"}
TERMS = ("loss", "wsl", "guided_audio", "guided_visual", "adversarial")
