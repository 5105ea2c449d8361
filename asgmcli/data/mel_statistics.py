"""Statistics of a data set's log-mel values, by which a network's input is normalised."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from asgmcli.data.manifest import ManifestRow
from asgmcli.data.reader import ClipReader
from asgmcli.errors import DataError, MediaError


@dataclass(frozen=True)
class LogMelStatistics:
    """Mean and standard deviation of a data set's log-mel values (the AST convention divides by twice the latter)."""

    mean: float
    std: float

    def normalise(self, logmel: Tensor) -> Tensor:
        """Return (x - mean) / (2 std), elementwise."""
        return (logmel - self.mean) / (2 * self.std)


def measure_log_mel(reader: ClipReader, rows: list[ManifestRow], clips: int = 200) -> LogMelStatistics:
    """Measure mean and standard deviation of log-mel values over the first `clips` rows whose sound can be read.

    Raises:
        DataError: none of the rows has sound, or all of it is silence.
    """
    values: list[Tensor] = []
    for row in rows:
        if row.audio and len(values) < clips:
            # A broken file is named when training comes to it.
            with suppress(MediaError):
                values.append(reader.log_mel(reader.moment(row, 0)).flatten())
    if not values:
        raise DataError("No training clip has sound. Set model.modality to video, or prepare data with sound.")
    std, mean = torch.std_mean(torch.cat(values))
    if not float(std) > 0:
        raise DataError("The training clips' sound is silence. Set model.modality to video.")
    return LogMelStatistics(float(mean), float(std))
