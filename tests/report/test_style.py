"""What all figures share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asgmcli.errors import UsageError
from asgmcli.report.confusion import confusion_matrix


def test_unknown_suffix_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.png, \.svg, \.pdf"):
        confusion_matrix(np.eye(2), ["a", "b"], tmp_path / "matrix.gif")
