"""FNAC's losses: contrast of pictures and sounds, aware of false negatives.

W. Sun et al., "Learning Audio-Visual Source Localization via False Negative Aware Contrastive Learning", CVPR 2023.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Keeps the min-max normalisation of a flat map finite; the released model's own value.
_RANGE_FLOOR = 1e-5


def fnac_losses(image: Tensor, audio: Tensor, temperature: float, foreground: float = 0.6) -> dict[str, Tensor]:
    """Compute the contrastive loss and the three L1 terms between adjacency matrices, each an unweighted scalar.

    An adjacency matrix holds the inner products of a batch's vectors over the temperature, softmaxed by row.

    Args:
        image: [B, D, h, w] image features, of unit length in every cell.
        audio: [B, D] audio features of the same clips, of unit length.
        temperature: divisor of every similarity (0.03 in the released model).
        foreground: a cell belongs to the source if its min-max normalised similarity exceeds this.

    Returns:
        `contrastive`: cross-entropy of the cells' largest similarity, both ways, summed.
        `fns_audio`: false-negative suppression, that similarity's adjacency against the audio's own.
        `tns`: true-negative enhancement, the foreground features' adjacency against the audio's own.
        `fns_image`: false-negative suppression, that similarity's adjacency against the whole images' own.
    """
    image, audio = image.float(), audio.float()
    similarity = torch.einsum("bdhw,md->bmhw", image, audio) / temperature
    strongest = similarity.amax(dim=(2, 3))
    pairs = torch.arange(len(strongest), device=strongest.device)

    own = similarity[pairs, pairs]
    low, high = own.amin(dim=(1, 2), keepdim=True), own.amax(dim=(1, 2), keepdim=True)
    source = (own - low) / (high - low + _RANGE_FLOOR) > foreground
    # The mean runs over all cells, not over the foreground's alone: a small source weighs less (as released).
    sources = (image * source[:, None]).mean(dim=(2, 3))

    audio_adjacency = _adjacency(audio, temperature)
    cross_adjacency = strongest.softmax(dim=1)
    return {
        "contrastive": F.cross_entropy(strongest, pairs) + F.cross_entropy(strongest.T, pairs),
        "fns_audio": F.l1_loss(cross_adjacency, audio_adjacency),
        "tns": F.l1_loss(_adjacency(sources, temperature), audio_adjacency),
        "fns_image": F.l1_loss(cross_adjacency, _adjacency(image.mean(dim=(2, 3)), temperature)),
    }


def _adjacency(vectors: Tensor, temperature: float) -> Tensor:
    """Return [B, B]: softmax by row of the inner products of vectors [B, D]."""
    return (vectors @ vectors.T / temperature).softmax(dim=1)
