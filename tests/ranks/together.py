"""Commands on several ranks, for test_exchange.py, which runs this as a program.

It loads everything once and forks each rank (a process that has trained cannot be forked to train again: torch's
autograd refuses). What each scenario gave is told on standard output as JSON; tensors are left in files.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
import torchmetrics  # noqa: F401 - loaded here, once, where the command would load it in each process
from torch import Tensor

sys.path.append(str(Path(__file__).parents[2]))
from asgmcli.cli import main
from asgmcli.commands import eval as _eval_command  # noqa: F401 - likewise
from asgmcli.commands import train as _train_command  # noqa: F401
from asgmcli.data.loader import map_tensors
from asgmcli.errors import DataError
from asgmcli.losses.contrastive import visual_audio_contrastive
from asgmcli.losses.flexmatch import FlexibleThreshold
from asgmcli.losses.fnac import fnac_losses
from asgmcli.ranks.exchange import average_gradients, gather_rows, joined, own_rows
from asgmcli.ranks.launch import find_launch
from asgmcli.tasks import TASKS, recognition
from asgmcli.tasks.recognition import step
from asgmcli.train import loop
from tests.tiny_training import write_recipe

# Not drawn by any rank: then the numbers do not depend on how many there are.
EQUAL = ("model.video.drop_path=0.0", "model.audio.drop_path=0.0")
GUIDED = ("masks.kind=localization", "localizer={kind: oracle}", "losses.mixup.target=mass")
SOON = ("train.supervised_epochs=0", "train.max_steps=8", "thresholds.value=0.3")
LOCALIZER = """
name: ears
task: localization
title: Ears
default_row: only
rows: {only: {title: only}}
data: {dataset: demo, manifest: MANIFEST, keep_decoded: true}
model: {dim: 8, width: 4, stride: 8, norm: true, image_dropout: 0.0}
input: {size: 32, resize: 36, seconds: 0.5, mask_width: 6}
losses: {contrastive_epochs: 1, weight: 10.0, temperature: 0.3}
evaluate: {frames: 1, batch: 4}
train: {epochs: 2, batch: 6, max_steps: 7, optimizer: {lr: 1e-4}}
"""


@dataclass(frozen=True)
class Event:
    """What happens on a rank in a step, or in the evaluation after it."""

    rank: int
    step: int
    act: Callable[[dict[str, Any]], Any]
    evaluating: bool = False


def call(log: Path, ranks: int, arguments: list[str], event: Event | None = None, last: Sequence[str] = ()) -> Any:
    """A command on `ranks` processes, the last one with `last` besides: codes, what each said, each one's steps."""

    def command(rank: int) -> None:
        note_steps(log.with_name(f"{log.name}{rank}.steps"), event if event and event.rank == rank else None)
        main([*arguments, *(last if rank == ranks - 1 else ())])

    codes = forked(log, ranks, command)
    logs = [log.with_name(f"{log.name}{rank}") for rank in range(ranks)]
    steps = [[json.loads(line) for line in Path(f"{one}.steps").read_text().splitlines()] for one in logs]
    return {"codes": codes, "said": [Path(f"{one}.err").read_text() for one in logs], "steps": steps}


def forked(log: Path, ranks: int, work: Callable[[int], None]) -> list[int]:
    """Exit codes of `ranks` processes that each do `work`, with the variables that torchrun would set."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    children = []
    for rank in range(ranks):
        child = os.fork()
        if child:
            children.append(child)
            continue
        code = 1
        try:
            handle = os.open(log.with_name(f"{log.name}{rank}.err"), os.O_WRONLY | os.O_CREAT)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            if ranks > 1:
                given = {"RANK": rank, "WORLD_SIZE": ranks, "LOCAL_RANK": rank, "MASTER_PORT": port}
                os.environ.update({name: str(value) for name, value in given.items()}, MASTER_ADDR="127.0.0.1")
            work(rank)
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except Exception:
            traceback.print_exc()  # os._exit would lose it
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def note_steps(path: Path, event: Event | None) -> None:
    """Note every step of this process in a file, and let the event happen."""
    file = path.open("w")
    whole_step = loop.Trainer._train_step

    def noted(self: loop.Trainer, epoch: int, batch: Any) -> Any:
        terms, pace, clips = whole_step(self, epoch, batch)
        file.write(json.dumps({"step": self.step, "terms": terms, "clips": clips, "ids": batch.ids}) + "\n")
        file.flush()
        return terms, pace, clips

    def happen(number: int, terms: dict[str, Any], evaluating: bool) -> None:
        if event and (event.step, event.evaluating) == (number, evaluating):
            event.act(terms)

    def train_step(state: Any, batch: Any) -> Any:
        terms = dict(recognition.train_step(state, batch))
        happen(state.step, terms, False)
        return terms

    def evaluate(state: Any, loader: Any) -> Any:
        def told() -> Iterator[Any]:
            for batch in loader:
                happen(state.step, {}, True)
                yield batch

        evaluation = recognition.evaluate(state, told())
        evaluation.figures.clear()  # dear to draw, and nothing depends on them
        return evaluation

    loop.Trainer._train_step = noted
    functions = dict(vars(recognition))
    TASKS["recognition"] = SimpleNamespace(**{**functions, "train_step": train_step, "evaluate": evaluate})


def mix_in_groups(groups: int) -> None:
    """Let one process draw masks and mixing partners as so many ranks do, each for its part of the batch."""
    whole = step._mix

    def mix(state: Any, unlabeled: Any, views: step.StrongViews) -> step.Mixture:
        parts = []
        for group in range(groups):
            step.own_rank = lambda group=group: group
            own = [
                map_tensors(part, lambda tensor, group=group: tensor.chunk(groups)[group])
                for part in (unlabeled, views)
            ]
            parts.append(whole(state, *own))
        step.own_rank = lambda: 0
        partner = torch.cat([part.partner + i * len(part.partner) for i, part in enumerate(parts)])
        wholes = {name: torch.cat([getattr(part, name) for part in parts]) for name in ("tokens", "audio", "weight")}
        return step.Mixture(partner=partner, **wholes)

    step._mix = mix


def tell_clips_apart() -> None:
    """Show the thresholds another opinion of each clip: this small a teacher has one of all."""
    whole = FlexibleThreshold.select
    opinions = torch.randn(20, 10, generator=torch.Generator().manual_seed(6))

    def select(self: Any, ids: Tensor, probabilities: Tensor) -> Tensor:
        return whole(self, ids, (probabilities.log() + opinions[ids]).softmax(dim=1))

    FlexibleThreshold.select = select


def contrast(rows: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """The contrastive loss, and its gradient with regard to a shared layer; `rows` picks a rank's."""
    draw = torch.Generator().manual_seed(4)
    video, audio = (torch.randn(8, 6, generator=draw) for _ in range(2))
    layer = torch.randn(6, 5, generator=draw, requires_grad=True)
    loss = visual_audio_contrastive(gather_rows(rows(video) @ layer), gather_rows(rows(audio) @ layer.tanh()))
    return finished(loss, layer)


def localize(rows: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """FNAC's summed losses, likewise."""
    draw = torch.Generator().manual_seed(5)
    image, audio = torch.randn(8, 6, 2, 2, generator=draw), torch.randn(8, 6, generator=draw)
    layer = torch.randn(6, 5, generator=draw, requires_grad=True)
    features = F.normalize(torch.einsum("bdhw,de->behw", rows(image), layer), dim=1)
    sounds = F.normalize(rows(audio) @ layer, dim=1)
    return finished(sum(fnac_losses(gather_rows(features), gather_rows(sounds), 0.2).values()), layer)


def finished(loss: Any, layer: Tensor) -> tuple[Tensor, Tensor]:
    loss.backward()
    average_gradients([layer])
    return loss.detach(), layer.grad


def rows_of(folder: Path, rank: int) -> None:
    """Gathered rows, and both losses over them, of one of two ranks (or of one process, rank 2)."""
    launch = find_launch()
    with joined(launch, torch.device("cpu")):
        everything = torch.arange(16.0).reshape(8, 2)
        found = {name: work(own_rows) for name, work in (("contrast", contrast), ("localize", localize))}
        torch.save({"rows": gather_rows(own_rows(everything)), **found}, folder / f"rows{rank}.pt")


def spoil(terms: dict[str, Any]) -> None:
    """An act: the rank's loss is no number."""
    terms["loss"] = terms["loss"] * float("nan")


def fail(terms: dict[str, Any]) -> None:
    """An act: the rank alone meets an error that a user is told of."""
    raise DataError("this rank's disk is gone")


def send(number: int) -> Callable[[dict[str, Any]], None]:
    """An act: the rank gets a signal."""
    return lambda terms: os.kill(os.getpid(), number)


def scenarios(demo: Path, folder: Path) -> dict[str, Callable[[], Any]]:
    """What is tried, by name."""
    recipe, ears = write_recipe(folder, demo), folder / "ears.yaml"
    ears.write_text(LOCALIZER.replace("MANIFEST", json.dumps(str(demo / "manifest.csv"))))

    def train(
        name: str, ranks: int, *sets: str, event: Event | None = None, last: Sequence[str] = (), path: Path = recipe
    ) -> Any:
        """The recipe's training with `--runs` of that name; a setting that begins with -- is an option."""
        chosen = [part for text in sets for part in ([text] if text.startswith("--") else ["--set", text])]
        log = folder / f"{name}-{ranks}-{len(list(folder.glob(f'{name}-*0.err')))}-"
        return call(log, ranks, ["train", str(path), "--runs", str(folder / name), *chosen], event, last)

    def evaluate(name: str, stem: str) -> list[Any]:
        (run,) = (folder / name).glob(f"{stem}/*/seed0")
        return [
            call(
                folder / f"{stem}-eval{n}-", n, ["eval", str(run), "--batch", "3", "--out", str(folder / f"{stem}{n}")]
            )
            for n in (1, 2)
        ]

    def equal() -> list[Any]:
        tell_clips_apart()
        together = train("together", 2, *EQUAL, *GUIDED, *SOON, "train.accumulate=2")
        mix_in_groups(2)
        return [train("alone", 1, *EQUAL, *GUIDED, *SOON), together]

    def resumed() -> list[Any]:
        steps = ("train.evaluate_every=1", "train.max_steps=10")
        return [
            train("resumed", 2, *steps, event=Event(1, 6, send(signal.SIGTERM))),
            train("resumed", 2, *steps, "--resume", event=Event(0, 9, send(signal.SIGINT), evaluating=True)),
            train("resumed", 2, *steps, "--resume"),
        ]

    def apart() -> Any:
        train("apart", 2, "train.max_steps=6", event=Event(1, 2, send(signal.SIGTERM)))
        return train("apart", 2, "train.max_steps=6", "--resume", last=["--runs", str(folder / "elsewhere")])

    foreign = ["--set", "losses.mixup.weight=0.5"]
    return {
        "rows": lambda: [
            forked(folder / "one-", 1, lambda _: rows_of(folder, 2)),
            forked(folder / "two-", 2, lambda rank: rows_of(folder, rank)),
        ],
        "equal": equal,
        "straight": lambda: train("straight", 2, "train.evaluate_every=1", "train.max_steps=10"),
        "evaluated": lambda: evaluate("straight", "tiny"),
        "resumed": resumed,
        "not_finite": lambda: train("not_finite", 2, "train.max_steps=8", event=Event(1, 6, spoil)),
        "failed": lambda: train("failed", 2, "train.max_steps=8", event=Event(1, 3, fail)),
        "foreign": lambda: train("foreign", 2, last=foreign),
        "apart": apart,
        "indivisible": lambda: train("indivisible", 2, "train.batch=3"),
        "ears": lambda: train("ears", 3, path=ears),
        "ears_evaluated": lambda: evaluate("ears", "ears"),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = scenarios(Path(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps({name: found[name]() for name in sys.argv[3:]}))
