"""The two encoders as recipes describe them, and where their first weights come from."""

from __future__ import annotations

from pathlib import Path

from asgmcli.nn.state import LoadReport
from asgmcli.nn.timesformer import TimeSformer
from asgmcli.nn.vit import AudioTransformer
from asgmcli.nn.weights import load_timesformer, load_timm, load_vit_audio
from asgmcli.recipe.clips import ClipSize, Sound
from asgmcli.recipe.networks import EncoderSize, VideoSize
from asgmcli.recipe.sections import Start


def build_video_encoder(settings: VideoSize, clip: ClipSize, classes: int) -> TimeSformer:
    """A TimeSformer for clips as `clip` describes them; `classes` of its head, 0 for none."""
    return TimeSformer(
        settings.dim,
        settings.depth,
        settings.heads,
        clip.frames,
        classes,
        image_size=clip.size,
        patch_size=settings.patch_size,
        drop_path=settings.drop_path,
        embed_hidden=settings.embed_hidden,
        tubelet=settings.tubelet,
    )


def build_audio_encoder(settings: EncoderSize, audio: Sound, length: int) -> AudioTransformer:
    """An audio transformer for log-mels of `length` time steps."""
    return AudioTransformer(
        settings.dim,
        settings.depth,
        settings.heads,
        mels=audio.mels,
        length=length,
        patch_size=settings.patch_size,
        drop_path=settings.drop_path,
        embed_hidden=settings.embed_hidden,
    )


def start_from(model: TimeSformer | AudioTransformer, start: Start | None, path: Path | None) -> LoadReport | None:
    """Load the weights that `start` names into `model`; None (`init: none`) leaves the random ones.

    Args:
        model: a video or an audio encoder.
        start: the recipe's `init`.
        path: the file behind `start`, None where it names a timm model.

    Raises:
        DataError: the weights are missing or do not fit.
    """
    if start is None:
        return None
    if path is None:
        return load_timm(model, str(start.timm))
    return load_timesformer(model, path) if isinstance(model, TimeSformer) else load_vit_audio(model, path)
