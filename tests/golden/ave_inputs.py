"""Inputs and weights behind the `ave_*` golden files (audio-visual event localization).

Everything is drawn from numpy's frozen legacy generator. `ave_layout.json` lists each network's parameter names and
shapes, those of the reference where there is one.
"""

import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def array(seed: int, *shape: int) -> np.ndarray:
    """Standard-normal float32 array of `shape`."""
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def layout(name: str) -> dict[str, list[int]]:
    """Parameter names and shapes of one network."""
    return json.loads((HERE / "ave_layout.json").read_text())[name]


def weights(shapes: dict[str, list[int]], seed: int) -> dict[str, np.ndarray]:
    """Weights in sorted-name order: matrices scaled by sqrt(2 / fan-in), norms near 1, the rest 0.1 N(0, 1)."""
    random = np.random.RandomState(seed)
    drawn = {}
    for name in sorted(shapes):
        values = random.standard_normal(tuple(shapes[name]))
        if values.ndim >= 2:
            values *= (2.0 / values[0].size) ** 0.5
        elif name.endswith("weight"):
            values = 1 + 0.1 * values
        else:
            values *= 0.1
        drawn[name] = values.astype(np.float32)
    return drawn


def wave(seed: int, samples: int) -> np.ndarray:
    """A gliding tone in noise that grows, float32 [samples] at 16 kHz, within about [-1, 1]."""
    random = np.random.RandomState(seed)
    seconds = np.arange(samples) / 16000.0
    glide = np.sin(2 * np.pi * (200 + 300 * random.rand() + 150 * seconds) * seconds)
    noise = random.standard_normal(samples)
    return (0.3 * glide + (0.002 + 0.02 * seconds) * noise).astype(np.float32)


def embeddings(seed: int, videos: int, segments: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Projected audio and visual embeddings float32 [B, T, D] that have a part in common."""
    shared, own, other = (array(seed + k, videos, segments, dim) for k in range(3))
    return (0.7 * shared + own + 0.5).astype(np.float32), (0.7 * shared + 2 * other - 1).astype(np.float32)


def lars_case(seed: int, steps: int = 6) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """Parameters (two matrices, the second zero; two vectors) and the gradients of each step."""
    random = np.random.RandomState(seed)
    shapes = [(6, 5), (4, 3), (6,), (4,)]
    start = [random.standard_normal(shape).astype(np.float32) for shape in shapes]
    start[1][:] = 0
    gradients = [[random.standard_normal(shape).astype(np.float32) for shape in shapes] for _ in range(steps)]
    gradients[2][0][:] = 0  # a step in which one matrix has no gradient
    return start, gradients


def scores(seed: int, videos: int, classes: int = 29, segments: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Logits float32 [n, T, K] with ties (rounded to halves) and true classes int64 [n, T]."""
    random = np.random.RandomState(seed)
    labels = random.randint(0, classes, (videos, segments))
    logits = random.standard_normal((videos, segments, classes))
    logits[np.arange(videos)[:, None], np.arange(segments), labels] += 1.5
    return (np.round(2 * logits) / 2).astype(np.float32), labels


def annotations(seed: int, rows: int, header: bool) -> str:
    """Text in the form of AVE's Annotations.txt: names with commas, an event of no length, one video twice, CRLF."""
    random = np.random.RandomState(seed)
    names = ["Church bell", "Male speech, man speaking", "Fixed-wing aircraft, airplane", "Frying (food)", "Goat"]
    lines = ["Category&VideoID&Quality&StartTime&EndTime"] if header else []
    ids = ["".join(random.choice(list("abcXYZ019-_"), 11)) for _ in range(rows)]
    ids[3] = ids[1]
    for row in range(rows):
        start = int(random.randint(0, 10))
        end = int(random.randint(start + 1, 11))
        if row == 4:
            start = end = 0
        name = names[min(row, 1) if row < 4 else int(random.randint(len(names)))]
        if row == 3:
            name = names[4]  # the same video, another event
        lines.append(f"{name}&{ids[row]}&good&{start}&{end}")
    return "\r\n".join(lines) + "\r\n"
