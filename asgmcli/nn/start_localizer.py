"""A localizer on trained eyes and ears: two linear maps of what the recognition networks' start sees and hears."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from asgmcli.nn.encoders import build_audio_encoder, build_video_encoder
from asgmcli.nn.log_mel import LogMel
from asgmcli.nn.timesformer import TimeSformer
from asgmcli.nn.vit import AudioTransformer
from asgmcli.recipe.clips import ClipSize, Sound
from asgmcli.recipe.networks import EncoderSize, VideoSize

MEAN = STD = (0.5, 0.5, 0.5)
"""Of pixels, as the start's own training has them."""


class StartLocalizer(nn.Module):
    """Cells of a video transformer against the class token of an audio transformer, both as they start.

    The map is the inner product of the projections, over the root of their width. `img_proj` and `aud_proj` alone are
    trained; what they project is standardised, by batch norms without weights. As `FNAC` it takes pictures and
    spectrograms, its own being normalised log-mels.

    Args:
        video: of the start; it sees a frame as a clip of one.
        audio: of the start.
        dim: D of the common space.
        mels: M of the log-mel.
        mel_mean, mel_std: of the log-mel's values, see `LogMelStatistics`.
        noise: standard deviation of what training adds to the standardised features.
    """

    kind = "start"
    mean, std = MEAN, STD

    def __init__(
        self,
        video: TimeSformer,
        audio: AudioTransformer,
        dim: int,
        *,
        mels: int,
        mel_mean: float,
        mel_std: float,
        noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.dim, self.mels, self.noise = dim, mels, noise
        self.mel_mean, self.mel_std = mel_mean, mel_std
        self.video, self.audio = video, audio
        self.img_norm = nn.BatchNorm2d(video.cls_token.shape[2], affine=False)
        self.img_proj = nn.Conv2d(video.cls_token.shape[2], dim, kernel_size=1)
        self.aud_norm = nn.BatchNorm1d(audio.cls_token.shape[2], affine=False)
        self.aud_proj = nn.Linear(audio.cls_token.shape[2], dim)
        self._log_mel: LogMel | None = None

    def sizes(self) -> dict[str, object]:
        """Return what its file must say of it, but for its encoders."""
        told = {"kind": self.kind, "dim": self.dim, "mels": self.mels}
        return {**told, "mel_mean": self.mel_mean, "mel_std": self.mel_std}

    def trunks(self) -> list[nn.Module]:
        """Return what is not trained."""
        return [self.video, self.audio]

    def cells(self, image: Tensor) -> Tensor:
        """Return the start's last cells [B, C, h, w] of normalised [B, 3, H, W]."""
        _, patches = self.video.encode_all(self.video.embed(image[:, :, None]))
        found: Tensor = patches[:, 0].transpose(1, 2).unflatten(2, self.video.grid)
        return found

    def heard(self, spectrogram: Tensor) -> Tensor:
        """Return the ear's class token [B, E] of a log-mel [B, L, M]."""
        found: Tensor = self.audio(spectrogram)
        return found

    def spectrogram(self, wave: Tensor, *, rate: int, seconds: float) -> Tensor:
        """Return the normalised log-mel [B, L, M] of sound [B, S]: of its first `seconds`; shorter sound repeats."""
        if self._log_mel is None:
            length = self.audio.grid[1] * self.audio.patch_embed.patch_size
            self._log_mel = LogMel(length, self.mels, rate).to(wave.device)
        wanted = round(rate * seconds)
        wave = wave.repeat(1, -(-wanted // max(wave.shape[1], 1)))[:, :wanted]
        device = "cpu" if wave.is_meta else wave.device.type
        with torch.autocast(device, enabled=False):  # a bfloat16 would hear little of it
            found: Tensor = self._log_mel(wave.float())
        return (found - self.mel_mean) / (2 * self.mel_std)

    def project_image(self, cells: Tensor) -> Tensor:
        """Project cells [B, C, h, w] to [B, D, h, w]."""
        found: Tensor = self.img_proj(self._noisy(self.img_norm(cells))) / float(self.dim**0.25)
        return found

    def project_audio(self, heard: Tensor) -> Tensor:
        """Project the class token [B, E] to [B, D]."""
        found: Tensor = self.aud_proj(self._noisy(self.aud_norm(heard))) / float(self.dim**0.25)
        return found

    def image_features(self, image: Tensor) -> Tensor:
        """Return [B, D, h, w] of normalised [B, 3, H, W]."""
        return self.project_image(self.cells(image))

    def audio_features(self, spectrogram: Tensor) -> Tensor:
        """Return [B, D] of a log-mel [B, L, M]."""
        return self.project_audio(self.heard(spectrogram))

    def _noisy(self, features: Tensor) -> Tensor:
        if not self.training or self.noise == 0:
            return features
        return features + self.noise * torch.randn_like(features)


def rebuilt(config: Mapping[str, Any]) -> StartLocalizer:
    """Return the localizer that a file describes, with random weights.

    Args:
        config: its `sizes`, the `video` and `audio` of its recipe, `input_size` and `seconds`.

    Raises:
        ValueError, TypeError, KeyError: the description is unusable.
    """
    clip = ClipSize(frames=1, stride=1, size=config["input_size"])
    sound = Sound(seconds=config["seconds"], mels=config["mels"])
    video = build_video_encoder(VideoSize.model_validate(config["video"]), clip, 0)
    audio = build_audio_encoder(EncoderSize.model_validate(config["audio"]), sound, sound.length)
    told = {name: config[name] for name in ("mels", "mel_mean", "mel_std")}
    return StartLocalizer(video, audio, config["dim"], **told)
