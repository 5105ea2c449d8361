"""The two encoders as recipes describe them."""

from __future__ import annotations

from asgmcli.nn.timesformer import TimeSformer
from asgmcli.nn.vit import AudioTransformer
from asgmcli.recipe.clips import ClipSize, Sound
from asgmcli.recipe.networks import EncoderSize, VideoSize


def build_video_encoder(settings: VideoSize, clip: ClipSize, classes: int) -> TimeSformer:
    """Build a TimeSformer for clips as `clip` describes them, with a head of `classes`, 0 for none."""
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
        convolutions=settings.stem == "convolutions",
    )


def build_audio_encoder(settings: EncoderSize, audio: Sound, length: int) -> AudioTransformer:
    """Build an audio transformer for log-mels of `length` time steps."""
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
