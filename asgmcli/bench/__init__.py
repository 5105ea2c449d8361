"""Benchmarks."""

# Width and heads of the networks whose step is timed; 12 blocks each.
SIZES = {"vit_ti": (192, 3), "vit_s": (384, 6), "vit_b": (768, 12)}
