"""Which flow is stored, and what RAFT makes of a video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models.optical_flow import raft_small

from asgmcli.errors import AsgmError, DataError, UsageError
from asgmcli.media.flow import encode_flow
from asgmcli.media.video import read_clip
from asgmcli.media.write import write_clip
from asgmcli.nn.raft import raft
from asgmcli.prepare.datasets.frame_plan import Plan, squeezed
from asgmcli.prepare.datasets.listing import LayoutOptions
from asgmcli.prepare.datasets.stored_flow import choose_flow, flow_file, make_flow


def chosen(released: bool, videos: bool, **own: Any) -> str:
    return choose_flow(LayoutOptions(own=own), released, videos)[0]


def test_flow_is_released_else_made_else_none() -> None:
    assert [chosen(True, True), chosen(False, True), chosen(False, False)] == ["released", "farneback", "none"]
    assert chosen(True, True, flow="none") == "none"
    assert chosen(True, True, flow_method="farneback") == "farneback"


@pytest.mark.parametrize(
    ("own", "kind", "said"),
    [
        ({"flow": "released", "flow_method": "raft"}, UsageError, "contradict"),
        ({"flow": "none", "flow_method": "farneback"}, UsageError, "contradict"),
        ({"flow_method": "raft"}, UsageError, "--flow-weights FILE go together"),
        ({"flow_weights": Path("raft.pth")}, UsageError, "--flow-weights FILE go together"),
        ({"flow_method": "raft", "flow_weights": Path("none.pth")}, DataError, "No weight file"),
        ({"flow_method": "farneback"}, DataError, "no raw videos"),
    ],
)
def test_what_cannot_be_is_told(own: dict[str, Any], kind: type[AsgmError], said: str) -> None:
    with pytest.raises(kind, match=said):
        chosen(False, False, **own)


def test_rafts_flow_leads_to_the_videos_next_frame(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "raft_small.pth"
    torch.save(raft_small().state_dict(), weights)
    film = np.random.default_rng(0).integers(0, 255, (8, 48, 80, 3)).astype(np.uint8)
    video = tmp_path / "film.mp4"
    write_clip(video, film, 8.0, crf=10)
    make_flow("film", Plan(video=str(video), flow="raft", weights=str(weights), out=str(tmp_path)), 1, (224, 224))
    stored = np.load(flow_file(tmp_path, "film"))
    frames = read_clip(video, [7, 6])  # the last frame has no next one
    wanted = -raft(squeezed(frames[0]), squeezed(frames[1]), str(weights))
    np.testing.assert_array_equal(stored[0], encode_flow(wanted))
