"""Keys that recipes had once, in what a run of an earlier version stored."""

from __future__ import annotations

from pydantic import BaseModel

from asgmcli.recipe.models import MODELS, section_of

RETIRED = {
    "": {"train", "log"},
    "data": {"labeled_per_class", "split_seed", "train_split", "eval_split", "eval_also"}
    | {"workers", "keep_decoded", "share_decoded", "max_failures"},
    "clip": {"short_side", "backend"},
    "audio": {"mean", "std"},
    "augment": {"flip", "operations", "magnitude", "geometric", "channel_dropout", "temporal_warp"},
    "model.video": {"init"},
    "model.audio": {"init"},
    "model.localizer": {"image_dropout", "audio_dropout", "norm", "frozen_trunks", "init"},
    "localizer": {"seconds"},
    "train": {"on_nonfinite", "max_skips", "unlabeled_ratio", "supervised_epochs", "ema_decay"}
    | {"activation_checkpointing", "accumulate", "compile", "channels_last"},
}
"""Keys, by section, that recipes of all tasks had once: what a run stored may hold them, and its task may not."""


def drop_retired(values: dict[str, object]) -> None:
    """Remove from a stored recipe's `values` the keys that its task no longer has."""
    for dotted, keys in RETIRED.items():
        model: type[BaseModel] | None = MODELS.get(str(values.get("task")))
        inner: object = values
        for part in filter(None, dotted.split(".")):
            inner = inner.get(part) if isinstance(inner, dict) else None
            known = model.model_fields.get(part) if model is not None else None
            model = section_of(known.annotation) if known is not None else None
        if isinstance(inner, dict) and model is not None:
            for key in keys - model.model_fields.keys():
                inner.pop(key, None)
