"""One training step against a slow one of plain loops, and what each of its parts must do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asgmcli.masks.block import block_mask
from asgmcli.masks.heatmap import apart, heatmap_mask, token_weights
from asgmcli.masks.mix import draw_lambda, partners
from asgmcli.masks.placebo import misplaced
from asgmcli.masks.tube import tube_mask
from asgmcli.nn.localizer import FNAC, save_localizer
from asgmcli.nn.state import write_safetensors
from asgmcli.nn.timesformer import TimeSformer
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.tasks.recognition import build_data, build_state, evaluate, step, train_step
from asgmcli.tasks.recognition.batch import Batch, Unlabeled
from asgmcli.tasks.recognition.model import RecognitionState
from asgmcli.train.seed import seed_everything, step_generator
from asgmcli.train.task import Context
from tests.tiny_training import tiny

NO_DROP = {
    "model__video__drop_path": 0.0,
    "model__audio__drop_path": 0.0,
    "train__supervised_epochs": 0,
    "thresholds__value": 0.23,
    "audio__mean": -5.0,  # given, it need not be measured over all clips
    "audio__std": 4.0,
}
TERMS = ("supervised", "unlabeled", "mixup", "contrastive")
SHOWN = {"labeled_accuracy", "pseudo_share", "pseudo_accuracy", "pseudo_confidence"}
Made = tuple[RecognitionState, Batch]


@pytest.fixture(scope="module")
def localizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small FNAC with random weights: 32 pixels give a map of 4 x 4."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("localizer") / "localizer.safetensors"
    return save_localizer(path, FNAC(8, width=4, stride=8), {"input_size": 32, "seconds": 0.5})


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video transformer with a stem of convolutions, whose batch norms have seen something."""
    torch.manual_seed(4)
    network = TimeSformer(8, 2, 2, 4, 0, image_size=24, patch_size=8, drop_path=0.0, convolutions=True)
    network.embed(torch.randn(8, 3, 2, 24, 24))
    return write_safetensors(tmp_path_factory.mktemp("eyes") / "video.safetensors", network.state_dict(), {})


@pytest.fixture
def make(demo: Path, tmp_path: Path, localizer: Path, eyes: Path) -> Callable[..., Made]:
    """A state and its first batch for a changed recipe; the teacher differs from the student, some labels pass."""

    def build(row: str | None = None, **changes: Any) -> Made:
        guide = changes.get("localizer", {})
        if changes.get("masks__kind") == "localization" and "kind" not in guide:
            changes["localizer"] = {"file": str(localizer), "seconds": 0.5, **guide}
        if changes.get("model__video__stem") == "convolutions":
            changes["model__video__init"] = {"file": str(eyes)}
        heard = row != "video"
        seen = changes.get("model__modality") != "audio"
        settings = {key: value for key, value in NO_DROP.items() if heard or "audio" not in key}
        settings = {key: value for key, value in settings.items() if seen or "video" not in key}
        if changes.get("thresholds__kind") == "none":
            del settings["thresholds__value"]
        recipe = tiny(tmp_path, demo, row, **{**settings, **changes})
        seed_everything(5)
        data = build_data(recipe)
        state = build_state(recipe, data, Context(torch.device("cpu"), tmp_path))
        generator = torch.Generator().manual_seed(7)
        for network in (state.student, state.teacher):
            for parameter in network.parameters():
                parameter.data += 0.4 * torch.randn(parameter.shape, generator=generator)
        state.begin_step(0, 3)
        return state, next(data.epoch(0))

    return build


def cross_entropy(logits: Tensor, label: int) -> Tensor:
    return torch.logsumexp(logits, 0) - logits[label]


def slow_step(state: RecognitionState, batch: Batch) -> dict[str, Tensor]:
    """The method one clip at a time: no batches, no shared tokens, no warped tokens but warped pixels."""
    recipe, student, teacher = state.recipe, state.student, state.teacher
    labeled, unlabeled = batch.labeled, batch.unlabeled
    listens = labeled.audio is not None
    tubelet = recipe.model.video.tubelet

    def clip(frames: Tensor) -> Tensor:
        """[T, 3, H, W] uint8 -> [1, 3, T, H, W] with mean and deviation 0.5."""
        if not recipe.sees:
            return torch.zeros(1, 3, 4, 24, 24)
        return ((frames.double() / 255 - 0.5) / 0.5).permute(1, 0, 2, 3)[None].float()

    def embed(pixels: Tensor) -> Tensor | None:
        return student.embed(pixels) if recipe.sees else None

    def classify(tokens: Tensor | None, sound: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        if tokens is None:
            return student.head(student.audio(sound[None]))[0], None, None
        picture = student.video.encode(tokens)
        if sound is None:
            return student.video.head(picture)[0], picture[0], None
        heard = student.audio(sound[None])
        return student.fusion(picture, heard)[0], picture[0], heard[0]

    def sound_of(sound: Tensor | None, index: int) -> Tensor | None:
        return sound[index] if sound is not None else None

    pairs: list[tuple[Tensor, Tensor | None]] = []  # the class tokens of every clip
    supervised = torch.zeros(())
    clips = len(labeled.label)

    def lose(pixels: Tensor, lost: list[bool]) -> Tensor:
        """A clip without the channels that it loses, as `augment.channels` says."""
        each = recipe.augment.channels == "each"
        kept = [channel for channel in range(3) if not lost[channel]]
        rest = torch.full_like(pixels, 0.0 if each else -1.0)
        rest[:, kept] = pixels[:, kept] / (1 - recipe.augment.channel_dropout if each else 1)
        return rest

    for index in range(clips):
        pixels = clip(labeled.video[index])
        tokens = embed(pixels if labeled.dropped is None else lose(pixels, labeled.dropped[index].tolist()))
        logits, *tokens_of = classify(tokens, sound_of(labeled.audio, index))
        pairs.append((tokens_of[0], tokens_of[1]))
        supervised = supervised + cross_entropy(logits, int(labeled.label[index])) / clips

    count = len(unlabeled.number)
    soft: list[Tensor] = []
    for index in range(count):
        sound = unlabeled.audio[index][None] if listens else None
        with torch.no_grad():
            soft.append(teacher(clip(unlabeled.weak[index]) if recipe.sees else None, sound)[0].softmax(0))
    if state.alignment is not None:  # its first batch: the running mean is this one's
        mean, wanted = torch.stack(soft).mean(0), state.alignment.shares
        soft = [row * wanted / mean / (row * wanted / mean).sum() for row in soft]
    hard = [int(probabilities.argmax()) for probabilities in soft]
    limits = class_limits(state)
    passes = [float(soft[i][hard[i]]) >= limits[hard[i]] for i in range(count)]

    strong, as_partner = [], []
    for index in range(count):
        pixels = clip(unlabeled.strong[index])
        strong.append(lose(pixels, unlabeled.dropped[index].tolist()))
        as_partner.append(pixels if recipe.augment.channels == "each" else strong[-1])
    consistency = torch.zeros(())
    for index in range(count):
        tokens = embed(strong[index])
        logits, *tokens_of = classify(tokens, sound_of(unlabeled.strong_audio, index))
        pairs.append((tokens_of[0], tokens_of[1]))
        asked = cross_entropy(logits, hard[index])
        if recipe.losses.unlabeled.labels == "soft":
            powers = soft[index] ** (1 / recipe.losses.unlabeled.temperature)
            asked = sum(powers[k] / powers.sum() * cross_entropy(logits, k) for k in range(len(logits)))
        consistency = consistency + passes[index] * asked / count

    terms = {"supervised": supervised, "unlabeled": consistency}
    plain = len(pairs)
    if recipe.losses.mixup.weight > 0:
        draw = step_generator(recipe.seed, state.step)
        keep = draw_lambda(recipe.masks.alpha, recipe.masks.beta, draw)
        partner = partners(count, draw).tolist()
        if recipe.sees:
            maps = slow_maps(state, unlabeled, strong, draw)
            mask = draw_mask(state, unlabeled, drawing(state, unlabeled, maps, partner), keep, draw)
            frames_count, cells = mask.shape[1:]
        mixup = torch.zeros(())
        for a, b in enumerate(partner):
            share = recipe.losses.mixup.constant if recipe.losses.mixup.target == "constant" else keep
            mixed = None
            if recipe.sees:
                share = share_of(state, maps, mask, a, b, unlabeled.warp[b].tolist())
                warped = as_partner[b].unflatten(2, (-1, tubelet))[:, :, unlabeled.warp[b]].flatten(2, 3)
                if recipe.model.video.stem == "convolutions":  # pixels are mixed, a patch of 8 x 8 at a time
                    pixels = torch.stack([warped[0, :, t] for t in range(frames_count)], dim=1)
                    for t in range(frames_count):
                        for row, column in (divmod(n, 3) for n in range(cells) if mask[a, t, n]):
                            patch = (slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8))
                            pixels[:, t, patch[0], patch[1]] = strong[a][0, :, t, patch[0], patch[1]]
                    tokens_a = tokens_b = student.embed(pixels[None])
                else:
                    tokens_a, tokens_b = student.embed(strong[a]), student.embed(warped)
                mixed = torch.stack(
                    [
                        torch.stack([(tokens_a if mask[a, t, n] else tokens_b)[0, t, n] for n in range(cells)])
                        for t in range(frames_count)
                    ]
                )
            sound = None
            if listens:
                sound = share * unlabeled.strong_audio[a] + (1 - share) * unlabeled.strong_audio[b]
            logits, *tokens_of = classify(None if mixed is None else mixed[None], sound)
            pairs.append((tokens_of[0], tokens_of[1]))
            target = torch.zeros(len(logits))
            for weight, source in ((share, a), (1 - share, b)):
                for k in range(len(logits)):
                    one_hot = passes[source] and recipe.losses.mixup.labels == "sharp"
                    said = float(k == hard[source]) if one_hot else float(soft[source][k])
                    if recipe.losses.mixup.labels == "given":
                        said = float(k == unlabeled.label[source])
                    target[k] += weight * said
            said = logits if recipe.losses.mixup.space == "logits" else logits.softmax(0)
            error = sum((target[k] - said[k]) ** 2 for k in range(len(logits))) / len(logits)
            counts = share * passes[a] + (1 - share) * passes[b]
            if recipe.losses.mixup.mask == "mixture":
                counts = float(float(target.max()) >= recipe.thresholds.value)
            counts = 1.0 if recipe.losses.mixup.labels == "given" else counts
            mixup = mixup + error * counts / count
        terms["mixup"] = mixup
    if recipe.losses.contrastive.weight > 0:
        pairs = pairs[:plain] if recipe.losses.contrastive.clips == "unmixed" else pairs
        terms["contrastive"] = slow_contrastive(pairs, recipe.losses.contrastive.temperature)
    weights = {"supervised": 1.0, **{name: getattr(recipe.losses, name).weight for name in TERMS[1:]}}
    terms["loss"] = sum((weights[name] * value for name, value in terms.items()), torch.zeros(()))
    return terms


def class_limits(state: RecognitionState) -> list[float]:
    """T(c) from the labels kept so far, by counting (Eq. 5, linear, without warm-up)."""
    thresholds, classes = state.recipe.thresholds, len(state.data.classes)
    if thresholds.kind != "flexible":
        return [thresholds.value if thresholds.kind == "fixed" else 0.0] * classes
    kept = state.threshold.state_dict()["labels"].tolist()
    counts = [kept.count(c) for c in range(classes)]
    return [thresholds.value * (count / max(counts) if max(counts) else 1.0) for count in counts]


def slow_maps(
    state: RecognitionState, unlabeled: Unlabeled, strong: list[Tensor], draw: torch.Generator
) -> Tensor | None:
    """[B, T, h, w], a clip and a token's frames at a time."""
    masks, tubelet = state.recipe.masks, state.recipe.model.video.tubelet
    if masks.kind != "localization":
        return None
    maps = []
    for index, frames in enumerate(unlabeled.strong):
        if state.localizer is None:
            of_frames = unlabeled.maps[index]
        else:
            wave, settings = unlabeled.wave[index][None], state.recipe.localizer
            whole = frames.transpose(0, 1)[None].float() / 255
            seen = strong[index] * 0.5 + 0.5 if settings.picture == "augmented" else whole
            lost = unlabeled.wave_masks[index][None] if settings.sound == "augmented" else None
            of_frames = state.localizer.maps(seen, wave, lost)[0]
        maps.append(torch.stack([of_token.mean(0) for of_token in of_frames.split(tubelet)]))
    return torch.stack(maps) if masks.placebo == "none" else misplaced(torch.stack(maps), masks.placebo, draw)


def drawing(state: RecognitionState, unlabeled: Unlabeled, maps: Tensor | None, partner: list[int]) -> Tensor | None:
    """The maps that draw, a clip at a time: its own, or apart from its partner's as that is shown."""
    if maps is None or state.recipe.masks.maps == "own":
        return maps
    pairs = [(maps[a], maps[b][unlabeled.warp[b]]) for a, b in enumerate(partner)]
    return torch.cat([apart(own[None], other[None]) for own, other in pairs])


def draw_mask(
    state: RecognitionState, unlabeled: Unlabeled, maps: Tensor | None, keep: float, draw: torch.Generator
) -> Tensor:
    masks = state.recipe.masks
    if maps is None:
        times = state.recipe.clip.frames // state.recipe.model.video.tubelet
        if masks.kind == "block":
            return block_mask(len(unlabeled.number), times, (3, 3), keep, draw)
        return tube_mask(len(unlabeled.number), times, 9, keep, draw)
    options = {"average_frames": masks.average_frames, "sharpness": masks.sharpness}
    return heatmap_mask(maps, grid=(3, 3), keep=keep, generator=draw, **options)


def share_of(state: RecognitionState, maps: Tensor | None, mask: Tensor, a: int, b: int, warp: list[int]) -> float:
    """A's share of its mixture with B (docs/METHOD.md), cell by cell."""
    settings, masks = state.recipe.losses.mixup, state.recipe.masks
    if settings.target == "constant":
        return settings.constant
    if settings.target == "tokens":
        return float(mask[a].float().mean())
    assert maps is not None
    weights = token_weights(maps, (3, 3), masks.average_frames, masks.sharpness)
    kept, left, all_a, all_b = 0.0, 0.0, 0.0, 0.0
    for time, row in enumerate(mask[a].tolist()):
        for cell, stays in enumerate(row):
            of_a, of_b = float(weights[a, time, cell]), float(weights[b, warp[time], cell])
            all_a, all_b = all_a + of_a, all_b + of_b
            kept, left = kept + of_a * stays, left + of_b * (not stays)
    return kept / all_a / (kept / all_a + left / all_b)


def slow_contrastive(pairs: list[tuple[Tensor, Tensor | None]], temperature: float) -> Tensor:
    """Eq. 15-20 as printed: for every clip its own partner among all."""
    total = torch.zeros(())
    clips = len(pairs)
    for k, (picture, sound) in enumerate(pairs):
        assert sound is not None
        across = [torch.cosine_similarity(other, sound, 0) / temperature for other, _ in pairs]
        back = [torch.cosine_similarity(picture, other, 0) / temperature for _, other in pairs if other is not None]
        total = total - (across[k] - torch.stack(across).logsumexp(0)) / (2 * clips)
        total = total - (back[k] - torch.stack(back).logsumexp(0)) / (2 * clips)
    return total


GUIDED = {"masks__kind": "localization"}
SHARP_MASS = {"losses__mixup__target": "mass", "masks__sharpness": 3.0}
TUBELETS = {"model__video__tubelet": 2}
SOUND = {"model__modality": "audio", "losses__contrastive__weight": 0.0}
CASES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "probabilities": {"losses__mixup__space": "probabilities"},
    "fixed": {"thresholds__kind": "fixed"},
    "guided": GUIDED,
    "guided, frames together": {**GUIDED, "masks__average_frames": 4},
    "guided, mass": {**GUIDED, "losses__mixup__target": "mass"},
    "guided, sharp mass, frames together": {**GUIDED, **SHARP_MASS, "masks__average_frames": 2},
    "moved map, mass": {**GUIDED, **SHARP_MASS, "masks__placebo": "roll"},
    "shuffled map, tokens": {**GUIDED, "masks__placebo": "shuffle"},
    "oracle, mass": {**GUIDED, **SHARP_MASS, "localizer": {"kind": "oracle"}},
    "constant": {"losses__mixup__target": "constant", "losses__mixup__constant": 0.7},
    "soft labels": {"losses__mixup__labels": "soft"},
    "labelled clips mixed": {"data__unlabeled": "labeled", "losses__mixup__labels": "given"},
    "tubelets": {**TUBELETS},
    "guided, tubelets, mass": {**GUIDED, **SHARP_MASS, **TUBELETS},
    "a stem of convolutions, frozen": {
        "model__video__stem": "convolutions",
        "model__video__frozen_stem": True,
        "augment__channels": "each",
        "augment__channel_dropout": 0.5,
    },
    "a block": {"masks__kind": "block"},
    "guided by both clips' maps": {**GUIDED, **SHARP_MASS, "masks__maps": "both"},
    "all pass, soft and aligned, labelled clips strong": {
        "thresholds__kind": "none",
        "thresholds__alignment": True,
        "losses__unlabeled__labels": "soft",
        "losses__unlabeled__temperature": 0.5,
        "augment__labeled": "strong",
        "augment__channel_dropout": 0.7,
    },
    "contrast without mixtures": {"losses__contrastive__clips": "unmixed"},
    "no mixture": {"losses__mixup__weight": 0.0},
    "no contrast": {"losses__contrastive__weight": 0.0},
    "picture alone": {"row": "video"},
    "sound alone": SOUND,
    "sound alone, constant": {**SOUND, "losses__mixup__target": "constant", "losses__mixup__constant": 0.7},
    "printed mask of mixtures": {"losses__mixup__mask": "mixture", "losses__mixup__labels": "soft"},
    "each channel by itself": {"augment__channels": "each", "augment__channel_dropout": 0.5},
    "guided by what the student sees and hears": {
        **GUIDED,
        "augment__channels": "each",
        "localizer": {"picture": "augmented", "sound": "augmented"},
    },
    "all channels dropped, all warped": {"augment__channel_dropout": 1.0, "train__unlabeled_ratio": 4},
}


def let_half_pass(state: RecognitionState, batch: Batch) -> None:
    """Put the threshold amid the teacher's confidences, which other versions of torch draw otherwise."""
    weak = ((batch.unlabeled.weak / 255 - 0.5) / 0.5).transpose(1, 2) if state.recipe.sees else None
    with torch.no_grad():
        surest = state.teacher(weak, batch.unlabeled.audio).softmax(1).amax(1).sort().values
    middle = len(surest) // 2
    state.threshold.threshold = float(surest[middle - 1 : middle + 1].mean())
    settings = state.recipe.thresholds.model_copy(update={"value": state.threshold.threshold})
    state.recipe = state.recipe.model_copy(update={"thresholds": settings})


COMBINED = (
    "fixed",
    "guided",
    "guided, frames together",
    "guided, mass",
    "guided, sharp mass, frames together",
    "guided, tubelets, mass",
    "constant",
    "no contrast",
    "sound alone, constant",
    "shuffled map, tokens",
    "printed mask of mixtures",
)
"""Cases of settings that other cases have too, or that take no branch of their own; CI has them, with -m long."""


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.long if case in COMBINED else ()) for case in CASES]
)
def test_a_step_is_that_of_plain_loops(make: Callable[..., Made], case: str) -> None:
    state, batch = make(**CASES[case])
    let_half_pass(state, batch)
    batches = [batch, next(state.data.epoch(1))]
    for number, each in enumerate(batches[:1] if state.alignment is not None else batches):
        state.begin_step(0, number)
        expected = slow_step(state, each)
        terms = train_step(state, each)
        assert set(terms) - SHOWN == set(expected)
        for name, value in expected.items():
            assert float(terms[name].detach()) == pytest.approx(float(value.detach()), rel=1e-5, abs=1e-5), name
        some = 1.0 if state.recipe.thresholds.kind == "none" else 0.5
        assert number or float(terms["pseudo_share"]) == some  # some labels were used, not all
        learnt = {name: value for name, value in state.student.named_parameters() if value.requires_grad}
        grads = [
            torch.autograd.grad(loss, list(learnt.values()), allow_unused=True)
            for loss in (terms["loss"], expected["loss"])
        ]
        for name, fast, slow in zip(learnt, *grads, strict=True):
            if slow is not None or fast is not None:
                torch.testing.assert_close(fast, slow, rtol=1e-3, atol=1e-5, msg=name)


def test_a_frozen_stem_stays_as_it_starts_and_a_free_one_learns(make: Callable[..., Made]) -> None:
    stem = {"model__video__stem": "convolutions"}
    for frozen in (True, False):
        state, batch = make(**stem, model__video__frozen_stem=frozen)
        before = {name: value.clone() for name, value in state.student.video.patch_embed.state_dict().items()}
        train_step(state, batch)["loss"].backward()
        found = state.student.video.patch_embed
        assert found.training is not frozen
        assert all((parameter.grad is None) is frozen for parameter in found.parameters())
        moved = {name for name, value in found.state_dict().items() if not torch.equal(value, before[name])}
        assert (not moved) is frozen


@pytest.mark.parametrize("kind", ["tube", "block", "localization"])
def test_the_mixtures_weight_is_the_fraction_of_tokens_truly_kept(make: Callable[..., Made], kind: str) -> None:
    state, batch = make(masks__kind=kind)
    unlabeled = replace(batch.unlabeled, warp=torch.tensor([[0, 0, 3, 3]] * 4))
    tokens = torch.randn(4, 4, 9, 8, requires_grad=True)
    weights = set()
    for number in range(12):
        state.begin_step(0, number)
        pixels = torch.zeros(4, 3, 4, 24, 24)
        mixture = step._mix(state, unlabeled, step.StrongViews(tokens, tokens, pixels))
        kept = (mixture.tokens == tokens).all(dim=-1)
        others = tokens[mixture.partner][:, [0, 0, 3, 3]]
        assert bool((kept | (mixture.tokens == others).all(dim=-1)).all())
        moved = mixture.partner != torch.arange(4)  # a clip mixed with itself keeps more
        assert torch.allclose(kept[moved].float().mean(dim=2), torch.tensor(mixture.weight))
        sounds = unlabeled.strong_audio
        assert mixture.audio is not None
        torch.testing.assert_close(
            mixture.audio, mixture.weight * sounds + (1 - mixture.weight) * sounds[mixture.partner]
        )
        weights.add(round(mixture.weight * 9))
    assert len(weights) > 2


def reached(state: RecognitionState) -> set[str]:
    return {name.split(".")[0] for name, p in state.student.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.mark.parametrize("term", TERMS)
def test_every_term_reaches_what_it_should(make: Callable[..., Made], term: str) -> None:
    state, batch = make()
    train_step(state, batch)[term].backward()
    expected = {"video", "audio"} if term == "contrastive" else {"video", "audio", "fusion"}
    assert reached(state) == expected
    assert all(parameter.grad is None for parameter in state.teacher.parameters())


def test_a_localizer_takes_no_gradient_and_stays_frozen(make: Callable[..., Made]) -> None:
    state, batch = make(masks__kind="localization")
    assert state.localizer is not None
    before = {name: value.clone() for name, value in state.localizer.state_dict().items()}
    train_step(state, batch)["loss"].backward()
    assert not state.localizer.training
    assert all(parameter.grad is None for parameter in state.localizer.parameters())
    assert all(torch.equal(value, before[name]) for name, value in state.localizer.state_dict().items())


def test_the_teacher_follows_by_its_decay(make: Callable[..., Made]) -> None:
    state, _ = make(train__ema_decay=0.9)
    before = [value.clone() for value in state.teacher.state_dict().values()]
    state.after_step()
    for old, student, new in zip(
        before, state.student.state_dict().values(), state.teacher.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * student)
    assert not state.teacher.training
    assert state.student.training


def test_a_teacher_born_after_the_supervised_epochs_is_the_students_copy_until_then(make: Callable[..., Made]) -> None:
    """As if it were made anew from the student when the first unlabelled clip is met (SVFormer's released loop)."""
    state, batch = make(train__teacher="after_warmup", train__supervised_epochs=2, train__ema_decay=0.9)
    for epoch in range(2):
        state.begin_step(epoch, epoch)
        train_step(state, replace(batch, unlabeled=None))["loss"].backward()
        for parameter in state.student.parameters():
            parameter.data -= 0.1 if parameter.grad is None else parameter.grad
        state.after_step()
        for student, teacher in zip(state.student.parameters(), state.teacher.parameters(), strict=True):
            assert torch.equal(student, teacher)
    before = [parameter.clone() for parameter in state.teacher.parameters()]
    state.begin_step(2, 2)
    for parameter in state.student.parameters():
        parameter.data += 1
    state.after_step()
    for old, new in zip(before, state.teacher.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.1)


def test_supervised_epochs_are_the_labelled_clips_alone(make: Callable[..., Made]) -> None:
    state, batch = make()
    whole = train_step(state, batch)
    before = state.threshold.state_dict()["labels"].clone()
    terms = train_step(state, replace(batch, unlabeled=None))
    assert set(terms) == {"loss", "supervised", "labeled_accuracy"}
    assert float(terms["loss"].detach()) == pytest.approx(float(whole["supervised"].detach()), rel=1e-5)
    terms["loss"].backward()
    assert reached(state) == {"video", "audio", "fusion"}
    assert torch.equal(state.threshold.state_dict()["labels"], before)


def test_picture_alone_has_no_ears(make: Callable[..., Made]) -> None:
    state, batch = make("video")
    assert state.student.audio is None
    assert state.student.fusion is None
    assert batch.labeled.audio is None
    terms = train_step(state, batch)
    assert "contrastive" not in terms
    terms["loss"].backward()
    assert reached(state) == {"video"}


def test_sound_alone_has_no_eyes_and_reads_no_frame(make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> None:
        raise AssertionError("a frame was read")

    monkeypatch.setattr("asgmcli.data.reader.ClipReader.frames", read)
    state, batch = make(**SOUND)
    assert state.student.video is state.student.fusion is None
    assert batch.labeled.video.shape == (2, 0)
    train_step(state, batch)["loss"].backward()
    assert reached(state) == {"audio", "head"}
    metrics = evaluate(state, state.data.evaluation).metrics
    assert metrics.keys() == {"top1", "top5", "top1_student", "top5_student"}  # one sense has nothing to exchange


def test_the_truth_of_unlabelled_clips_is_shown_but_never_used(make: Callable[..., Made]) -> None:
    state, batch = make(thresholds__kind="fixed")
    first = train_step(state, batch)
    batch = replace(batch, unlabeled=replace(batch.unlabeled, label=(batch.unlabeled.label + 1) % 10))
    second = train_step(state, batch)
    assert float(first["loss"].detach()) == float(second["loss"].detach())
    assert float(first["pseudo_share"]) > 0
    batch = replace(batch, unlabeled=replace(batch.unlabeled, label=torch.full((4,), -1)))
    assert "pseudo_accuracy" not in train_step(state, batch)


def test_the_step_depends_on_its_number_and_not_on_global_draws(make: Callable[..., Made]) -> None:
    state, batch = make(thresholds__kind="fixed")
    losses = []
    for number, seed in ((1, 0), (1, 1), (2, 0)):
        torch.manual_seed(seed)
        state.begin_step(0, number)
        losses.append(float(train_step(state, batch)["mixup"].detach()))
    assert losses[0] == losses[1] != losses[2]
    assert all(math.isfinite(loss) for loss in losses)


def test_the_state_goes_into_a_file_and_back(make: Callable[..., Made]) -> None:
    state, batch = make()
    train_step(state, batch)["loss"].backward()
    saved = state.state_dict()
    other, _ = make()
    other.load_state_dict(saved)
    assert all(torch.equal(a, b) for a, b in zip(other.teacher.parameters(), state.teacher.parameters(), strict=True))
    assert torch.equal(other.threshold.state_dict()["labels"], state.threshold.state_dict()["labels"])
    assert bool((state.threshold.state_dict()["labels"] >= 0).any())


def test_the_running_mean_of_answers_goes_into_a_file_and_back(make: Callable[..., Made]) -> None:
    state, batch = make(thresholds__alignment=True)
    train_step(state, batch)
    other, _ = make(thresholds__alignment=True)
    other.load_state_dict(state.state_dict())
    assert torch.equal(other.alignment.state_dict()["mean"], state.alignment.state_dict()["mean"])
    assert float(state.alignment.state_dict()["mean"].sum()) == pytest.approx(1)
    assert "alignment" not in make()[0].state_dict()


def test_recipes_are_frozen(make: Callable[..., Made]) -> None:
    state, _ = make()
    assert isinstance(state.recipe, RecognitionRecipe)
    with pytest.raises(ValueError, match="frozen"):
        state.recipe.seed = 3  # type: ignore[misc]
