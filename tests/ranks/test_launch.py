"""What torchrun tells a process, and what a process that is one of several says."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import click
import pytest
from torch.distributed.run import config_from_args, get_args_parser

from asgmcli.errors import DataError, UsageError
from asgmcli.ranks.launch import Launch, find_launch, one_voice, own_environment


def test_a_job_of_one_of_several_trains_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "here", "MASTER_PORT": "1"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "7")
    assert find_launch() == Launch(1, 2, 0)
    kept = own_environment()
    assert kept.keys() == {name for name in os.environ if name not in given and name != "TORCHELASTIC_RUN_ID"}
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not find_launch().several
    monkeypatch.delenv("LOCAL_RANK")
    assert find_launch() == Launch()


def test_the_first_tells_what_all_meet_and_each_what_only_it_may() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(UsageError), one_voice(Launch(0, 2, 0)):
            raise UsageError("no such option")
        with pytest.raises(click.exceptions.Exit) as ended, one_voice(Launch(1, 2, 1)):
            raise UsageError("no such option")
        assert ended.value.exit_code == 2
        with pytest.raises(DataError), one_voice(Launch(1, 2, 1)):
            raise DataError("this machine's disk is gone")
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
    with one_voice(Launch()):
        pass
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_slurm_script_starts_torchrun_on_each_machine(tmp_path: Path) -> None:
    """With stand-ins for Slurm's commands: one names the machines, the other shows what it was to start."""
    for name, text in (("scontrol", "printf 'node3\\nnode4\\n'"), ("srun", 'printf "%s\\n" "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    given = {"JOB_NODELIST": "node[3-4]", "JOB_NUM_NODES": "2", "GPUS_ON_NODE": "4", "JOB_ID": "17"}
    given["CPUS_PER_TASK"] = "32"
    slurm = {f"SLURM_{name}": value for name, value in given.items()}
    script = Path(__file__).parents[2] / "recipes" / "slurm_train.sh"
    environment = {**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    process = subprocess.run(
        ["sh", str(script), "my recipe.yaml", "--row", "all"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    words = process.stdout.splitlines()
    assert words[:3] == ["--cpus-per-task=32", "--kill-on-bad-exit=1", "torchrun"]
    assert words[-6:] == ["asgmcli", "train", "my recipe.yaml", "--row", "all", "--resume"]
    arguments = config_from_args(get_args_parser().parse_args(words[3:]))[0]
    assert (arguments.min_nodes, arguments.max_nodes, arguments.nproc_per_node) == (2, 2, 4)
    assert (arguments.rdzv_backend, arguments.rdzv_endpoint, arguments.run_id) == ("c10d", "node3:29500", "17")
