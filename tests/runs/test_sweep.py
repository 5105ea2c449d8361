"""Rows and seeds side by side, and their table."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from asgmcli.errors import AsgmError, DataError, InterruptedByKeyboard, NotFiniteError
from asgmcli.ranks.device import every_device
from asgmcli.runs import sweep
from asgmcli.runs.sweep import Job, run_jobs, summarize, write_summary
from tests.calling import quiet
from tests.tiny_training import tiny


def result(row: str, seed: int, top1: float) -> dict[str, Any]:
    return {"row": row, "seed": seed, "metrics": {"top1": top1, "top5": 90.0}}


def test_the_table_pairs_rows_by_seed(demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, demo)
    results = [result("full", 0, 60), result("full", 1, 70), result("full", 2, 80)]
    results += [result("video", 2, 77), result("video", 0, 59)]
    table = summarize(recipe, results)
    assert table.columns == ["row", "top1", "top5", "seeds", "gain of full, top1 (95%)"]
    # Differences 1 and 3: mean 2, error 1, t of one degree 12.706.
    assert table.rows == [
        ["sound and picture", "70.0 ± 10.0", "90.0 ± 0.0", 3, None],
        ["picture", "68.0 ± 12.7", "90.0 ± 0.0", 2, "+2.0 [-10.7, +14.7]"],
    ]
    assert table.bold == {0}
    assert summarize(recipe, results[:1] + results[-1:]).rows[1][4] == "+1.0"
    assert summarize(recipe, results[:3]).rows[1] == ["picture", None, None, 0, None]
    write_summary(tmp_path / "out", table, results)
    assert json.loads((tmp_path / "out" / "table.json").read_text())["runs"] == results
    assert "70.0 ± 10.0" in (tmp_path / "out" / "table.md").read_text()
    assert (tmp_path / "out" / "table.csv").exists()


def jobs(tmp_path: Path, codes: list[str], monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Jobs that run a line of Python instead of a training."""
    script = tmp_path / "script.py"
    script.write_text("import sys; exec(sys.argv[-1])")
    monkeypatch.setattr(sweep, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(sweep, "COMMAND", ["python3", str(script)])
    return [Job(f"row{i} seed {i}", [code], tmp_path / "logs" / f"{i}.log") for i, code in enumerate(codes)]


@pytest.mark.parametrize(("code", "kind"), [(3, DataError), (4, NotFiniteError), (1, AsgmError)])
def test_a_failing_job_stops_no_other_and_gives_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[AsgmError]
) -> None:
    made = jobs(tmp_path, [f"print('why'); sys.exit({code})", "print('fine')", "print('too')"], monkeypatch)
    console = quiet()
    with pytest.raises(kind, match=r"row0 seed 0: why \(log: .*0\.log\)") as caught:
        run_jobs(made, ["cpu"], 2, console)
    assert caught.value.exit_code == kind.exit_code
    assert [job.code for job in made] == [code, 0, 0]
    assert made[1].log.read_text() == "fine\n"
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "FAILED" in text
    assert "3/3 row2 seed 2: done" in text


def test_a_job_comes_after_those_it_names_and_never_after_one_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = f"import pathlib; here = pathlib.Path({str(tmp_path)!r}); "
    codes = [here + "print((here / 'a').exists())", here + "(here / 'a').touch()", "sys.exit(3)", "pass", "pass"]
    made = jobs(tmp_path, codes, monkeypatch)
    for number, first in ((0, 1), (3, 2), (4, 3)):
        made[number].after = frozenset([made[first].title])
    with pytest.raises(DataError, match="row2 seed 2"):
        run_jobs(made, ["cpu"], 3, quiet())
    assert made[0].log.read_text() == "True\n"
    assert [job.process is None for job in made] == [False, False, False, True, True]


def test_jobs_side_by_side_take_different_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    devices = every_device(torch.device("cuda"))
    assert devices == ["cuda:0", "cuda:1"]
    assert every_device(torch.device("cuda:1")) == ["cuda:1"]
    gate = tmp_path / "gate"
    wait = f"import pathlib, time; [time.sleep(0.01) for _ in range(3000) if not pathlib.Path({str(gate)!r}).exists()]"
    say = "; print(sys.argv[1:3])"
    # The first holds its GPU until the last has begun: the two between go to the other one after each other.
    made = jobs(tmp_path, [wait + say, "pass" + say, "pass" + say, f"open({str(gate)!r}, 'w')" + say], monkeypatch)
    run_jobs(made, devices, 2, quiet())
    assert [job.device for job in made] == ["cuda:0", "cuda:1", "cuda:1", "cuda:1"]
    assert [job.log.read_text() for job in made] == [f"{['--device', job.device]}\n" for job in made]


def test_a_running_jobs_news_names_it_once(tmp_path: Path) -> None:
    job = Job("tube seed 3", [], tmp_path / "demo" / "tube" / "seed3.log")
    job.log.parent.mkdir(parents=True)
    for text, expected in (
        ("", "starting"),
        ("Making demo data\n\n", "Making demo data"),
        ("Making demo data\ndemo/tube/seed3: step 87/125  epoch 4  loss 2.2\n", "step 87/125  epoch 4  loss 2.2"),
        ("demo_start/start/seed0: step 1/9  epoch 1\n", "demo_start/start/seed0: step 1/9  epoch 1"),
    ):
        job.log.write_text(text)
        assert sweep._news(job) == expected


def test_ctrl_c_asks_the_running_jobs_to_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), sys.exit(75))); "
    wait += "print('ready', flush=True); time.sleep(60)"
    made = jobs(tmp_path, [wait, wait], monkeypatch)

    def sleep(_: float) -> None:
        if made[0].log.exists() and "ready" in made[0].log.read_text():
            raise KeyboardInterrupt

    monkeypatch.setattr(sweep.time, "sleep", sleep)
    with pytest.raises(InterruptedByKeyboard, match="--resume goes on"):
        run_jobs(made, ["cpu"], 1, quiet())
    assert made[0].log.read_text() == "ready\nsaved\n"
    assert made[0].code == 75
    assert made[1].process is None


def test_several_gains_are_told_as_one_of_several_and_whose_they_are(demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, demo)
    rows = {**recipe.rows, "third": recipe.rows["video"], "fourth": recipe.rows["video"]}
    recipe = recipe.model_copy(update={"rows": rows})
    tops = {"full": (60, 70, 80), "video": (59, 68, 74), "third": (20, 30, 41), "fourth": (60, 71, 79)}
    results = [result(row, seed, top1) for row, values in tops.items() for seed, top1 in enumerate(values)]
    results[0]["metrics"]["top1_student"] = 58.0
    table = summarize(recipe, results)
    # Gains 3 ± 1.5 in error, 39.7 ± .3 and 0 ± .6: alone and together only the second leaves out 0.
    assert "3 gains are compared: at 95% each 1 of their intervals leave out 0" in table.note
    assert "at 95% for all together (Bonferroni) 1." in table.note
    assert table.note.startswith("top1: the teacher's.")
    assert table.columns[:4] == ["row", "top1", "top5", "top1_student"]
    assert [row[3] for row in table.rows] == ["58.0", None, None, None]
    two = [found for found in results if found["row"] in ("full", "third")]
    assert "gains are compared" not in summarize(recipe, two).note


def _tell(job: Job, process: int, state: str, share: float) -> None:
    """Write a job's status.json as its process `process` does."""
    path = job.log.with_suffix("") / "status.json"
    path.parent.mkdir(exist_ok=True)
    data = {"state": state, "phase": "train", "host": "h", "process": process, "share": share}
    path.write_text(json.dumps(data))


def test_the_time_left_is_not_told_before_a_twentieth_of_a_job_is_done(tmp_path: Path) -> None:
    a, b = (
        Job(name, [], tmp_path / f"{name}.log", process=cast(Any, SimpleNamespace(pid=pid)))
        for name, pid in (("a", 1), ("b", 2))
    )
    assert sweep._left(10.0, 0, [a, b], 4) is None
    _tell(a, 1, "running", 0.03)
    _tell(b, 2, "running", 0.01)
    assert sweep._left(10.0, 0, [a, b], 4) is None  # of each of two
    _tell(a, 1, "running", 0.11)  # .12 of a job in 10 s: four take 333 s
    assert sweep._left(10.0, 0, [a, b], 4) == pytest.approx(4 / 0.012 - 10)
    assert sweep._left(10.0, 1, [], 4) == pytest.approx(30.0)
    assert sweep._left(10.0, 1, [], 4, later=None) is None


def test_a_job_counts_until_it_is_gone_and_an_earlier_process_of_its_run_does_not(tmp_path: Path) -> None:
    job = Job("a", [], tmp_path / "a.log", process=cast(Any, SimpleNamespace(pid=2)))
    _tell(job, 1, "finished", 1.0)
    assert sweep._left(10.0, 1, [job], 4) == pytest.approx(30.0)  # a run that is made anew
    _tell(job, 2, "finished", 1.0)
    assert sweep._left(10.0, 1, [job], 4) == pytest.approx(10.0)
