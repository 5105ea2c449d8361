"""Inputs and weights behind the `llp_*.npz` files of this folder, outputs of released networks and evaluators.

As in `inputs.py`, everything comes from numpy's frozen legacy generator. `llp_layout.json` lists each reference
network's parameters by the reference's own names. Letters: B clips, T = 10 seconds, C = 25 classes.
"""

import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SECONDS, CLASSES, FRAMES = 10, 25, 80


def layout(name: str) -> dict[str, list[int]]:
    """Names and shapes of `han`, `parser`, `parser_gcaa` or `grounding`."""
    return json.loads((HERE / "llp_layout.json").read_text())[name]


def weights(shapes: dict[str, list[int]], seed: int) -> dict[str, np.ndarray]:
    """Weights in sorted-name order, scaled so that activations keep their size; counters are left out."""
    random = np.random.RandomState(seed)
    made = {}
    for name in sorted(shapes):
        if name.endswith("num_batches_tracked"):
            continue
        values = random.standard_normal(tuple(shapes[name]))
        if "embedding" in name and values.ndim == 2 and not name.endswith("linear.weight"):
            values = values * 0.3
        elif values.ndim >= 2:
            values = values / values.shape[-1] ** 0.5
        elif name.endswith("running_var"):
            values = 0.5 + np.abs(values)
        elif name.endswith(("bias", "running_mean")):
            values = values * 0.1
        else:
            values = 1 + values * 0.1
        made[name] = values.astype(np.float32)
    return made


def features(seed: int, clips: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """VGGish [B, 10, 128], ResNet-152 [B, 80, 2048], R(2+1)D-18 [B, 10, 512]: not negative, as distributed."""
    random = np.random.RandomState(seed)
    shapes = ((clips, SECONDS, 128), (clips, FRAMES, 2048), (clips, SECONDS, 512))
    return tuple(np.maximum(random.standard_normal(shape), 0).astype(np.float32) for shape in shapes)


def clip_labels(seed: int, clips: int) -> np.ndarray:
    """0/1 labels float32 [B, C] of whole clips, one to three a clip."""
    random = np.random.RandomState(seed)
    labels = np.zeros((clips, CLASSES), np.float32)
    for row in labels:
        row[random.permutation(CLASSES)[: 1 + random.randint(3)]] = 1
    return labels


def probabilities(seed: int, *shape: int) -> np.ndarray:
    """float32 in 0..1, with some exactly 0, 0.5 and 1."""
    random = np.random.RandomState(seed)
    values = random.random_sample(shape)
    kind = random.randint(0, 20, shape)
    return np.select([kind == 0, kind == 1, kind == 2], [0.0, 0.5, 1.0], values).astype(np.float32)


def events(seed: int, clips: int, share: float = 0.12) -> np.ndarray:
    """Events uint8 [N, 2, C, T] (audio, visual) in runs; some clips, modalities and classes are empty.

    Every seventh clip has no event at all, every fifth no visual one; class 3 never occurs.
    """
    random = np.random.RandomState(seed)
    grid = np.zeros((clips, 2, CLASSES, SECONDS), np.uint8)
    for clip in range(clips):
        for modality in range(2):
            for name in range(CLASSES):
                if random.random_sample() < share:
                    state = random.randint(0, 2)
                    for second in range(SECONDS):
                        if random.random_sample() < 0.3:
                            state = 1 - state
                        grid[clip, modality, name, second] = state
        if clip % 5 == 0:
            grid[clip, 1] = 0
        if clip % 7 == 0:
            grid[clip] = 0
    grid[:, :, 3] = 0
    return grid


def predicted(seed: int, truth: np.ndarray) -> np.ndarray:
    """`truth` with wrong and missing seconds, and events moved by a second: uint8 [N, 2, C, T]."""
    random = np.random.RandomState(seed)
    guess = np.where(random.random_sample(truth.shape) < 0.08, 1 - truth, truth)
    moved = random.random_sample(truth.shape[:3]) < 0.3
    guess[moved] = np.roll(guess[moved], 1, axis=-1)
    empty = random.random_sample(truth.shape[:3]) < 0.85
    guess[empty & (truth.sum(-1) == 0)] = 0
    return guess.astype(np.uint8)


def embeddings(seed: int, clips: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Audio and visual snippets float32 [B, 10, D] that agree more within a clip than between its two halves."""
    random = np.random.RandomState(seed)
    scenes = random.standard_normal((clips, 2, 1, width))
    which = (np.arange(SECONDS) >= 5).astype(int)
    both = []
    for _ in range(2):
        both.append(scenes[:, which, 0] + 0.8 * random.standard_normal((clips, SECONDS, width)))
    return both[0].astype(np.float32), both[1].astype(np.float32)


def pairs(seed: int, clips: int) -> np.ndarray:
    """Truth bool [B, 10, 10] of an equivalence of the seconds: up to three groups a clip."""
    random = np.random.RandomState(seed)
    group = random.randint(0, 3, (clips, SECONDS))
    return group[:, :, None] == group[:, None, :]


def snippets(seed: int, clips: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """VGGish [N, 10, 128], ResNet-152 frames [N, 80, 2048] of clips whose scenes come and go, and silence [128].

    Similarities lie on both sides of the thresholds 0.99 (sound) and 0.96 (picture); some seconds are silent.
    """
    random = np.random.RandomState(seed)
    silence = np.where(random.random_sample(128) < 0.8, 0, random.random_sample(128)).astype(np.float32)
    sounds = np.zeros((clips, SECONDS, 128), np.float32)
    frames = np.zeros((clips, FRAMES, 2048), np.float32)
    for clip in range(clips):
        sound = np.maximum(random.standard_normal((3, 128)), 0)
        picture = np.maximum(random.standard_normal((3, 2048)), 0)
        heard, seen = (np.sort(random.randint(0, 2 + clip % 2, SECONDS)) for _ in range(2))
        for second in range(SECONDS):
            noise = random.choice([0.01, 0.03, 0.1])
            sounds[clip, second] = np.maximum(sound[heard[second]] + noise * random.standard_normal(128), 0)
            if random.random_sample() < 0.15:
                sounds[clip, second] = silence * (1 + 0.1 * random.random_sample())
            for frame in range(8):
                near = picture[seen[second]] + random.choice([0.1, 0.3, 0.75]) * random.standard_normal(2048)
                frames[clip, 8 * second + frame] = np.maximum(near, 0)
    return sounds, frames, silence
