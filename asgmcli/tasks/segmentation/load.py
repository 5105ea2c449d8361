"""Load a trained segmenter or a released one, judge it on any manifest's frames, mask any clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.errors import DataError, MediaError, UsageError
from asgmcli.nn.state import network_state, read_metadata, read_state
from asgmcli.nn.vggish import VGGish
from asgmcli.ranks.exchange import own_share
from asgmcli.recipe.base import Row
from asgmcli.recipe.sections import JudgedData
from asgmcli.recipe.segmentation import (
    SegmentationAudio,
    SegmentationData,
    SegmentationFlow,
    SegmentationModel,
    SegmentationRecipe,
)
from asgmcli.report.table import Cell, Table
from asgmcli.tasks.segmentation.clip_masks import clip_masks
from asgmcli.tasks.segmentation.data import FLOW_BOUND, evaluation_batches, group_notes, judged_windows, open_reader
from asgmcli.tasks.segmentation.evaluate import evaluation_of, measure_all, video_iou
from asgmcli.tasks.segmentation.frames import FrameReader
from asgmcli.tasks.segmentation.model import FORMAT, Segmenter, build_network, load_network
from asgmcli.tasks.segmentation.sounds import embed, load_listener
from asgmcli.train.batches import watched
from asgmcli.train.task import Evaluation, Examination, Exported, Prediction
from asgmcli.train.weights import described, stored_recipe

VGGISH = "vggish"


@dataclass(frozen=True)
class TrainedSegmenter:
    """A network with all that its inputs need.

    Attributes:
        recipe: it was trained with; `evaluate`, `predict` and `data` may be replaced.
        network: in evaluation mode.
        flow_bound: largest displacement of its flow, pixels.
        device: of the network.
        vggish: VGGish's weight file, where a user named one, or the released file that holds it.
        note: what a user must know of its answers, "" for nothing.
    """

    recipe: SegmentationRecipe
    network: Segmenter
    flow_bound: float
    device: torch.device
    vggish: Path | None = None
    note: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of a prediction's lines: seconds, and the share of the picture that sounds."""
        return ("time", "share")

    @property
    def data(self) -> JudgedData:
        """Return the data set it was trained on."""
        return self.recipe.data

    def with_weights(self, files: Mapping[str, Path]) -> TrainedSegmenter:
        """Return it with VGGish's weight file.

        Raises:
            UsageError: another name, or the network does not hear by VGGish. DataError: no such file.
        """
        unknown = sorted(files.keys() - {VGGISH})
        if unknown or self.recipe.audio.kind != VGGISH:
            hears = f"audio.kind is {self.recipe.audio.kind}"
            raise UsageError(
                f"--weights {unknown[0] if unknown else VGGISH}: this network takes no such weights ({hears})."
            )
        if not files[VGGISH].is_file():
            raise DataError(f"{files[VGGISH]}: no such weight file")
        return replace(self, vggish=files[VGGISH])

    def examine(self, manifest: Manifest, beside: str | None = None) -> Examination:
        """See `Trained.examine`.

        Raises:
            DataError: no frames, frames of another size, no flow where it is read, or no mask to judge on.
            UsageError: `beside` is given.
        """
        if beside is not None:
            raise UsageError(f"{beside} is measured beside a localizer; this is a segmenter.")
        recipe, split = self._heard_recipe(), self.recipe.data.eval_split
        reader = open_reader(recipe, manifest, embed(recipe, manifest))
        windows = judged_windows(recipe, reader, split)
        if not windows:
            raise DataError(f"{manifest.path}: no frame of split {split!r} has a mask to judge on")
        videos = len({window.row.id for window in windows})
        views = {"frames": recipe.evaluate.frames, "group": recipe.evaluate.group}
        about = f"{videos:,} videos, {recipe.evaluate.frames} frames together, F by groups of {recipe.evaluate.group}"
        return Examination(
            len(windows),
            about,
            views,
            lambda seen, paper: self._judge(reader, seen, paper),
            group_notes(recipe, windows),
        )

    def _judge(
        self, reader: FrameReader, seen: Callable[[int], None], paper: Mapping[str, float]
    ) -> tuple[Evaluation, Table]:
        recipe = self.recipe
        batches = evaluation_batches(recipe, reader, recipe.data.eval_split, own_share(), exchange=True)
        found = measure_all(self.network, recipe, watched(batches, seen), self.device)
        table = Table("Videos", ["id", "iou"], [])
        if not found:
            return Evaluation({}), table
        lines: list[list[Cell]] = [[clip, round(100 * value, 2)] for clip, value in video_iou(found).items()]
        return evaluation_of(found, recipe, paper), replace(table, rows=lines)

    def _heard_recipe(self) -> SegmentationRecipe:
        """Return the recipe with the VGGish file that a user named."""
        if self.vggish is None or self.recipe.audio.kind != VGGISH:
            return self.recipe
        audio = {**self.recipe.audio.model_dump(), "init": {"file": str(self.vggish)}}
        return self.recipe.model_copy(update={"audio": SegmentationAudio.model_validate(audio)})

    def predict(self, path: Path, audio: Path | None = None) -> Prediction:
        """Mask what sounds in a clip (`ClipMasks`), a few times a second.

        Raises:
            MediaError: the file cannot be read, holds no picture or no sound.
            DataError: VGGish's weights are missing.
        """
        from asgmcli.tasks.segmentation.outputs import files_of

        if not path.exists():
            raise MediaError(f"{path}: no such file; is the path right?")
        listener = self._listener() if self.recipe.audio.kind == VGGISH else None
        found = clip_masks(path, self.network, self.recipe, listener, self.flow_bound, self.device, audio)
        shares = [float((small > found.threshold).mean()) for small in found.small]
        rows: list[list[Cell]] = [
            [round(time, 3), round(share, 4)] for time, share in zip(found.times.tolist(), shares, strict=True)
        ]
        data = {
            "times": found.times.tolist(),
            "shares": [round(share, 6) for share in shares],
            "size": [found.info.width, found.info.height],
            "threshold": found.threshold,
            **({"note": self.note} if self.note else {}),
        }
        return Prediction(found, rows, data, files_of(path, audio or path, found, self.recipe.predict))

    def predict_row(self, manifest: Manifest, row: ManifestRow) -> Prediction:
        """Mask the stored frames of a clip of `manifest` (`StoredMasks`).

        Raises:
            DataError: the data set does not suit the network, or a file of the clip is gone or broken.
        """
        from asgmcli.tasks.segmentation.stored import predict_stored

        return predict_stored(replace(self, recipe=self._heard_recipe()), manifest, row)

    def _listener(self) -> VGGish:
        """Return VGGish: of the file that was named, of the released file itself, or where the recipe finds it."""
        if self.vggish is None:
            return load_listener(self.recipe.audio, self.device)
        return load_listener(self.recipe.audio, self.device, self.vggish)

    def export(self, path: Path) -> Exported:
        """Write the network as ONNX; see `asgmcli.tasks.segmentation.export`."""
        from asgmcli.tasks.segmentation.export import export_onnx

        return export_onnx(self, path)


def owns(path: Path) -> bool:
    """Return True for a segmenter that training wrote, or a released TPAVI or AVSegFormer."""
    return read_metadata(path).get("format") == FORMAT or kind_of(read_state(path)) is not None


def kind_of(state: Mapping[str, Tensor]) -> str | None:
    """Return `tpavi` or `avsegformer` by the names of a released file's tensors; None for another network's."""
    if "tpavi_b1.theta.weight" in state:
        return "tpavi"
    return "avsegformer" if "head.query_generator.query.weight" in state else None


def load(path: Path, recipe: SegmentationRecipe | None, device: torch.device) -> TrainedSegmenter:
    """Load a segmenter; of a released file network, backbone and flow are read off its names.

    Raises:
        DataError: the file is missing, broken, or not a segmenter's.
    """
    metadata = read_metadata(path)
    if metadata.get("format") != FORMAT:
        return _load_released(path, device)
    with described(path):
        known = recipe or stored_recipe(metadata, path, SegmentationRecipe)
        bound = float(metadata["flow_bound"])
    network = build_network(known)
    load_network(network, path)
    note = _flow_note(metadata.get("flow_kind", "")) if known.reads_flow else ""
    return TrainedSegmenter(known, Segmenter(network).to(device).eval(), bound, device, note=note)


def _flow_note(kind: str) -> str:
    """Return what a user must know of a clip's flow where the network was trained with another kind."""
    if kind == "released":
        return f"the released flow's bound is unknown; flow is Farneback's, up to {FLOW_BOUND:g} pixels"
    return "it was trained with RAFT's flow; flow is Farneback's here" if kind == "raft" else ""


def _load_released(path: Path, device: torch.device) -> TrainedSegmenter:
    state = read_state(path)
    recipe = recipe_of(state, path)
    network = build_network(recipe)
    load_network(network, path)
    note = _flow_note("released") if recipe.reads_flow else ""
    inner = path if any(name.startswith(f"{VGGISH}.") for name in state) else None
    return TrainedSegmenter(recipe, Segmenter(network).to(device).eval(), FLOW_BOUND, device, inner, note)


def recipe_of(state: Mapping[str, Tensor], path: Path) -> SegmentationRecipe:
    """Return the recipe of a released file: network, backbone, flow encoder and sizes by its tensors' names and shapes.

    Raises:
        DataError: the file is of another network.
    """
    state = network_state(state, str(path))
    kind = kind_of(state)
    if kind is None:
        raise DataError(f"{path}: not a segmentation network (neither TPAVI's names nor AVSegFormer's)")
    head = "" if kind == "tpavi" else "head."
    pvt = any(".patch_embed" in name for name in state)
    flow = "none"
    if f"{head}conv2_flow.conv2d_list.0.weight" in state:
        narrow, wide = (state[f"{head}conv{number}_flow.conv2d_list.0.weight"].shape[1] for number in (1, 2))
        flow = "stem" if narrow == wide else "pyramid"
    model: dict[str, object] = {"kind": kind, "backbone": "pvt_v2_b5" if pvt else "resnet50"}
    if kind == "tpavi":
        model["channels"] = state["tpavi_b1.theta.weight"].shape[1]
    else:
        layers = {name.split(".")[3] for name in state if name.startswith("head.query_generator.layers.")}
        model |= {
            "channels": state["head.level_embed"].shape[1],
            "queries": state["head.query_generator.query.weight"].shape[0],
            "layers": len({name.split(".")[3] for name in state if name.startswith("head.query_generator.layers.")}),
            "ffn": state["head.transformer.encoder.layers.0.linear1.weight"].shape[0],
            "mask_hidden": state["head.mlp.layers.0.weight"].shape[0],
            "query_bias": "head.query_generator.layers.0.self_attn.in_proj_bias" in state,
        }
        assert layers
    name = path.stem
    return SegmentationRecipe(
        name="released",
        task="segmentation",
        title=name,
        default_row=_row_name(name),
        rows={_row_name(name): Row(title=name)},
        data=SegmentationData(dataset=""),
        model=SegmentationModel.model_validate(model),
        flow=SegmentationFlow.model_validate({"encoder": flow}),
    )


def _row_name(name: str) -> str:
    plain = "".join(letter if letter.isalnum() or letter in "_.-" else "_" for letter in name)
    return plain if plain[:1].isalnum() else f"r{plain}"
