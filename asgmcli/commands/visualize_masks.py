"""`asgm visualize-masks`: show which tokens of a clip the tube and the localization-guided mask keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asgmcli.errors import UsageError
from asgmcli.options import ShareType, json_option, localizer_option, localizer_weights_option, refuse_to_replace
from asgmcli.ranks.device import device_of_localizer, device_option

if TYPE_CHECKING:
    from rich.console import Console

    from asgmcli.nn.localizer import FrozenLocalizer

MEAN_KEEP = 1 / 3
"""The mean of λ ~ Beta(5, 10)."""


class Grid(click.ParamType):  # type: ignore[type-arg]  # click 8.1's takes no argument
    """`14x14` or `14`: rows and columns of tokens."""

    name = "ROWSxCOLUMNS"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return (rows, columns), each from 1 to 56."""
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().split("x")
        sides = [int(part) for part in parts if part.isdigit()]
        if len(sides) != len(parts) or len(sides) > 2 or not all(1 <= side <= 56 for side in sides):
            self.fail(f"{value!r} is no grid: write rows x columns such as 14x14, each from 1 to 56.", param, ctx)
        if sides[0] * sides[-1] < 2:
            self.fail("a mask needs at least 2 tokens.", param, ctx)
        return sides[0], sides[-1]


@click.command(name="visualize-masks", short_help="show which parts of a clip the masks keep")
@click.argument("clip", type=click.Path(path_type=Path))
@click.option("--frame", type=click.IntRange(1, 8), help="Only this one of the eight frames, large.  [default: each]")
@click.option(
    "--start",
    type=click.FloatRange(min=0),
    metavar="S",
    help="Seconds at which the eight frames begin.  [default: so that they lie in the middle]",
)
@click.option(
    "--keep",
    type=ShareType(),
    default=MEAN_KEEP,
    show_default="1/3, the mean of Beta(5, 10)",
    help="Share of the tokens that is kept.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draws.")
@click.option(
    "--average-frames",
    type=click.Choice(["1", "2", "4", "8"]),
    default="1",
    show_default=True,
    help="Neighbouring frames whose maps are averaged and which share a draw.",
)
@click.option("--grid", type=Grid(), default="14x14", show_default=True, help="Tokens: 14x14 for 224 pixels.")
@localizer_option
@localizer_weights_option
@click.option("--with", "other", type=click.Path(path_type=Path), help="Mix CLIP with this one and show the mixture.")
@click.option("--save-clip", type=click.Path(path_type=Path), help="Write the mixture as mp4 to watch and hear.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The picture: .png, .svg or .pdf.  [default: ./<clip>_masks.png, with --with ./<clip>_mix.png]",
)
@device_option
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@json_option
def command(
    clip: Path,
    frame: int | None,
    start: float | None,
    keep: float,
    seed: int,
    average_frames: str,
    grid: tuple[int, int],
    localizer: str | None,
    weights: Path | None,
    other: Path | None,
    save_clip: Path | None,
    out: Path | None,
    device: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Show which parts of CLIP the masks keep: the tube mask beside the localization-guided one.

    Panels (a) frame, (b) tube mask, (c) masked frame, (d) mean of 255 tube draws, (e) heat map, (f) guided mask,
    (g) masked frame, (h) mean of 255 guided draws. With --with, the mixture of two clips: picture and sound.

    \b
    asgm visualize-masks dog.mp4
    asgm visualize-masks dog.mp4 --frame 4 --keep 0.5 --out masks.svg
    asgm visualize-masks dog.mp4 --with pan.mp4 --save-clip mix.mp4
    """
    from asgmcli.console import make_console
    from asgmcli.localize.outputs import check_there
    from asgmcli.report.style import check_figure_path

    console = make_console()
    target = check_figure_path(out or Path(f"{clip.stem}_{'mix' if other else 'masks'}.png"))
    _check(frame, other, save_clip, [path for path in (target, save_clip) if path], overwrite)
    for path in (clip, other):
        if path is not None:
            check_there(path)
    trained = _load(localizer, weights, device, console)
    draw = {"grid": grid, "keep": keep, "average_frames": int(average_frames), "seed": seed}
    if other is None:
        result = _masks(clip, target, frame, start, trained, draw)
    else:
        result = _mixture(clip, other, target, save_clip, start, trained, draw)
    for warning in result["warnings"]:
        console.print(f"Warning: {warning}")
    for name in ("figure", "clip"):
        if result.get(name):
            console.print(f"Wrote {result[name]}")
    if as_json:
        click.echo(json.dumps(result))


def _check(frame: int | None, other: Path | None, save_clip: Path | None, targets: list[Path], overwrite: bool) -> None:
    """Refuse options that do not go together, and existing targets."""
    if other is not None and frame is not None:
        raise UsageError("--with shows all eight frames: leave out --frame.")
    if save_clip is not None and other is None:
        raise UsageError("--save-clip writes a mixture: name the other clip with --with.")
    if save_clip is not None and save_clip.suffix.lower() != ".mp4":
        raise UsageError(f"--save-clip {save_clip}: the mixture is an mp4; end the name in .mp4.")
    refuse_to_replace(targets, overwrite, "choose another name")


def _load(localizer: str | None, weights: Path | None, device: str, console: Console) -> FrozenLocalizer | None:
    """Return the trained localizer, None for motion; say so if none was asked for."""
    from asgmcli.localize.outputs import NO_WEIGHTS, choose_localizer, weights_file

    name = choose_localizer(localizer, weights)
    if localizer is None and weights is None:
        console.print(NO_WEIGHTS)
    place = device_of_localizer(name, device)
    if name == "motion" or weights is None:
        return None
    from asgmcli.nn.localizer import load_localizer

    return load_localizer(weights_file(weights)).to(place)


def _masks(
    clip: Path,
    target: Path,
    frame: int | None,
    start: float | None,
    trained: FrozenLocalizer | None,
    draw: dict[str, Any],
) -> dict[str, Any]:
    """Draw Figure 3."""
    from asgmcli.tasks.masks.pictures import Draw, clip_masks

    found = clip_masks(clip, Draw(**draw), trained, frame=frame, start=start)
    found.picture(target)
    warnings = [f"{clip}: {found.warning}, its maps are uniform."] if found.warning else []
    return {
        "figure": str(target),
        "localizer": found.localizer,
        "times": [round(time, 4) for time in found.times],
        "tokens": found.draw.tokens,
        "kept": found.draw.kept,
        "warnings": warnings,
    }


def _mixture(
    clip: Path,
    other: Path,
    target: Path,
    save_clip: Path | None,
    start: float | None,
    trained: FrozenLocalizer | None,
    draw: dict[str, Any],
) -> dict[str, Any]:
    """Draw Figure 2, and write the mixture as a clip."""
    import torch

    from asgmcli.tasks.masks.mix_figure import mix_panels
    from asgmcli.tasks.masks.pictures import mix_clips, open_clip, save_mixture, shown_maps

    a, b = open_clip(clip, start), open_clip(other)
    maps, warning = shown_maps(clip, a, trained, draw["grid"])
    options = {key: draw[key] for key in ("grid", "keep", "average_frames")}
    panels = mix_clips(a, b, maps, generator=torch.Generator().manual_seed(draw["seed"]), **options)
    name = "motion" if trained is None else trained.model.kind
    if save_clip is not None:
        save_mixture(save_clip, a, b, (clip, other), panels)
    title = f"{clip.name} mixed with {other.name} under its {name} map"
    mix_panels(panels, target, title=title, names=(clip.name, other.name))
    warnings = [f"{clip}: {warning}, its maps are uniform."] if warning else []
    if not b.sound.rate:
        warnings.append(f"{other}: no sound, so that the mixture has silence for it.")
    return {
        "figure": str(target),
        "clip": None if save_clip is None else str(save_clip),
        "localizer": name,
        "share": panels.share,
        "warnings": warnings,
    }
