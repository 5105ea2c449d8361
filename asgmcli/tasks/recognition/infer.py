"""Ask a recognizer that `asgm export` wrote about clips: python infer.py model.onnx CLIP...   Needs no torch."""

import json
import math
import sys
from contextlib import suppress
from typing import Any

import av
import numpy as np
import onnxruntime


def best(streams: Any, size: str) -> Any:
    """Return the stream that is marked as the default, else the largest; None where there is none."""
    default = av.stream.Disposition.default
    return max(streams, key=lambda s: (bool(s.disposition & default), getattr(s.codec_context, size)), default=None)


def see(path: str, short_side: int) -> tuple[list[np.ndarray], float]:
    """Return the frames, uint8 [H, W, 3], and their rate."""
    with av.open(path) as container:
        stream = best(container.streams.video, "width")
        small = min(1.0, short_side / min(stream.width, stream.height))
        kind = (round(stream.width * small), round(stream.height * small), "rgb24", None, None, "BICUBIC")
        frames = [np.rot90(f.reformat(*kind).to_ndarray(), f.rotation // 90) for f in container.decode(stream)]
        return frames, float(stream.average_rate)


def hear(path: str, rate: int) -> np.ndarray:
    """Return the sound, mono, from the first frame on; nothing where there is none."""
    with av.open(path) as container:
        stream, video = best(container.streams.audio, "channels"), best(container.streams.video, "width")
        if stream is None:
            return np.zeros(0, np.float32)
        graph: Any = av.filter.Graph()
        source, first, parts = stream.codec_context.sample_rate, None, []
        for frame in container.decode(stream):
            if first is None:  # silence before it, back to a sample that both rates share
                first = round((frame.pts * stream.time_base - (video.start_time or 0) * video.time_base) * source)
                start = graph.add_abuffer(None, source, frame.format, frame.layout, time_base=frame.time_base)
                mono = graph.add("aformat", f"sample_rates={rate}:sample_fmts=flt:channel_layouts=mono")
                middle, end = graph.add("aresample", f"{rate}:rematrix_maxval=1.0"), graph.add("abuffersink")
                graph.link_nodes(start, middle, mono, end).configure()
                if missing := first % (source // math.gcd(source, rate)):
                    quiet = av.AudioFrame(frame.format.name, frame.layout.name, missing)
                    quiet.sample_rate, quiet.time_base, first = source, frame.time_base, first - missing
                    for plane in quiet.planes:
                        plane.update(bytes(plane.buffer_size))
                    graph.push(quiet)
            frame.pts = None
            graph.push(frame)
        graph.push(None)
        with suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:
                parts.append(graph.pull().to_ndarray()[0])
    begin, sound = (first or 0) * rate // source, np.concatenate(parts)
    return np.concatenate([np.zeros(max(begin, 0), np.float32), sound[max(-begin, 0) :]])


def resize(frames: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Return uint8 frames with an axis at another size: bilinear, antialiased, in whole numbers as torch does it."""
    reach = max((length := frames.shape[axis]) / size, 1.0)
    weights = np.abs(np.arange(length) + 0.5 - length / size * (np.arange(size)[:, None] + 0.5))
    weights = np.maximum(1 - weights / reach, 0) / np.maximum(1 - weights / reach, 0).sum(1, keepdims=True)
    bits = next((bits for bits in range(22) if int(0.5 + weights.max() * 2 ** (bits + 1)) >= 2**15), 22)
    sums = np.moveaxis(frames, axis, -1) @ np.floor(weights * 2**bits + 0.5).T + 2 ** (bits - 1)
    return frames if length == size else np.moveaxis(np.clip(sums // 2**bits, 0, 255).astype(np.uint8), -1, axis)


def predict(session: Any, path: str) -> list[tuple[str, float]]:
    """Return the class names with their probabilities, the most likely first."""
    said, names = session.get_modelmeta().custom_metadata_map, {item.name for item in session.get_inputs()}
    count, stride, clips, crops, size = (int(said[k]) for k in ("frames", "stride", "clips", "crops", "size"))
    (frames, rate), inclusive = see(path, int(said["short_side"])), said["starts"] == "inclusive"
    span = max(count * stride / float(said["fps"]) * rate, 1.0) if said["fps"] else 1 + (count - 1) * stride
    last, step = max(len(frames) - span, 0), (span - 1) / max(count - 1, 1) if said["fps"] else stride
    parts = [0.5] if inclusive and clips == 1 else [k / (clips - inclusive) for k in range(clips)]
    nearest = math.ceil if said["fps"] else lambda x: int(x + 0.5 * (inclusive and clips > 1) + 1e-9)
    chosen = [[min(nearest(last * p) + int(k * step + 1e-6), len(frames) - 1) for k in range(count)] for p in parts]
    views, waves, hertz, seconds = [], [], int(said.get("audio_rate", 1)), float(said.get("audio_seconds", 0))
    length, places = round(seconds * hertz), [0.5] if crops == 1 else [0.0, 0.5, 1.0]
    wave = np.pad(hear(path, hertz) if length else [], (length, length + round(len(frames) / rate * hertz)))
    for indices in chosen:
        clip = np.stack([frames[index] for index in indices])
        height, width = (max(round(side * size / min(clip.shape[1:3])), size) for side in clip.shape[1:3])
        whole = resize(resize(clip, 2, width), 1, height).transpose(0, 3, 1, 2)
        corners = [(round((height - size) * place), round((width - size) * place)) for place in places]
        views += [whole[..., top : top + size, left : left + size] for top, left in corners]
        start, room = ((indices[0] + indices[-1] + 1) / rate - seconds) / 2, max(len(frames) / rate - seconds, 0)
        start = round(hertz * (np.clip(start, 0, room) if said.get("audio_inside") == "1" else start)) + length
        waves += [wave[start : start + length].astype(np.float32)] * len(places)
    mean = session.run(None, {k: np.stack({"video": views, "wave": waves}[k]) for k in names})[0].mean(axis=0)
    return [(json.loads(said["classes"])[k], float(mean[k])) for k in np.argsort(-mean, kind="stable")]


if __name__ == "__main__":
    model = onnxruntime.InferenceSession(sys.argv[1])
    print(json.dumps({clip: dict(predict(model, clip)[:5]) for clip in sys.argv[2:]}, indent=1))
