"""UFE's step, its burn-in step and the evaluation of a clip beside a version written as released, in one process.

As released: the matrix of all pairs of pixels and sounds, four dilated convolutions in full, flow convolved at its full
size and then resized, three student forwards a step (in burn-in too), VGGish in every one, numbers in the plain order.

python -m tests.bench.masks_as_released [ROUNDS]
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asgmcli.losses.consistency import mixed_target
from asgmcli.losses.mask_bce import mask_bce
from asgmcli.nn.dilated import DilatedSum
from asgmcli.nn.tpavi import TPAVI, TPAVINetwork
from asgmcli.nn.vggish import VGGish

_WEIGHT = 0.5  # of the unlabelled loss
_KIB, _GIB = 1024, 1024**3


class PlainTPAVI(TPAVI):
    """TPAVI with the matrix of all pairs."""

    def forward(self, x: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """See `TPAVI`."""
        aligned: Tensor = self.align_channel(audio)
        heard = aligned.transpose(1, 2)[..., None, None].expand_as(x)
        theta, values = (part(x).flatten(2).transpose(1, 2) for part in (self.theta, self.g))
        pairs = theta @ self.phi(heard).flatten(2)
        change = (pairs / pairs.shape[-1]) @ values
        z = self.W_z(change.transpose(1, 2).unflatten(2, x.shape[2:])) + x
        return self.norm_layer(z.movedim(1, -1)).movedim(-1, 1), aligned


class PlainSum(DilatedSum):
    """Four convolutions in full, resized afterwards."""

    def forward(self, x: Tensor) -> Tensor:
        """See `DilatedSum`."""
        first, *others = self.conv2d_list
        total: Tensor = first(x)
        for layer in others:
            total = total + layer(x)
        return total

    def resized(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """See `DilatedSum`."""
        whole: Tensor = self(x)
        return whole if whole.shape[-2:] == size else F.interpolate(whole, size, mode="bilinear", align_corners=False)


def written_as_released(network: TPAVINetwork) -> TPAVINetwork:
    """Return a copy of `network` in the released form."""
    found = TPAVINetwork("resnet50", "stem")
    found.load_state_dict(network.state_dict())
    for module in found.modules():
        if isinstance(module, TPAVI | DilatedSum):
            module.__class__ = PlainTPAVI if isinstance(module, TPAVI) else PlainSum
    return found


def _plain_stages(backbone: nn.Module, x: Tensor) -> list[Tensor]:
    maps = []
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        x = backbone.get_submodule(name)(x)
        maps.append(x)
    return maps[4:]


@contextmanager
def plain_order() -> Iterator[None]:
    """Lay numbers out as PyTorch does by itself."""
    with patch("asgmcli.nn.tpavi.stage_maps", _plain_stages), patch("asgmcli.nn.resnet._channels_last", lambda x: x):
        yield


@dataclass(frozen=True)
class Frames:
    """Pictures [B, T, 3, S, S], their embeddings [B, T, 128], flow [B, T, 2, S, S] and log-mels [B * T, 1, 96, 64]."""

    image: Tensor
    audio: Tensor
    flow: Tensor
    mel: Tensor

    @classmethod
    def draw(cls, batch: int, frames: int, size: int) -> Frames:
        """Return random ones."""
        shape = (batch, frames)
        mel = torch.randn(batch * frames, 1, 96, 64)
        return cls(torch.randn(*shape, 3, size, size), torch.rand(*shape, 128), torch.rand(*shape, 2, size, size), mel)

    def __add__(self, other: Frames) -> Frames:
        """Return both."""
        parts = (torch.cat(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True))
        return Frames(*parts)


class Forms:
    """The two forms of network and step, with the same weights."""

    def __init__(self) -> None:
        self.ours = TPAVINetwork("resnet50", "stem")
        for module in self.ours.modules():
            if isinstance(module, nn.BatchNorm3d):
                nn.init.ones_(module.weight)  # it starts at 0, where no sound comes in
        self.released = written_as_released(self.ours)
        self.vggish = VGGish().eval()

    def run(self, x: Frames, training: bool) -> Tensor:
        """Return our logits [B, T, S, S]."""
        found: Tensor = self.ours.train(training)(x.image, x.audio, x.flow).logits
        return found

    def run_released(self, x: Frames, training: bool) -> Tensor:
        """Return the released form's logits [B, T, S, S]; it listens anew."""
        with torch.no_grad():
            audio = self.vggish(x.mel).unflatten(0, x.image.shape[:2])
        with plain_order():
            found: Tensor = self.released.train(training)(x.image, audio, x.flow).logits
        return found


def least_seconds(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the least processor time of each, taken in turn."""
    found = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            start = time.process_time()
            work()
            found[name] = min(found[name], time.process_time() - start)
    return found


def extra_memory(work: Callable[[], object]) -> float:
    """Return the GiB that `work` takes at its peak beyond what is there before it, in a process of its own (Linux)."""
    out, into = os.pipe()
    if os.fork() == 0:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        work()
        os.write(into, str(_status("VmHWM") - before).encode())
        os._exit(0)
    os.wait()
    return int(os.read(out, 100)) * _KIB / _GIB


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def compare_steps(forms: Forms, rounds: int) -> None:
    """Compare steps on 2 labelled and 2 unlabelled frames of 128 pixels."""
    labeled, weak, partner, strong = (Frames.draw(2, 1, 128) for _ in range(4))
    truth, other = (torch.rand(2, 128, 128) > 0.7).float(), torch.tensor([1, 0])
    box = torch.zeros(2, 128, 128, dtype=torch.bool)
    box[:, 20:70, 20:60] = True

    def released() -> None:
        forms.released.zero_grad(set_to_none=True)
        with torch.no_grad():
            of_partner = forms.run_released(partner, False)[:, 0].sigmoid()
        both = forms.run_released(labeled + weak, True)[:, 0]
        target = torch.where(box, of_partner, both[2:].sigmoid().detach())
        on_strong = mask_bce(forms.run_released(strong, True)[:, 0], target)
        (mask_bce(both[:2], truth) + _WEIGHT * on_strong).backward()

    def ours() -> None:
        forms.ours.zero_grad(set_to_none=True)
        with torch.no_grad():
            soft = forms.run(weak, False)[:, 0]
        both = forms.run(labeled + strong, True)[:, 0]
        (mask_bce(both[:2], truth) + _WEIGHT * mask_bce(both[2:], mixed_target(soft, other, box))).backward()

    def burn_in() -> None:
        forms.ours.zero_grad(set_to_none=True)
        mask_bce(forms.run(labeled, True)[:, 0], truth).backward()

    found = least_seconds({"released": released, "ours": ours, "burn-in": burn_in}, rounds)
    for name, title in (("ours", "UFE step"), ("burn-in", "burn-in step")):
        print(f"{title}: {found[name]:.2f} s of {found['released']:.2f} s, {found[name] / found['released']:.2f}")


def compare_evaluation(forms: Forms, rounds: int) -> None:
    """Compare evaluations of a clip: five frames of 224 pixels."""
    clip = Frames.draw(1, 5, 224)
    with torch.no_grad():
        kept = forms.vggish(clip.mel)[None]
        heard = Frames(clip.image, kept, clip.flow, clip.mel)
        works = {"released": lambda: forms.run_released(clip, False), "ours": lambda: forms.run(heard, False)}
        apart = (works["released"]() - works["ours"]()).abs().max().item()
        times = least_seconds(dict(works), rounds)
        memory = {name: extra_memory(work) for name, work in works.items()}
    print(f"evaluation: {times['ours']:.2f} s of {times['released']:.2f} s, {times['ours'] / times['released']:.2f}")
    ratio = memory["ours"] / memory["released"]
    print(f"memory beyond the weights: {memory['ours']:.2f} GiB of {memory['released']:.2f} GiB, {ratio:.2f}")
    print(f"logits the same to {apart:.0e}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    both_forms = Forms()
    compare_evaluation(both_forms, times)
    compare_steps(both_forms, times)
