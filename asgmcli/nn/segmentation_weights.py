"""Released weights of segmentation networks (AVSBench's TPAVI, AVSegFormer, UFE) and of their backbones, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from asgmcli.errors import DataError
from asgmcli.nn.avsegformer import AVSegFormer, AVSegHead
from asgmcli.nn.resnet import ResNet18
from asgmcli.nn.state import LoadReport, fit, state_of
from asgmcli.nn.tpavi import TPAVINetwork

State = str | Path | Mapping[str, object]
# Parts of released files that no forward pass ever used: AVSBench's second branch, the classifiers, unread layers.
_DEAD_BACKBONE = re.compile(r"^(layer[34]_2|fc|head)\.")
_DEAD_TPAVI = re.compile(r"^(path4\.resConfUnit1|flownet\.fc)\.")
_DEAD_HEAD = re.compile(r"^(attn_fc|fpn|flownet\.fc)\.")
_UNREAD_FLOW = re.compile(r"^flownet\.layer[234]\.")
_NAMED = 3  # of the missing tensors, in the message


def load_tpavi(net: TPAVINetwork, state: State) -> LoadReport:
    """Load a released TPAVI (AVSBench's or UFE's) or one of this package into `net`.

    Supported: `module.` prefixes, AVSBench's two-branch ResNet (`layer3_1`, `layer4_1` are the used ones), the original
    PVT's names and timm's. Parts that are never used are dropped.

    Raises:
        DataError: the file cannot be read, lacks tensors of the network (three are named), or a shape does not fit.
    """
    tensors, source = state_of(state)
    prefix = f"{net.backbone_name}."
    body = _backbone_names(_under(tensors, prefix), net.backbone)
    others = {name: value for name, value in tensors.items() if not name.startswith(prefix)}
    others = {name: value for name, value in others.items() if not _DEAD_TPAVI.match(name) and _read(name, net)}
    return _load(net, {**{prefix + name: value for name, value in body.items()}, **others}, source)


def load_avsegformer(net: AVSegFormer | AVSegHead, state: State) -> LoadReport:
    """Load a released AVSegFormer (its own or UFE's) or one of this package into `net`, a network or its head alone.

    Supported: `module.` prefixes, AVSBench's two-branch ResNet, the original PVT's names and timm's. Parts that are
    never used are dropped, as is the file's VGGish, which is `load_vggish`'s.

    Raises:
        DataError: the file cannot be read, lacks tensors of the network (three are named), or a shape does not fit.
    """
    tensors, source = state_of(state)
    if isinstance(net, AVSegHead):
        return _load(net, _head_names(_under(tensors, "head.") or tensors, net), source)
    tensors = {name: value for name, value in tensors.items() if not name.startswith("vggish.")}
    body = _backbone_names(_under(tensors, "backbone."), net.backbone)
    head = _head_names(_under(tensors, "head."), net.head)
    rest = {name: value for name, value in tensors.items() if not name.startswith(("backbone.", "head."))}
    named = {f"backbone.{name}": value for name, value in body.items()}
    return _load(net, {**named, **{f"head.{name}": value for name, value in head.items()}, **rest}, source)


def load_backbone(backbone: nn.Module, state: State) -> LoadReport:
    """Load ImageNet weights into a backbone of `nn.stages`, without their classifier.

    Supported: torchvision's, timm's and AVSBench's names of ResNets, the original's and timm's of PVT-v2.

    Raises:
        DataError: the file cannot be read, lacks tensors of the network (three are named), or a shape does not fit.
    """
    tensors, source = state_of(state)
    return _load(backbone, _backbone_names(tensors, backbone), source)


def load_flownet(flownet: ResNet18, state: State) -> LoadReport:
    """Load a ResNet-18's ImageNet weights into the flow branch's, whose first convolution keeps its start.

    Raises:
        DataError: the file cannot be read, lacks tensors of the network (three are named), or a shape does not fit.
    """
    tensors, source = state_of(state)
    own = flownet.state_dict()
    known = {name: value for name, value in tensors.items() if name in own and name != "conv1.weight"}
    return _load(flownet, {**known, "conv1.weight": own["conv1.weight"]}, source)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _read(name: str, net: nn.Module) -> bool:
    """Return False for layers of the flow's ResNet-18 that a stem does not have."""
    return not (_UNREAD_FLOW.match(name) and getattr(net, "flow_kind", "none") == "stem")


def _head_names(tensors: Mapping[str, Tensor], head: AVSegHead) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if not _DEAD_HEAD.match(name) and _read(name, head)}


def _backbone_names(tensors: Mapping[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """Return the backbone's tensors by its own names."""
    known = {name: value for name, value in tensors.items() if not _DEAD_BACKBONE.match(name)}
    if not hasattr(backbone, "patch_embed"):
        return {re.sub(r"^layer([34])_1\.", r"layer\1.", name): value for name, value in known.items()}
    from timm.models.pvt_v2 import checkpoint_filter_fn

    renamed: dict[str, Tensor] = checkpoint_filter_fn(known, backbone)
    return renamed


def _load(net: nn.Module, tensors: Mapping[str, Tensor], source: str) -> LoadReport:
    own = net.state_dict()
    missing = [name for name in own if name not in tensors and not name.endswith("num_batches_tracked")]
    if missing:
        named = ", ".join(missing[:_NAMED])
        raise DataError(
            f"{source} does not hold this network: {len(missing)} of {len(own)} tensors are missing, among them "
            f"{named}. Give a file of the same network, backbone and flow encoder."
        )
    report = fit(net, tensors, source, may_keep=lambda name: name.endswith("num_batches_tracked"), resize={})
    return replace(report, unexpected=[n for n in report.unexpected if not n.endswith("num_batches_tracked")])
