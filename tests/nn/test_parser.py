"""HAN and the parser in all their variants against the released networks' outputs, losses and gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asgmcli.errors import DataError
from asgmcli.losses.adversarial import modality_loss
from asgmcli.losses.weakly_supervised import parsing_losses
from asgmcli.nn.grounding import GroundingTransformer
from asgmcli.nn.han import HAN
from asgmcli.nn.mmil import ParsingNetwork, PoolingControl, mean_of_seconds
from asgmcli.nn.parser import Parser, ReverseGradient
from asgmcli.nn.weights import load_parsing
from tests.golden import llp_inputs

TOLERANCE, OF_LOSSES, OF_GRADIENTS = 2e-4, 1e-5, 2e-5
VARIANTS = ("base", "skip", "gcaa", "skip_gcaa", "gcaa_first", "skip_gcaa_first")
SMALL: dict[str, Any] = {"dim": 16, "classes": 5, "audio_dim": 6, "image_dim": 12, "motion_dim": 8}


def golden(name: str) -> Mapping[str, np.ndarray]:
    with np.load(llp_inputs.HERE / f"llp_{name}.npz") as file:
        return dict(file)


def weights(name: str, seed: int) -> dict[str, Tensor]:
    made = llp_inputs.weights(llp_inputs.layout(name), seed)
    return {key: torch.from_numpy(value) for key, value in made.items()}


def inputs() -> list[Tensor]:
    return [torch.from_numpy(part) for part in llp_inputs.features(12, 3)]


def agree(found: Tensor, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    scale = max(1.0, float(np.abs(expected).max()))
    assert found.shape == expected.shape
    assert float(np.abs(found.detach().numpy() - expected).max()) <= tolerance * scale


def agree_in_gradients(network: ParsingNetwork, known: Mapping[str, np.ndarray], prefix: str) -> None:
    parameters = dict(network.named_parameters())
    names = [key for key in known if key.startswith(prefix)]
    assert names
    for key in names:
        parameter = parameters[key.removeprefix(prefix)]
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        agree(gradient, known[key], OF_GRADIENTS)


def small_inputs(seconds: int = 10) -> list[Tensor]:
    drawn = torch.Generator().manual_seed(3)
    return [torch.randn(2, seconds, SMALL[f"{name}_dim"], generator=drawn) for name in ("audio", "image", "motion")]


def test_han_is_the_released_one() -> None:
    known = golden("han")
    network = HAN(dropout=0.0)
    report = load_parsing(network, weights("han", 11))
    assert not report.missing
    assert {name.split(".")[0] for name in report.unexpected} == {
        "audio_encoder", "visual_encoder", "cmt_encoder", "hat_encoder",
    }  # fmt: skip
    parsed = network.eval()(*inputs())
    for name in ("clip", "audio", "visual", "frame"):
        agree(getattr(parsed, name), known[name])
    agree(parsed.features[:, ::3, 0, ::8], known["encoded_audio"])
    agree(parsed.features[:, ::3, 1, ::8], known["encoded_visual"])
    parsed = network.train()(*inputs())
    target = torch.from_numpy(llp_inputs.clip_labels(13, 3))
    loss = torch.stack(list(parsing_losses(parsed.clip, parsed.audio, parsed.visual, target).values())).sum()
    agree(loss, known["loss"], OF_LOSSES)
    loss.backward()  # type: ignore[no-untyped-call]
    agree_in_gradients(network, known, "grad/")


def variant(name: str, **settings: Any) -> Parser:
    return Parser(
        attention="global" if "gcaa" in name else "multihead",
        skip="skip" in name,
        context="first" if "first" in name else "each",
        **settings,
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_each_parser_is_the_released_one(name: str) -> None:
    known = golden("parser")
    network = variant(name, dropout=0.0, adversarial=True)
    report = load_parsing(network, weights("parser_gcaa" if "gcaa" in name else "parser", 21))
    unused = {"cma_layer.norm1", "cma_layer.norm2"} | (set() if "skip" in name else {"norm_a", "norm_v"})
    assert {part.rpartition(".")[0] for part in report.unexpected} == unused
    parsed = network.eval()(*inputs())
    for part in ("clip", "audio", "visual", "frame"):
        agree(getattr(parsed, part), known[f"{name}/{part}"])
    agree(network.modality(parsed.features, 0.5), known[f"{name}/modality"])

    parsed = network.train()(*inputs())
    target = torch.from_numpy(llp_inputs.clip_labels(13, 3))
    terms = parsing_losses(parsed.clip, parsed.audio, parsed.visual, target)
    guided = terms["guided_audio"] + terms["guided_visual"]
    adversarial = modality_loss(network.modality(parsed.features, 0.5))
    agree(terms["wsl"], known[f"{name}/wsl"], OF_LOSSES)
    agree(guided, known[f"{name}/guided"], OF_LOSSES)
    agree(adversarial, known[f"{name}/adversarial"], OF_LOSSES)
    norm = network.get_submodule("mod_classifier.norm1")
    for statistic in ("running_mean", "running_var"):
        agree(getattr(norm, statistic), known[f"{name}/{statistic}"])
    plain = terms["wsl"] + 0.6 * guided
    for kind, loss in (("plain", plain), ("adv", plain + 0.4 * adversarial)):
        network.zero_grad()
        loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
        agree_in_gradients(network, known, f"{name}/{kind}/grad/")


@pytest.mark.parametrize("make", [HAN, Parser, PoolingControl])
def test_widths_may_be_given_in_their_order(make: Any) -> None:
    network = make(16, 5, 6, 12, 8)
    assert (network.dim, network.classes, network.input_dims) == (16, 5, (6, 12, 8))


def test_frames_are_averaged_over_each_second_first() -> None:
    image = torch.randn(2, 80, 4)
    assert torch.allclose(mean_of_seconds(image, 10)[1, 3], image[1, 24:32].mean(0))
    assert mean_of_seconds(image[:, :10], 10) is not None
    with pytest.raises(ValueError, match="79 frames do not belong to 10 seconds"):
        mean_of_seconds(image[:, :79], 10)


@pytest.mark.parametrize("make", [HAN, Parser, PoolingControl], ids=lambda kind: kind.__name__)
def test_what_is_parsed_are_probabilities_of_each_clip_alone(make: Any) -> None:
    network = make(**SMALL).eval()
    parts = small_inputs()
    parsed = network(*parts)
    alone = network(*(part[1:] for part in parts))
    assert parsed.frame.shape == (2, 10, 2, 5)
    assert parsed.features.shape == (2, 10, 2, 16)
    for name in ("clip", "audio", "visual"):
        values = getattr(parsed, name)
        assert values.shape == (2, 5)
        assert bool(((values > 0) & (values < 1)).all())
        assert torch.allclose(getattr(alone, name), values[1:], atol=1e-6)
    # The pooled probability of a modality is a mean of its seconds' ones.
    low, high = parsed.frame.amin(1), parsed.frame.amax(1)
    assert bool((parsed.audio >= low[:, 0] - 1e-6).all() and (parsed.audio <= high[:, 0] + 1e-6).all())


def test_without_cross_attention_no_modality_reads_the_other() -> None:
    network = Parser(**SMALL, cross=False).eval()
    parts = small_inputs()
    other = [parts[0], *(torch.randn_like(part) for part in parts[1:])]
    assert torch.equal(network(*parts).features[:, :, 0], network(*other).features[:, :, 0])
    crossed = Parser(**SMALL).eval()
    assert not torch.allclose(crossed(*parts).features[:, :, 0], crossed(*other).features[:, :, 0])


def test_the_first_context_gives_all_seconds_one_attention() -> None:
    network = variant("gcaa_first", **SMALL, cross=False).eval()
    parts = small_inputs()
    changed = [part.clone() for part in parts]
    changed[0][:, 4] += 1  # the mean of the sequence sees it, so compare two seconds of equal input
    changed[0][:, 5] = changed[0][:, 6] = 1.0
    parsed = network(*changed).features[:, :, 0]
    assert torch.allclose(parsed[:, 5], parsed[:, 6], atol=1e-6)


def test_the_gradient_comes_back_reversed() -> None:
    values = torch.tensor([1.0, -2.0], requires_grad=True)
    passed: Tensor = ReverseGradient.apply(values, 0.25)  # type: ignore[no-untyped-call]
    assert torch.equal(passed, values)
    (3 * passed).sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad.tolist() == [-0.75, -0.75]
    with pytest.raises(ValueError, match="no discriminator"):
        Parser(**SMALL).modality(torch.zeros(1, 10, 2, 16), 1.0)


def test_counts_of_parameters_are_the_papers() -> None:
    def millions(network: torch.nn.Module) -> float:
        return sum(parameter.numel() for parameter in network.parameters()) / 1e6

    assert round(millions(HAN()), 2) == 4.57
    assert round(millions(variant("skip_gcaa", adversarial=True)), 2) == 8.59
    assert round(millions(variant("skip", adversarial=True)), 2) == 7.01


KINDS: dict[str, Any] = {
    "HAN": HAN,
    "a parser with multihead attention": Parser,
    "a parser with GCAA": lambda **sizes: Parser(**sizes, attention="global"),
    "a grounding transformer": lambda dim, **sizes: GroundingTransformer(
        dim, depth=1, heads=2, hidden=8, head_dim=dim, **sizes
    ),
    "pooling alone": PoolingControl,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_of_another_kind_or_size_is_refused_with_what_it_is(kind: str) -> None:
    state = KINDS[kind](**SMALL).state_dict()
    load_parsing(KINDS[kind](**SMALL), state)
    for other, make in KINDS.items():
        if other != kind:
            with pytest.raises(DataError, match=f"is {kind}; wanted is {other}"):
                load_parsing(make(**SMALL), state)
    for size in ("classes", "audio_dim"):
        with pytest.raises(DataError, match=rf"in the file and .* The file is {kind}"):
            load_parsing(KINDS[kind](**{**SMALL, size: 7}), state)
    del state["fc_prob.bias"]
    with pytest.raises(DataError, match=r"1 of \d+ tensors are missing \(fc_prob.bias\)"):
        load_parsing(KINDS[kind](**SMALL), state)


def test_other_files_are_no_parsers(tmp_path: Any) -> None:
    with pytest.raises(DataError, match="no network that parses videos; wanted is HAN"):
        load_parsing(HAN(**SMALL), {"conv1.weight": torch.zeros(1)})
    with pytest.raises(DataError, match="No weight file"):
        load_parsing(HAN(**SMALL), tmp_path / "none.pt")


def test_probabilities_stay_float32_under_autocast() -> None:
    network = variant("skip_gcaa", **SMALL, adversarial=True)
    with torch.autocast("cpu", torch.bfloat16):
        parsed = network(*small_inputs())
        g = network.modality(parsed.features, 1.0)
        loss = parsing_losses(parsed.clip, parsed.audio, parsed.visual, torch.ones(2, 5))["wsl"] + modality_loss(g)
    assert {parsed.clip.dtype, parsed.frame.dtype, g.dtype, loss.dtype} == {torch.float32}
