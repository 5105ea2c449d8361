"""Two processes, each with its share of the rows, must compute what one process with all of them does."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

from asgmcli.losses.contrastive import visual_audio_contrastive
from asgmcli.losses.flexmatch import FlexibleThreshold
from asgmcli.losses.fnac import fnac_losses
from asgmcli.losses.ranks import gather_rows

# Rows a rank: unequal on purpose.
SHARES = (slice(0, 5), slice(5, 8))
EVERYTHING = slice(0, 8)


def selections(rows):
    """Masks and status of 12 steps of FlexMatch over the given rows of each batch; ids repeat across ranks."""
    random = np.random.RandomState(3)
    threshold = FlexibleThreshold(12, 4, 0.6)
    masks, states = [], []
    for _ in range(12):
        ids = torch.as_tensor(random.randint(0, 12, 8))
        probabilities = torch.as_tensor(random.standard_normal((8, 4)) * 2).float().softmax(dim=1)
        masks.append(threshold.select(ids[rows], probabilities[rows]))
        states.append(threshold.status)
    return torch.stack(masks), torch.stack(states)


def contrast(rows):
    """The contrastive loss of the given rows, and its gradient with regard to a shared layer."""
    generator = torch.Generator().manual_seed(4)
    video, audio = (torch.randn(8, 6, generator=generator) for _ in range(2))
    layer = torch.randn(6, 5, generator=generator, requires_grad=True)
    loss = visual_audio_contrastive(video[rows] @ layer, audio[rows] @ layer.tanh())
    loss.backward()
    return loss.detach(), layer.grad


def localize(rows):
    """FNAC's summed losses of the given rows, and the gradient with regard to a shared layer."""
    generator = torch.Generator().manual_seed(5)
    image, audio = torch.randn(8, 6, 2, 2, generator=generator), torch.randn(8, 6, generator=generator)
    layer = torch.randn(6, 5, generator=generator, requires_grad=True)
    features = F.normalize(torch.einsum("bdhw,de->behw", image[rows], layer), dim=1)
    loss = sum(fnac_losses(features, F.normalize(audio[rows] @ layer, dim=1), 0.2).values())
    loss.backward()
    return loss.detach(), layer.grad


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(SHARES))
    rows = SHARES[rank]
    result = {"gathered": gather_rows(torch.arange(16).reshape(8, 2)[rows]), "flexmatch": selections(rows)}
    own = torch.full((2, 3), float(rank), requires_grad=True)
    gathered = gather_rows(own.T, equal=True)
    (gathered * torch.arange(6.0)[:, None]).sum().backward()
    result["equal"] = (gathered.detach(), own.grad)
    for name, function in (("contrast", contrast), ("localize", localize)):
        loss, gradient = function(rows)
        # What DistributedDataParallel does with gradients.
        dist.all_reduce(gradient)
        result[name] = (loss, gradient / dist.get_world_size())
    torch.save(result, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(work, args=(str(folder),), nprocs=len(SHARES))
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(len(SHARES))]


def test_rows_come_in_rank_order(ranks):
    for result in ranks:
        assert torch.equal(result["gathered"], torch.arange(16).reshape(8, 2))


def test_equal_rows_need_not_be_counted(ranks):
    for rank, result in enumerate(ranks):
        gathered, gradient = result["equal"]
        assert torch.equal(gathered, torch.tensor([[0.0, 0.0]] * 3 + [[1.0, 1.0]] * 3))
        # Both ranks' losses ask it of the own rows, the third to fifth of the second rank.
        assert torch.equal(gradient, 2 * torch.arange(3.0)[None].expand(2, 3) + 6 * rank)


def test_flexmatch_status_is_global(ranks):
    masks, states = selections(EVERYTHING)
    assert torch.equal(torch.cat([result["flexmatch"][0] for result in ranks], dim=1), masks)
    assert 0 < masks.mean() < 1
    for result in ranks:
        assert torch.equal(result["flexmatch"][1], states)


@pytest.mark.parametrize(("name", "function"), [("contrast", contrast), ("localize", localize)])
def test_loss_and_gradient_are_those_of_one_process(ranks, name, function):
    loss, gradient = function(EVERYTHING)
    assert gradient.abs().max() > 1e-2
    for result in ranks:
        torch.testing.assert_close(result[name][0], loss, rtol=0, atol=1e-5)
        torch.testing.assert_close(result[name][1], gradient, rtol=1e-4, atol=1e-5)
