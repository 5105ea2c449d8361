import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from asgmcli.losses.fnac import fnac_losses
from tests.golden import inputs

GOLDEN = Path(__file__).parents[1] / "golden"
TERMS = ("contrastive", "fns_audio", "tns", "fns_image")


def unit_features(seed, batch=4, dim=6, side=3):
    generator = torch.Generator().manual_seed(seed)
    image = F.normalize(torch.randn(batch, dim, side, side, generator=generator), dim=1)
    return image, F.normalize(torch.randn(batch, dim, generator=generator), dim=1)


def golden_features():
    """Features of the golden inputs by two torchvision ResNet-18 that carry the golden weights."""
    models = pytest.importorskip("torchvision.models")
    drawn = inputs.fnac_weights(inputs.layout("fnac"), 21)
    weights = {name: torch.as_tensor(value) for name, value in drawn.items()}
    features = []
    sources = {"imgnet": inputs.array(22, 3, 3, 224, 224), "audnet": inputs.array(23, 3, 1, 257, 201)}
    for trunk, source in sources.items():
        network = models.resnet18(weights=None)
        if trunk == "audnet":
            network.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
        own = {name.removeprefix(f"{trunk}."): value for name, value in weights.items() if name.startswith(trunk)}
        missing, unexpected = network.load_state_dict(own, strict=False)
        assert not unexpected
        assert all(name.startswith("fc.") or name.endswith("num_batches_tracked") for name in missing)
        with torch.no_grad():
            convolutions = nn.Sequential(*list(network.eval().children())[:-2])
            features.append(convolutions(torch.as_tensor(source)))
    image = F.conv2d(features[0], weights["img_proj.weight"], weights["img_proj.bias"])
    audio = F.linear(features[1].amax(dim=(2, 3)), weights["aud_proj.weight"], weights["aud_proj.bias"])
    return F.normalize(image, dim=1), F.normalize(audio, dim=1)


def slow_losses(image, audio, temperature, foreground):
    """The four terms with loops over pairs and cells."""
    picture, sound = image.double().numpy(), audio.double().numpy()
    batch, _, height, width = picture.shape
    cells = [(y, x) for y in range(height) for x in range(width)]

    def softmax(matrix):
        return [[math.exp(v) / sum(math.exp(u) for u in row) for v in row] for row in matrix]

    def gram(vectors):
        return softmax([[float(np.dot(u, v)) / temperature for v in vectors] for u in vectors])

    def distance(a, b):
        return sum(abs(a[i][j] - b[i][j]) for i in range(batch) for j in range(batch)) / batch**2

    def similarity(i, j, cell):
        return float(np.dot(picture[i][:, cell[0], cell[1]], sound[j])) / temperature

    best = [[max(similarity(i, j, cell) for cell in cells) for j in range(batch)] for i in range(batch)]
    rows, columns = softmax(best), softmax([list(column) for column in zip(*best, strict=True)])
    means, sources = [], []
    for i in range(batch):
        own = [similarity(i, i, cell) for cell in cells]
        low, high = min(own), max(own)
        hot = [(value - low) / (high - low + 1e-5) > foreground for value in own]
        vectors = [picture[i][:, y, x] for y, x in cells]
        means.append(sum(vectors) / len(cells))
        sources.append(sum(v for v, is_hot in zip(vectors, hot, strict=True) if is_hot) / len(cells))
    return {
        "contrastive": -sum(math.log(rows[i][i]) + math.log(columns[i][i]) for i in range(batch)) / batch,
        "fns_audio": distance(gram(list(sound)), rows),
        "tns": distance(gram(list(sound)), gram(sources)),
        "fns_image": distance(gram(means), rows),
    }


def test_equals_the_released_model():
    golden = np.load(GOLDEN / "fnac.npz")
    image, audio = golden_features()
    own = torch.einsum("bdhw,bd->bhw", image, audio) / 0.03
    np.testing.assert_allclose(own, golden["savl"], atol=1e-4)
    losses = fnac_losses(image, audio, 0.03)
    np.testing.assert_allclose([losses[term].item() for term in TERMS], golden["losses"], atol=1e-4)


@pytest.mark.parametrize("foreground", [0.3, 0.6])
def test_equals_a_slow_reference(foreground):
    image, audio = unit_features(1)
    losses, expected = fnac_losses(image, audio, 0.2, foreground), slow_losses(image, audio, 0.2, foreground)
    assert set(losses) == set(expected)
    for term in TERMS:
        assert losses[term].item() == pytest.approx(expected[term], rel=1e-4), term


def test_perfect_agreement_costs_nothing():
    # Picture and sound of a clip share one axis in every cell but one: all four matrices agree.
    audio = torch.eye(3)
    image = audio[:, :, None, None].repeat(1, 1, 2, 2)
    image[:, :, 0, 0] *= 0.5
    losses = fnac_losses(image, audio, 0.03)
    assert losses["contrastive"].item() == pytest.approx(0, abs=1e-6)
    for term in TERMS[1:]:
        assert losses[term].item() == pytest.approx(0, abs=1e-6), term


def test_one_clip_and_flat_maps_stay_finite_and_give_gradients():
    image = F.normalize(torch.ones(2, 4, 3, 3), dim=1).requires_grad_()
    audio = F.normalize(torch.ones(2, 4), dim=1).requires_grad_()
    losses = fnac_losses(image, audio, 0.03)
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert torch.isfinite(image.grad).all()
    assert torch.isfinite(audio.grad).all()
    assert losses["contrastive"].item() == pytest.approx(2 * math.log(2), rel=1e-5)
    single = fnac_losses(*unit_features(2, batch=1), 0.03)
    assert all(value.item() == pytest.approx(0, abs=1e-6) for value in single.values())
