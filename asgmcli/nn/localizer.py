"""FNAC, the sound source localizer (Sun et al., "Learning Audio-Visual Source Localization via False Negative Aware
Contrastive Learning", CVPR 2023): its spectrogram, its network, and the frozen form that guides masks."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asgmcli.errors import DataError
from asgmcli.nn.kept import Kept, name_sounds
from asgmcli.nn.resnet import ResNet18
from asgmcli.nn.start_localizer import StartLocalizer, rebuilt
from asgmcli.nn.state import LoadReport, fit, read_metadata, read_state, state_of, write_safetensors

WINDOW_SAMPLES = 512
HOP_SAMPLES = 512 - 274
LOG_FLOOR = 1e-7
LOG_SCALE = 12.0
# ImageNet's mean and standard deviation of RGB in [0, 1].
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
# A clip whose loudest sample is below this (-80 dB of full scale) has no sound to look for.
SILENCE = 1e-4
# Frames that go through the image network at once; bounds memory.
_FRAMES_AT_ONCE = 64
# Bytes of sound features to keep: 131,072 sounds with D = 512.
_KEPT_SOUNDS = 256 << 20
_FORMAT = "asgm-localizer"


def fnac_spectrogram(wave: Tensor, *, rate: int = 16000, seconds: float = 3.0) -> Tensor:
    """Compute FNAC's input: log(S + 1e-7) / 12 of scipy.signal.spectrogram's S (512 samples, 274 overlap), batched.

    S is scipy's default: Tukey(0.25) window, the window's mean removed, one-sided power density per Hz.

    Args:
        wave: [B, S] mono in [-1, 1] at `rate` Hz. Longer than `seconds` is cut, shorter repeats.
        rate: samples a second, Hz.
        seconds: length of sound that is used, s; the released model's 3.

    Returns:
        [B, 1, 257, L]; L = 200 for 3 s at 16 kHz.

    Raises:
        ValueError: no samples, or `seconds` shorter than one window.
    """
    wanted = round(rate * seconds)
    if wave.ndim != 2 or wave.shape[1] == 0:
        raise ValueError(f"the sound is [B, S] with S at least 1, not {tuple(wave.shape)}")
    if wanted < WINDOW_SAMPLES:
        raise ValueError(f"{seconds} s at {rate} Hz are {wanted} samples, fewer than one window of {WINDOW_SAMPLES}")
    wave = wave.float().clamp(-1, 1)  # as the released code does: decoders overshoot
    wave = wave.repeat(1, -(-wanted // wave.shape[1]))[:, :wanted]
    window = _tukey(WINDOW_SAMPLES, 0.25, wave.device)
    frames = wave.unfold(1, WINDOW_SAMPLES, HOP_SAMPLES)
    spectrum = torch.fft.rfft((frames - frames.mean(-1, keepdim=True)) * window)
    power = (spectrum.real.square() + spectrum.imag.square()) / (rate * window.square().sum())
    power[..., 1:-1] *= 2  # one-sided: every frequency but 0 and the highest stands for two
    scaled: Tensor = ((power + LOG_FLOOR).log() / LOG_SCALE).transpose(1, 2).unsqueeze(1)
    return scaled


def _tukey(samples: int, taper: float, device: torch.device) -> Tensor:
    """Return the periodic Tukey window of scipy.signal.get_window: cosine flanks over `taper` of its length, else 1."""
    # Apple's GPUs have no float64.
    position = torch.arange(samples, dtype=torch.float64, device="cpu") / samples
    flank = torch.minimum(position, 1 - position).clamp(max=taper / 2)
    return (0.5 - 0.5 * torch.cos(2 * torch.pi * flank / taper)).float().to(device)


class FNAC(nn.Module):
    """Two ResNet-18 into one space; the map is the cosine between the sound's vector and each image cell's.

    Parameter names are those of the released checkpoints: `imgnet`, `img_proj`, `audnet`, `aud_proj`.

    Args:
        dim: D of the common space.
        width: channels of the networks' first stage; 64 is ResNet-18, less makes a small localizer.
        stride: image pixels a map cell, 32, 16 or 8 (so that 48 pixels still give 6x6 cells).
        norm: standardise what is projected (batch norm without weights). What a ResNet puts out is positive; projected
            as it is, all vectors of a small network point the same way and the contrastive loss stays at its start.
        dropout_image: dropout of the image features before their projection.
        dropout_audio: dropout of the sound's feature before its projection.
    """

    kind = "fnac"
    mean, std = IMAGE_MEAN, IMAGE_STD

    def __init__(
        self,
        dim: int = 512,
        *,
        width: int = 64,
        stride: int = 32,
        norm: bool = False,
        dropout_image: float = 0.0,
        dropout_audio: float = 0.0,
    ) -> None:
        super().__init__()
        self.dim, self.width, self.stride = dim, width, stride
        self.imgnet = ResNet18(3, width, stride)
        self.img_norm = nn.BatchNorm2d(self.imgnet.out_channels, affine=False) if norm else nn.Identity()
        self.img_proj = nn.Conv2d(self.imgnet.out_channels, dim, kernel_size=1)
        self.img_dropout = nn.Dropout(dropout_image)
        self.audnet = ResNet18(1, width)
        self.aud_norm = nn.BatchNorm1d(self.audnet.out_channels, affine=False) if norm else nn.Identity()
        self.aud_proj = nn.Linear(self.audnet.out_channels, dim)
        self.aud_dropout = nn.Dropout(dropout_audio)
        nn.init.kaiming_normal_(self.img_proj.weight, mode="fan_out", nonlinearity="relu")
        nn.init.trunc_normal_(self.aud_proj.weight, std=0.01)
        for module in self.audnet.modules():
            if isinstance(module, nn.BatchNorm2d):  # the released start of every network but ImageNet's
                nn.init.normal_(module.weight, mean=1.0, std=0.02)

    def sizes(self) -> dict[str, object]:
        """Return what its file must say of it."""
        norm = not isinstance(self.img_norm, nn.Identity)
        return {"dim": self.dim, "width": self.width, "stride": self.stride, "norm": norm}

    def trunks(self) -> list[nn.Module]:
        """Return the networks before the projections."""
        return [self.imgnet, self.audnet]

    def spectrogram(self, wave: Tensor, *, rate: int, seconds: float) -> Tensor:
        """Return [B, 1, 257, L] of sound [B, S], see `fnac_spectrogram`."""
        return fnac_spectrogram(wave, rate=rate, seconds=seconds)

    def cells(self, image: Tensor) -> Tensor:
        """Return the image network's [B, C, h, w] of ImageNet-normalised [B, 3, H, W]."""
        found: Tensor = self.imgnet(image)
        return found

    def heard(self, spectrogram: Tensor) -> Tensor:
        """Return the audio network's maxima [B, C] of [B, 1, F, L]."""
        found: Tensor = self.audnet(spectrogram).amax((2, 3))
        return found

    def image_features(self, image: Tensor) -> Tensor:
        """Return image features [B, D, h, w], L2-normalised over D, of ImageNet-normalised [B, 3, H, W]."""
        return self.project_image(self.cells(image))

    def project_image(self, cells: Tensor) -> Tensor:
        """Project the image network's [B, C, h, w] to [B, D, h, w], L2-normalised over D."""
        return F.normalize(self.img_proj(self.img_dropout(self.img_norm(cells))), dim=1)

    def audio_features(self, spectrogram: Tensor) -> Tensor:
        """Return audio features [B, D], L2-normalised, of [B, 1, F, L] from `fnac_spectrogram`."""
        return self.project_audio(self.heard(spectrogram))

    def project_audio(self, pooled: Tensor) -> Tensor:
        """Project the audio network's maxima [B, C] to [B, D], L2-normalised."""
        return F.normalize(self.aud_proj(self.aud_dropout(self.aud_norm(pooled))), dim=1)

    def features(self, image: Tensor, spectrogram: Tensor) -> tuple[Tensor, Tensor]:
        """Return image features [B, D, h, w] and audio features [B, D], both L2-normalised.

        Args:
            image: [B, 3, H, W], ImageNet-normalised.
            spectrogram: [B, 1, F, L] of `fnac_spectrogram`.
        """
        return self.image_features(image), self.audio_features(spectrogram)

    def forward(self, image: Tensor, spectrogram: Tensor) -> Tensor:
        """Return the cosine similarity [B, B, h, w] of image b with audio m; inputs as `features`."""
        image, audio = self.features(image, spectrogram)
        return torch.einsum("bdhw,md->bmhw", image, audio)

    def heatmap(self, image: Tensor, spectrogram: Tensor, *, affinity: bool = False) -> Tensor:
        """Return each image's map for its own sound, [B, h, w]; inputs as `features`, see `similarity_map`."""
        return similarity_map(*self.features(image, spectrogram), affinity=affinity)


def similarity_map(image: Tensor, audio: Tensor, *, affinity: bool = False) -> Tensor:
    """Return the map of each image's own sound (the paper's Sec. 3.3, Eq. 13-14).

    Args:
        image: [B, D, h, w], L2-normalised over D.
        audio: [B, D], L2-normalised.
        affinity: spread the map over similar image cells, (f_v f_vᵀ)(f_v f_aᵀ), instead of f_v f_aᵀ alone.

    Returns:
        [B, h, w], not normalised; in [-1, 1] without `affinity`.
    """
    cells = image.flatten(2)
    result = torch.einsum("bdn,bd->bn", cells, audio)
    if affinity:
        # associativity: D x h w operations instead of (h w)^2
        result = torch.einsum("bdn,bd->bn", cells, torch.einsum("bdn,bn->bd", cells, result))
    grid: Tensor = result.unflatten(1, image.shape[2:])
    return grid


class FrozenLocalizer(nn.Module):
    """A trained localizer as the guide of masks: always in eval mode, never with gradient.

    Args:
        model: the network; its parameters are frozen.
        input_size: side of the images it was trained with, pixels; frames are resized to it.
        seconds: length of sound it was trained with, s.
        rate: of that sound, Hz.
        map: `cosine`, or `affinity` (see `similarity_map`).
    """

    image_mean: Tensor
    image_std: Tensor

    def __init__(
        self,
        model: FNAC | StartLocalizer,
        *,
        input_size: int = 224,
        seconds: float = 3.0,
        rate: int = 16000,
        map: str = "cosine",
    ) -> None:
        super().__init__()
        if map not in ("cosine", "affinity"):
            raise ValueError(f"map is 'cosine' or 'affinity', not {map!r}")
        self.model = model.requires_grad_(False)
        self.input_size, self.seconds, self.rate, self.map = input_size, seconds, rate, map
        self.register_buffer("image_mean", torch.tensor(model.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(model.std).view(3, 1, 1), persistent=False)
        self._warned = False
        self._heard: Kept | None = None
        self.eval()

    def train(self, mode: bool = True) -> FrozenLocalizer:  # noqa: ARG002 - torch's own signature
        """Do nothing: it stays in eval mode, also inside a network that is put in training mode."""
        return super().train(False)

    def remember_sounds(self) -> None:
        """Compute a sound's features once in the run; for clips that come again in every epoch with the same sound.

        If each moment of long clips has a sound of its own, the first `_KEPT_SOUNDS` bytes of features are kept.
        """
        self._heard = Kept(_KEPT_SOUNDS)

    @torch.no_grad()
    def maps(self, frames: Tensor, wave: Tensor, masks: Tensor | None = None) -> Tensor:
        """Return a map of the sound's source for each frame.

        Args:
            frames: [B, 3, T, H, W] RGB in [0, 1], on any device.
            wave: [B, S] mono at `rate` Hz, on any device; the middle `seconds` of longer sound, shorter sound repeats.
            masks: [B, 4] from and to what frequency (Hz), and from and to what time (s), the spectrogram is set to 0,
                as the masks of FNAC's own training do; FNAC alone. None for none. Times count from the start of what is
                heard.

        Returns:
            [B, T, h, w] on the network's device; a clip without sound gets a uniform map of ones, and the first such
            clip a warning.
        """
        b, _, t = frames.shape[:3]
        frames, wave = frames.to(self.image_mean.device), wave.to(self.image_mean.device)
        images = frames.transpose(1, 2).flatten(0, 1).float()
        cells = torch.cat([self._image_features(part) for part in images.split(_FRAMES_AT_ONCE)])
        heard = self._audio_features(wave) if masks is None else self._masked_features(wave, masks)
        audio = heard.repeat_interleave(t, dim=0)
        maps = similarity_map(cells, audio, affinity=self.map == "affinity").unflatten(0, (b, t))
        # `not >` rather than `<=`: a clip with NaN counts as silent too.
        silent = ~(wave.abs().amax(1) > SILENCE)
        if bool(silent.any()) and not self._warned:
            self._warned = True
            warnings.warn("A clip has no sound: its localization map is uniform (said once).", stacklevel=2)
        filled: Tensor = maps.masked_fill(silent.view(b, 1, 1, 1), 1.0)
        return filled

    def spectrogram(self, wave: Tensor) -> Tensor:
        """Return the network's spectrogram, FNAC's [B, 1, 257, L], of the middle `seconds` of [B, S] at `rate` Hz."""
        start = max(0, (wave.shape[1] - round(self.rate * self.seconds)) // 2)
        return self.model.spectrogram(wave[:, start:], rate=self.rate, seconds=self.seconds)

    def _audio_features(self, wave: Tensor) -> Tensor:
        """Return features [B, D] of sound [B, S]."""
        if self._heard is None:
            return self.model.audio_features(self.spectrogram(wave))
        return self._heard(name_sounds(wave), lambda part: self.model.audio_features(self.spectrogram(wave[part])))

    def _masked_features(self, wave: Tensor, masks: Tensor) -> Tensor:
        """Return features [B, D] of sound [B, S] without the bands and spans of `masks` [B, 4]."""
        spectrogram = self.spectrogram(wave)
        low, high, begin, end = (edge[:, None] for edge in masks.to(spectrogram.device).T)
        rows, columns = (torch.arange(size, device=spectrogram.device)[None] for size in spectrogram.shape[2:])
        hertz, seconds = rows * self.rate / WINDOW_SAMPLES, (columns * HOP_SAMPLES + WINDOW_SAMPLES / 2) / self.rate
        band, span = (hertz >= low) & (hertz < high), (seconds >= begin) & (seconds < end)
        return self.model.audio_features(spectrogram.masked_fill(band[:, None, :, None] | span[:, None, None], 0.0))

    def _image_features(self, images: Tensor) -> Tensor:
        """Return features [n, D, h, w] of frames [n, 3, H, W] in [0, 1]."""
        size = (self.input_size, self.input_size)
        if images.shape[2:] != size:
            images = F.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=True).clamp_(0, 1)
        return self.model.image_features((images - self.image_mean) / self.image_std)


def load_fnac(model: FNAC, state: str | Path | Mapping[str, object]) -> LoadReport:
    """Load the weights of a released FNAC (`model` key, `module.` prefixes) or of this project's into `model`.

    Raises:
        DataError: the file cannot be read or is not FNAC's.
    """
    tensors, source = state_of(state)
    return fit(model, tensors, source, may_keep=_may_keep, resize={})


def _may_keep(name: str) -> bool:
    """Return True for what a weight file may lack: counters, and norms that the released model does not have."""
    return name.endswith("num_batches_tracked") or name.startswith(("img_norm.", "aud_norm."))


def save_localizer(path: str | Path, model: FNAC | StartLocalizer, config: Mapping[str, object]) -> Path:
    """Write `model` as safetensors that `load_localizer` needs nothing else for.

    Args:
        path: the target, replaced whole.
        model: the network.
        config: `input_size`, `seconds`, `rate` and `map` as in `FrozenLocalizer`, if not its defaults; any
            other keys (recipe, scores) are kept. The network's own sizes are added; a start's `video` and `audio` of
            its recipe must be among the keys.
    """
    metadata = {"format": _FORMAT, "config": json.dumps({**config, **model.sizes()})}
    return write_safetensors(path, model.state_dict(), metadata)


def load_localizer(path: str | Path, *, map: str | None = None, kind: str | None = None) -> FrozenLocalizer:
    """Load the frozen localizer from a file of `save_localizer` or a released FNAC checkpoint.

    A released checkpoint does not describe its inputs: 224 pixels, 3 s at 16 kHz and stride 32 are assumed; width and D
    come from its tensors.

    Args:
        path: the file.
        map: `cosine` or `affinity`; None for the file's own.
        kind: `fnac` or `start`, what it is to be; None for either.

    Raises:
        DataError: the file is missing, broken, would run code, or is no localizer's, or one of another kind.
    """
    frozen = _loaded(path, map)
    if kind not in (None, frozen.model.kind):
        raise DataError(f"{path} is a localizer of kind {frozen.model.kind}, not {kind}: set localizer.kind to that.")
    return frozen


def _loaded(path: str | Path, map: str | None) -> FrozenLocalizer:
    metadata, state = read_metadata(path), read_state(path)
    first, last = state.get("imgnet.conv1.weight"), state.get("img_proj.weight")
    own = metadata.get("format") == _FORMAT
    if last is None or (first is None and not own):
        raise DataError(
            f"{path} is not an FNAC localizer: it has {', '.join(list(state)[:3])}, but no imgnet.* and img_proj.*. "
            "Bring a released FNAC checkpoint or one that `asgm train` wrote for a localizer recipe."
        )
    try:
        config: dict[str, Any] = json.loads(metadata["config"]) if own else {}
        model: FNAC | StartLocalizer
        if first is None:
            model = rebuilt(config)
        else:
            config = {"width": first.shape[0], "dim": last.shape[0], "stride": 32, **config}
            norm = bool(config.get("norm", False))
            model = FNAC(config["dim"], width=config["width"], stride=config["stride"], norm=norm)
        options = {key: config[key] for key in ("input_size", "seconds", "rate", "map") if key in config}
        if map is not None:
            options["map"] = map
        frozen = FrozenLocalizer(model, **options)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: its description of the localizer is unusable ({error}). Train it again.") from error
    if isinstance(model, StartLocalizer):
        fit(model, state, str(path), may_keep=lambda _: False, resize={})
    else:
        load_fnac(model, path)
    return frozen
