"""The kinds of number in recipes, each with the most that it may be.

The bounds lie well above what is trained anywhere, and below what a machine could only fail at after minutes of
making it: a value beyond one is a slip of the keyboard, and is refused before anything is read or built.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

MOST = 100_000_000
"""Of any other whole number: clips, steps, tries."""

Positive = Annotated[int, Field(gt=0, le=MOST)]
Count = Annotated[int, Field(ge=0, le=MOST)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]

Seed = Annotated[int, Field(ge=0, lt=2**32)]
# Networks: ViT-22B has 48 blocks 6144 wide with 48 heads.
Width = Annotated[int, Field(gt=0, le=16_384)]
Depth = Annotated[int, Field(gt=0, le=256)]
Heads = Annotated[int, Field(gt=0, le=256)]
# A clip and its sound.
Frames = Annotated[int, Field(gt=0, le=1024)]
Rate = Annotated[float, Field(gt=0, le=1000)]
Stride = Annotated[int, Field(gt=0, le=10_000)]
Pixels = Annotated[int, Field(gt=0, le=4096)]
Mels = Annotated[int, Field(gt=0, le=1024)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
MaskWidth = Annotated[int, Field(ge=0, le=100_000)]
# What a step and a run take.
Batch = Annotated[int, Field(gt=0, le=65_536)]
Ratio = Annotated[int, Field(ge=0, le=1024)]
Epochs = Annotated[int, Field(gt=0, le=1_000_000)]
EpochCount = Annotated[int, Field(ge=0, le=1_000_000)]
Cores = Annotated[int, Field(gt=0, le=4096)]
Workers = Annotated[int, Field(ge=0, le=1024)]
Views = Annotated[int, Field(gt=0, le=1024)]
Operations = Annotated[int, Field(ge=0, le=100)]
MOST_GENERATED = 10_000_000
"""Clips, pixels or frames that a generated data set is asked for."""
Generated = Annotated[int, Field(gt=0, le=MOST_GENERATED)]
