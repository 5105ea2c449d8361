"""Inputs and weights behind the golden outputs of audio-visual segmentation (`avs_*.npz`) in this folder.

Everything is drawn from numpy's frozen legacy generator. `avs_layout.json` lists each network's parameter names and
shapes as the reference implementations name them, those included that they never use.
"""

import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def layout(name: str) -> dict[str, list[int]]:
    """Parameter names and shapes of one network of `avs_layout.json`."""
    return json.loads((HERE / "avs_layout.json").read_text())[name]


def array(seed: int, *shape: int) -> np.ndarray:
    """Standard-normal float32 array of `shape`."""
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def weights(shapes: dict[str, list[int]], seed: int, prefix: str = "") -> dict[str, np.ndarray]:
    """Weights in sorted-name order; only those that begin with `prefix` are returned, all are drawn.

    Matrices and kernels N(0, 1.5 / fan-in), norm weights 1 + 0.1 N, biases and running means 0.1 N, running variances
    0.9 + 0.2 |N|. The scale keeps activations within a few hundred through fifty layers.
    """
    random = np.random.RandomState(seed)
    result = {}
    for name in sorted(shapes):
        if name.endswith("num_batches_tracked"):
            continue
        values = random.standard_normal(tuple(shapes[name]))
        if values.ndim >= 2:
            values *= (1.5 / values[0].size) ** 0.5
        elif name.endswith("running_var"):
            values = 0.9 + 0.2 * np.abs(values)
        elif name.endswith(("running_mean", "bias")):
            values *= 0.1
        else:
            values = 1 + 0.1 * values
        if name.startswith(prefix):
            result[name] = values.astype(np.float32)
    return result


def masks(seed: int, count: int, height: int, width: int, empty: int = 3) -> np.ndarray:
    """uint8 0/1 [count, height, width]: one or two ellipses a mask; every `empty`-th mask is empty (0: none is)."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[0:height, 0:width]
    result = np.zeros((count, height, width), np.uint8)
    for i in range(count):
        for _ in range(1 + i % 2):
            cy, cx = random.uniform(0.2, 0.8, 2)
            ry, rx = random.uniform(0.08, 0.3, 2)
            result[i] |= (((y / height - cy) / ry) ** 2 + ((x / width - cx) / rx) ** 2 <= 1).astype(np.uint8)
        if empty and i % empty == empty - 1:
            result[i] = 0
    return result


def logits(seed: int, truth: np.ndarray, scale: float = 2.0) -> np.ndarray:
    """float32 logits [N, H, W] that resemble `truth` [N, H, W], rounded to 1/64 so that ties occur."""
    random = np.random.RandomState(seed)
    noise = random.standard_normal(truth.shape)
    return (np.round((scale * (2.0 * truth - 1) + 2.5 * noise) * 64) / 64).astype(np.float32)


def wave(seed: int, samples: int, rate: int = 16000) -> np.ndarray:
    """int16 [samples]: three gliding tones over noise."""
    random = np.random.RandomState(seed)
    t = np.arange(samples) / rate
    x = 0.02 * random.standard_normal(samples)
    for _ in range(3):
        f0, f1 = random.uniform(100, 4000, 2)
        x += 0.2 * np.sin(2 * np.pi * (f0 * t + (f1 - f0) * t * t / (2 * t[-1])))
    return np.clip(x * 32767, -32768, 32767).astype(np.int16)


def frames(seed: int, size: int, shift: tuple[float, float] = (3.0, -2.0)) -> np.ndarray:
    """uint8 [2, size, size, 3]: a smooth texture, then the same with a disc in its middle moved by `shift` (x, y)."""
    random = np.random.RandomState(seed)
    waves = random.uniform(0.05, 0.5, (12, 2)), random.uniform(0, 2 * np.pi, 12), random.uniform(0.3, 1, (12, 3))
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)

    def texture(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        rows = np.stack([np.sin(fx * u + fy * v + p) for (fx, fy), p in zip(waves[0], waves[1], strict=True)], -1)
        return 128 + 90 * (rows @ waves[2]) / 6

    def inside(cx: float, cy: float) -> np.ndarray:
        return ((x - cx) ** 2 + (y - cy) ** 2 < (size / 4) ** 2)[..., None]

    def thing(dx: float, dy: float) -> np.ndarray:
        return texture(y + 7 - dy, x + 31 - dx)

    back, half = texture(x, y), size / 2
    first = np.where(inside(half, half), thing(0, 0), back)
    second = np.where(inside(half + shift[0], half + shift[1]), thing(*shift), back)
    return np.clip(np.round(np.stack([first, second])), 0, 255).astype(np.uint8)
