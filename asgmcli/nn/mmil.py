"""Attentive MMIL pooling (Tian et al., ECCV 2020), and what all networks that parse videos have in common."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

FRAMES_A_SECOND = 8
"""Image features of a second, as they are distributed."""


@dataclass(frozen=True)
class Parsed:
    """Events heard and seen in B clips of T seconds, by C classes; modalities in the order audio, visual.

    Attributes:
        clip: probabilities [B, C] of the whole clip.
        audio: [B, C] of its sound.
        visual: [B, C] of its picture.
        frame: [B, T, 2, C] of each second.
        features: [B, T, 2, D] that were pooled.
    """

    clip: Tensor
    audio: Tensor
    visual: Tensor
    frame: Tensor
    features: Tensor


def mean_of_seconds(image: Tensor, seconds: int) -> Tensor:
    """Return image features [B, T, F] of [B, T, F] or of [B, 8 T, F], which is averaged over each second.

    Raises:
        ValueError: there are neither `seconds` nor eight times as many.
    """
    if image.shape[1] == seconds:
        return image
    if image.shape[1] != FRAMES_A_SECOND * seconds:
        raise ValueError(f"image features of {image.shape[1]} frames do not belong to {seconds} seconds")
    means: Tensor = image.unflatten(1, (seconds, FRAMES_A_SECOND)).mean(2)
    return means


class ParsingNetwork(nn.Module):
    """The inputs' projections and the pooling, under the released names.

    Args:
        dim: D, width of the features.
        classes: C.
        audio_dim: width of the sound's features as they come.
        image_dim: of the pictures'.
        motion_dim: of the motion's.
    """

    def __init__(
        self, dim: int = 512, classes: int = 25, audio_dim: int = 128, image_dim: int = 2048, motion_dim: int = 512
    ) -> None:
        super().__init__()
        self.dim = dim
        self.classes = classes
        self.input_dims = (audio_dim, image_dim, motion_dim)
        self.fc_prob = nn.Linear(dim, classes)
        self.fc_frame_att = nn.Linear(dim, classes)
        self.fc_av_att = nn.Linear(dim, classes)
        self.fc_a = nn.Linear(audio_dim, dim)
        self.fc_v = nn.Linear(image_dim, dim)
        self.fc_st = nn.Linear(motion_dim, dim)
        self.fc_fusion = nn.Linear(2 * dim, dim)

    def project(self, audio: Tensor, image: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Return sound and picture, both [B, T, D], of the inputs as they come."""
        image = mean_of_seconds(image, audio.shape[1])
        seen = self.fc_fusion(torch.cat([self.fc_v(image), self.fc_st(motion)], dim=-1))
        return self.fc_a(audio), seen

    def pool(self, audio: Tensor, visual: Tensor) -> Parsed:
        """Pool features [B, T, D] of both modalities over time and modalities, in float32 also under autocast."""
        features = torch.stack([audio, visual], dim=2)
        kind = features.device.type
        with torch.autocast("cpu" if kind == "meta" else kind, enabled=False):
            x = features.float()
            frame = torch.sigmoid(self.fc_prob(x))
            over_time = torch.softmax(self.fc_frame_att(x), dim=1)
            over_modalities = torch.softmax(self.fc_av_att(x), dim=2)
            weighted = over_time * frame
            both = weighted.sum(dim=1)
            clip = (weighted * over_modalities).sum(dim=(1, 2))
        return Parsed(clip, both[:, 0], both[:, 1], frame, features)


class PoolingControl(ParsingNetwork):
    """The control without attention between seconds: projections and pooling alone."""

    def forward(self, audio: Tensor, image: Tensor, motion: Tensor) -> Parsed:
        """Parse sound [B, T, A], image [B, T or 8 T, I] and motion features [B, T, M]."""
        return self.pool(*self.project(audio, image, motion))
