"""The pretext's step: which patches show what, tokens that are left out, and sounds that are not heard."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from asgmcli.data.loader import map_tensors
from asgmcli.errors import RecipeError
from asgmcli.nn.timesformer import TimeSformer
from asgmcli.recipe.pretext import PretextRecipe
from asgmcli.recipe.read import load_recipe
from asgmcli.tasks import pretext
from asgmcli.tasks.pretext.data import PretextLoaders
from asgmcli.tasks.pretext.model import PretextState
from asgmcli.tasks.pretext.step import cells_here
from asgmcli.tasks.pretext.targets import nearest_patches, patch_targets
from asgmcli.train.task import Context

RECIPES = Path(__file__).parents[3] / "recipes"
SMALL = (
    "generated.train=12",
    "generated.test=4",
    "generated.still_share=0.4",
    "generated.whole_share=0.2",
    "generated.still_tokens=5",
    "generated.clip_tokens=7",
    "model.video.dim=16",
    "model.video.depth=2",
    "model.audio.dim=16",
    "model.audio.depth=1",
    "train.epochs=5",
    "train.batch=4",
)
NOWHERE = [float("nan")] * 3


def recipe_of(*overrides: str, name: str = "demo_pretext") -> PretextRecipe:
    recipe = load_recipe(RECIPES / f"{name}.yaml", None, (*SMALL, *overrides) if name == "demo_pretext" else overrides)
    assert isinstance(recipe, PretextRecipe)
    return recipe


@pytest.fixture(scope="module")
def loaders() -> PretextLoaders:
    return pretext.build_data(recipe_of())


def state_of(recipe: PretextRecipe, loaders: PretextLoaders) -> PretextState:
    torch.manual_seed(0)
    return pretext.build_state(recipe, loaders, Context(torch.device("cpu"), Path("runs"), RECIPES))


def test_patches_show_the_nearest_sprite_by_hand() -> None:
    # Two sprites on a grid of 2 x 4 patches, whose centres lie at x = 1/8, 3/8, 5/8, 7/8 and y = 1/4, 3/4.
    places = torch.tensor([[[[0.375, 0.25, 0.2]], [[0.875, 0.75, 0.01]], [NOWHERE]]])
    cast = torch.tensor([[[4, 2], [1, 6], [-1, -1]]])
    shapes, motions = patch_targets(cast, places, (2, 4))
    # The first covers its own patch alone (the next one's centre is 0.25 = 1.25 radii away); the second, smaller than a
    # patch, is shown by the patch it stands on.
    assert shapes.tolist() == [[[0, 5, 0, 0, 0, 0, 0, 2]]]
    assert motions.tolist() == [[[0, 3, 0, 0, 0, 0, 0, 7]]]
    nearest = nearest_patches(places[0], (2, 4), 2, torch.zeros(8))
    assert nearest.tolist() == [1, 7]
    # Next come those beside the larger sprite, in its radii; chance decides between the two.
    chance = torch.zeros(8)
    chance[0] = 1.0
    assert nearest_patches(places[0], (2, 4), 3, chance).tolist() == [1, 2, 7]


def test_the_cells_kept_are_the_same_tokens_as_in_the_whole_frame() -> None:
    torch.manual_seed(1)
    video = torch.randn(2, 3, 4, 24, 24)
    network = TimeSformer(16, 2, 2, 4, 0, image_size=24, patch_size=8, tubelet=2).eval()
    tokens = network.embed(video)
    everything = torch.stack([torch.arange(9), torch.randperm(9)])
    cls, patches = network.encode_all(tokens)
    order = everything[:, None, :, None].expand(-1, 2, -1, 16)
    kept_cls, kept_patches = network.encode_all(tokens.gather(2, order), everything)
    # Which place a token has in the list tells nothing: its cell does.
    torch.testing.assert_close(kept_cls, cls)
    torch.testing.assert_close(kept_patches, patches.gather(2, order))
    one = network.encode_all(tokens[:, :, 4:5], torch.full((2, 1), 4))[0]
    other = network.encode_all(tokens[:, :, 4:5], torch.full((2, 1), 5))[0]
    assert (one - other).abs().max() > 1e-4


def test_the_picture_shrinks_to_the_cells_that_are_kept(loaders: PretextLoaders) -> None:
    batches = [next(loaders.epoch(number)) for number in range(5)]
    assert [tuple(batch.inputs.video.shape[1:2]) for batch in batches] == [(2,), (2,), (4,), (4,), (4,)]
    assert [36 if batch.inputs.kept is None else batch.inputs.kept.shape[1] for batch in batches] == [5, 5, 7, 7, 36]
    still = batches[0]
    assert torch.equal(still.inputs.video[:, 0], still.inputs.video[:, 1])
    assert all(a < b for row in still.inputs.kept.tolist() for a, b in pairwise(row))
    state = state_of(loaders.recipe, loaders)
    frames, seen = still.inputs.video, []
    hook = state.network.body.video.patch_embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    state.network(still.inputs)
    hook.remove()
    for clip, cells in enumerate(still.inputs.kept.tolist()):
        for number, cell in enumerate(cells):
            row, column = divmod(cell, 6)
            patch = frames[clip, :, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].transpose(0, 1)
            shown = seen[0][clip, :, :, 8 * number : 8 * number + 8]
            torch.testing.assert_close(shown, patch.float() / 127.5 - 1)


def test_a_step_teaches_every_part_and_stills_no_motion(loaders: PretextLoaders) -> None:
    state = state_of(loaders.recipe, loaders)
    still, clip = next(loaders.epoch(0)), next(loaders.epoch(3))
    assert "motions" not in pretext.train_step(state, still)
    terms = pretext.train_step(state, clip)
    named = {name for name in terms if name != "loss"}
    assert named == {"shapes", "patch_shapes", "timbre", "envelope", "motions", "patch_motions"}
    torch.testing.assert_close(terms["loss"].detach(), torch.stack([terms[name] for name in named]).sum())
    terms["loss"].backward()
    without = [name for name, value in state.network.named_parameters() if value.grad is None]
    assert without == []


def test_only_a_share_of_the_batch_is_heard(loaders: PretextLoaders) -> None:
    batch = next(loaders.epoch(3))
    half, whole = recipe_of("generated.heard_share=0.5"), recipe_of("generated.heard_share=1.0")
    first = replace(map_tensors(batch, lambda tensor: tensor[:2]), ids=batch.ids[:2])
    terms: list[dict[str, Any]] = []
    for recipe, given in ((half, batch), (whole, first), (whole, batch)):
        terms.append(pretext.train_step(state_of(recipe, loaders), given))
    torch.testing.assert_close(terms[0]["timbre"], terms[1]["timbre"])
    torch.testing.assert_close(terms[0]["shapes"], terms[2]["shapes"])
    assert not torch.equal(terms[0]["timbre"], terms[2]["timbre"])


EYES = ("generated.train=8", "generated.test=4", "train.batch=4", "generated.glyphs=5", "model.video.dim=16")
EARS = ("generated.train=8", "generated.test=4", "train.batch=4", "model.audio.dim=16")


def test_eyes_alone_see_other_stills_in_every_epoch() -> None:
    recipe = recipe_of(*EYES, name="demo_eyes")
    loaders = pretext.build_data(recipe)
    first, again, second = next(loaders.epoch(0)), next(loaders.epoch(0)), next(loaders.epoch(1))
    assert first.inputs.video.shape == (4, 1, 3, 56, 56)
    assert torch.equal(first.inputs.video, again.inputs.video)
    of_one_clip = [
        batch.inputs.video[batch.ids.index(name)]
        for name in sorted(set(first.ids) & {name for batch in loaders.epoch(1) for name in batch.ids})[:1]
        for batch in (first, *loaders.epoch(1))
        if name in batch.ids
    ]
    assert not torch.equal(of_one_clip[0], of_one_clip[1])
    state = state_of(recipe, loaders)
    terms = pretext.train_step(state, second)
    assert terms.keys() == {"loss", "shapes", "patch_shapes", "stem_shapes"}
    terms["loss"].backward()
    assert all(value.grad is not None for value in state.network.parameters())
    found = pretext.evaluate(state, loaders.evaluation).metrics
    assert found.keys() == {"shapes", "cells"}


def test_the_event_demos_networks_see_stills_of_glyphs() -> None:
    """The one that sees is asked for glyphs, cell by cell; the one that hears as without them."""
    small = ("generated.train=8", "generated.test=4", "train.batch=4", "generated.glyphs=5")
    recipe = recipe_of(*small, name="event_demo_start")
    loaders = pretext.build_data(recipe)
    shapes = pretext.build_data(recipe_of(*small[:3], name="event_own_start"))
    assert loaders.train.sounds is not None
    torch.testing.assert_close(loaders.train.sounds, shapes.train.sounds)
    batch = next(loaders.epoch(0))
    assert batch.inputs.video.shape == (4, 1, 3, 48, 48)
    assert batch.truth.shapes.shape == (4, 5)
    state = state_of(recipe, loaders)
    terms = pretext.train_step(state, batch)
    assert terms.keys() == {"loss", "shapes", "patch_shapes", "timbre", "envelope"}
    assert pretext.evaluate(state, loaders.evaluation).metrics.keys() == {"shapes", "cells", "timbre", "envelope"}


def test_a_localizer_sees_stills_of_glyphs_too() -> None:
    small = ("generated.train=8", "generated.test=4", "train.batch=4", "generated.glyphs=5")
    recipe = recipe_of(*small, name="demo_localizer_pretext")
    loaders = pretext.build_data(recipe)
    batch = next(loaders.epoch(0))
    assert batch.inputs.video.shape == (4, 1, 3, recipe.clip.size, recipe.clip.size)
    terms = pretext.train_step(state_of(recipe, loaders), batch)
    assert terms.keys() == {"loss", "shapes", "patch_shapes", "timbre", "envelope"}


def test_what_the_cells_of_a_still_are_asked() -> None:
    recipe = recipe_of(*EYES, name="demo_eyes")
    loaders = pretext.build_data(recipe)
    batch = next(loaders.epoch(0))
    here, _ = cells_here(batch, 1, (7, 7))
    for clip, cast in enumerate(batch.truth.cast[:, :, 0].tolist()):
        shown = {glyph for glyph in cast if glyph >= 0}
        assert {int(answer) - 1 for answer in here[clip].unique() if answer > 0} <= shown
        assert batch.truth.shapes[clip].nonzero().flatten().tolist() == sorted(shown)


def test_ears_alone_hear_what_both_would() -> None:
    recipe = recipe_of(*EARS, name="demo_ears")
    loaders = pretext.build_data(recipe)
    both = pretext.build_data(recipe_of("generated.train=8", "generated.test=4", "train.batch=4"))
    torch.testing.assert_close(loaders.train.sounds, both.train.sounds)
    batch = next(loaders.epoch(0))
    assert batch.inputs.video.numel() == 0
    state = state_of(recipe, loaders)
    terms = pretext.train_step(state, batch)
    assert terms.keys() == {"loss", "timbre", "envelope"}
    terms["loss"].backward()
    assert all(value.grad is not None for value in state.network.parameters())
    assert pretext.evaluate(state, loaders.evaluation).metrics.keys() == {"timbre", "envelope"}


def test_each_writes_the_weights_that_it_has(tmp_path: Path) -> None:
    for name, small, file in (("demo_eyes", EYES, "video"), ("demo_ears", EARS, "audio")):
        recipe = recipe_of(*small, name=name)
        state_of(recipe, pretext.build_data(recipe)).export(tmp_path / name)
        assert [path.name for path in (tmp_path / name).iterdir()] == [f"{file}.safetensors"]


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("demo_pretext", "generated.still_tokens=40", "generated.still_tokens 40 is more than the 36 tokens"),
        ("demo_pretext", "clip.size=44", "clip.size 44 is not a multiple of model.video.patch_size 8"),
        ("demo_eyes", "generated.still_tokens=4", "generated.still_tokens is of shapes that move"),
        ("demo_eyes", "model.video.patch_size=7", "stem convolutions goes with patch_size 8"),
        ("demo_ears", "generated.glyphs=4", "generated.glyphs is of networks that see: leave it out"),
        ("demo_localizer_pretext", "generated.clip_tokens=4", "is of the video transformer: leave it out"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(name: str, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe_of(override, name=name)
