"""Trained and released networks: their recipe read off their names, VGGish's weights, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from asgmcli.errors import DataError, UsageError
from asgmcli.nn.state import write_safetensors
from asgmcli.tasks.segmentation.load import TrainedSegmenter, kind_of, load, owns, recipe_of
from asgmcli.tasks.segmentation.model import Segmenter, build_network
from tests.avs_golden import _INPUTS
from tests.tasks.segmentation.conftest import Make

CPU = torch.device("cpu")


def shapes(name: str, prefix: str = "") -> dict[str, Tensor]:
    return {prefix + key: torch.empty(shape, device="meta") for key, shape in _INPUTS["layout"](name).items()}


@pytest.mark.parametrize(
    ("name", "prefix", "kind", "backbone", "flow"),
    [
        ("tpavi_r50", "", "tpavi", "resnet50", "stem"),
        ("tpavi_pvt", "", "tpavi", "pvt_v2_b5", "pyramid"),
        ("tpavi_r50_plain", "", "tpavi", "resnet50", "none"),
        ("avsegformer_head_ufe", "head.", "avsegformer", "resnet50", "stem"),
        ("avsegformer_head", "head.", "avsegformer", "resnet50", "none"),
    ],
)
def test_released_names_tell_network_backbone_and_flow(
    name: str, prefix: str, kind: str, backbone: str, flow: str
) -> None:
    state = shapes(name, prefix)
    assert kind_of(state) == kind
    recipe = recipe_of({key: torch.zeros(value.shape) for key, value in state.items()}, Path("released v1.pth"))
    assert (recipe.model.kind, recipe.model.backbone, recipe.flow.encoder) == (kind, backbone, flow)
    if kind == "avsegformer":
        sizes = recipe.model
        assert (sizes.queries, sizes.layers, sizes.ffn, sizes.mask_hidden) == (12, 2, 64, 2048)
        assert sizes.query_bias == (flow == "stem")


def test_a_file_of_another_network_is_not_ours(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "other.safetensors", {"weight": torch.zeros(1)}, {})
    assert not owns(path)
    with pytest.raises(DataError, match="not a segmentation network"):
        load(path, None, CPU)
    broken = write_safetensors(tmp_path / "own.safetensors", {"weight": torch.zeros(1)}, {"format": "asgm-segmenter"})
    assert owns(broken)
    with pytest.raises(DataError, match="its description of the network is unusable"):
        load(broken, None, CPU)


def test_vggishs_file_is_taken_where_the_network_hears_by_it(recipe_of: Make, tmp_path: Path) -> None:
    recipe = recipe_of("plain", "audio.kind=vggish")
    trained = TrainedSegmenter(recipe, Segmenter(build_network(recipe)), 20.0, CPU)
    (tmp_path / "vggish.pth").write_bytes(b"")
    assert trained.with_weights({"vggish": tmp_path / "vggish.pth"}).vggish == tmp_path / "vggish.pth"
    with pytest.raises(DataError, match="no such weight file"):
        trained.with_weights({"vggish": tmp_path / "none.pth"})
    with pytest.raises(UsageError, match="takes no such weights"):
        trained.with_weights({"vgg19": tmp_path / "vggish.pth"})
    deaf = TrainedSegmenter(recipe_of("plain"), Segmenter(build_network(recipe_of("plain"))), 20.0, CPU)
    with pytest.raises(UsageError, match=r"audio.kind is ear"):
        deaf.with_weights({"vggish": tmp_path / "vggish.pth"})
