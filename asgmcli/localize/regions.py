"""From a heat map to the box around its hottest region."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

THRESHOLD = 0.5
_FINE = 8  # points a cell at which the map is looked at, so that a box does not snap to cells

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in fractions of the frame's width and height."""


def hottest_box(heatmap: NDArray[np.float32], threshold: float = THRESHOLD) -> Box | None:
    """Return the box around the connected region above `threshold` that holds the map's peak.

    Args:
        heatmap: [h,w] in [0, 1], spread bilinearly between the cells' centres.
        threshold: heat from which a place belongs to the region, above 0 and up to 1.

    Returns:
        The box, or None if the map is uniform or stays below the threshold.
    """
    from scipy import ndimage  # slow to import, and needed only where boxes are drawn

    if float(np.ptp(heatmap)) <= 1e-6 or float(heatmap.max()) < threshold:
        return None
    height, width = heatmap.shape[0] * _FINE, heatmap.shape[1] * _FINE
    picture = Image.fromarray(np.asarray(heatmap, np.float32))
    fine = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    # The peak always belongs, even if smoothing has lowered it below the threshold.
    peak = np.unravel_index(int(fine.argmax()), fine.shape)
    regions, _ = ndimage.label(fine >= min(threshold, float(fine.max())))
    rows, columns = np.nonzero(regions == regions[peak])
    return (
        float(columns.min() / width),
        float(rows.min() / height),
        float((columns.max() + 1) / width),
        float((rows.max() + 1) / height),
    )
