"""Views: picture, mask and flow by one crop; strong views by their draw alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asgmcli.tasks.segmentation.views import Crop, crop_flow, crop_image, crop_mask, draw_crop, inside, strengthen


def test_a_smaller_picture_is_padded_right_and_below_and_known_to_be() -> None:
    image = torch.full((1, 3, 8, 8), 200, dtype=torch.uint8)
    crop = Crop(side=4, top=0, left=0, flip=False)
    view, within = crop_image(image, crop, 8), inside(crop, 8)
    assert within[:4, :4].all()
    assert int(within.sum()) == 16
    assert (view[0, :, within] == 200).all()
    assert (view[0, :, ~within] == 0).all()
    mirrored = inside(Crop(4, 0, 0, True), 8)
    assert mirrored[:4, 4:].all()
    mask = torch.ones(1, 8, 8, dtype=torch.bool)
    assert torch.equal(crop_mask(mask, crop, 8)[0], within)
    assert crop_mask(mask, crop, 8, outside=True).all()  # as released: padding counts as sounding
    flow = crop_flow(torch.full((1, 2, 8, 8), 0.9), crop, 8, "reference", 0.0)
    assert (flow[0, :, ~within] == 0).all()


def test_picture_mask_and_flow_are_cropped_alike() -> None:
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[0, 4:8, 6:12] = True
    image = (mask[:, None].expand(-1, 3, -1, -1) * 255).to(torch.uint8)
    flow = 0.5 + 0.25 * mask[:, None].expand(-1, 2, -1, -1).float()
    for crop in (Crop(16, 0, 0, False), Crop(32, 5, 9, True), Crop(20, 2, 0, False)):
        seen = crop_mask(mask, crop, 16)[0]
        assert seen.any()
        assert ((crop_image(image, crop, 16)[0, 0] > 127) != seen).float().mean() < 0.03
        moved = crop_flow(flow, crop, 16, "reference", 0.5)[0, 1] > 0.6
        assert (moved != seen).float().mean() < 0.05


def test_flow_is_lengthened_with_the_picture_and_negated_by_a_flip() -> None:
    flow = torch.tensor([0.6, 0.45]).view(1, 2, 1, 1).expand(1, 2, 8, 8)
    twice = crop_flow(flow, Crop(16, 0, 0, False), 8, "physical", 0.5)[0, :, 0, 0]
    assert twice.tolist() == pytest.approx([0.7, 0.4])
    mirrored = crop_flow(flow, Crop(8, 0, 0, True), 8, "physical", 0.5)[0, :, 0, 0]
    assert mirrored.tolist() == pytest.approx([0.4, 0.45])
    clipped = crop_flow(torch.full((1, 2, 8, 8), 0.9), Crop(16, 0, 0, False), 8, "physical", 0.5)
    assert float(clipped.max()) == 1.0
    kept = crop_flow(flow, Crop(16, 0, 0, True), 8, "reference", 0.5)[0, :, 0, 0]
    assert kept.tolist() == pytest.approx([0.6, 0.45])


def test_crops_lie_inside_and_have_the_scales_asked_for() -> None:
    rng = np.random.default_rng(0)
    crops = [draw_crop(rng, 32, (0.5, 2.0), 0.5) for _ in range(300)]
    sides = np.array([crop.side for crop in crops])
    assert sides.min() >= 16
    assert sides.max() <= 64
    assert 0.4 < np.mean([crop.flip for crop in crops]) < 0.6
    assert all(crop.top + 32 <= max(crop.side, 32) and crop.left + 32 <= max(crop.side, 32) for crop in crops)


def test_a_strong_view_is_a_function_of_its_draw() -> None:
    image = torch.randint(256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    views = [strengthen(image, np.random.default_rng(seed)) for seed in range(20)]
    assert torch.equal(views[3], strengthen(image, np.random.default_rng(3)))
    assert all(view.shape == image.shape and view.dtype == torch.uint8 for view in views)
    changed = [not torch.equal(view, image) for view in views]
    grey = [bool((view[:, 0] == view[:, 1]).all()) for view in views]
    assert sum(changed) >= 14
    assert 1 <= sum(grey) <= 10
