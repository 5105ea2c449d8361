"""`asgm why`: what a network's answer about a clip rests on, as one picture."""

from __future__ import annotations

import json
from pathlib import Path

import click

from asgmcli.options import answers_option, json_option, refuse_to_replace, weights_option
from asgmcli.ranks.device import device_option
from asgmcli.signals import interruptible


@click.command("why", short_help="draw what an answer rests on: sound, picture, place")
@click.argument("target", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("clip", type=click.Path(path_type=Path))
@click.option("--audio", type=click.Path(path_type=Path), help="File of its sound, if that is a separate one.")
@click.option("--out", type=click.Path(path_type=Path), help="The picture: .png, .pdf, .svg.  [default: CLIP_why.png]")
@answers_option
@weights_option
@device_option
@click.option("--overwrite", is_flag=True, help="Replace the picture where it is there.")
@json_option
@interruptible("Stopped; nothing was written.")
def command(
    target: Path,
    clip: Path,
    audio: Path | None,
    out: Path | None,
    changes: tuple[str, ...],
    weights: tuple[tuple[str, Path], ...],
    device: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Draw what RUN answers about CLIP, and what it answers where something is taken away.

    The clip is shown as it is, without its sound, without its picture (each frame is grey), with the place hidden where
    what moves fits the sound, and, to compare, with another place as large hidden. RUN is the folder of a finished run,
    or a weight file, of any task that answers about a file.

    \b
    asgm why runs/my_clips/own/seed0 clip.mp4
    """
    from asgmcli.console import make_console
    from asgmcli.ranks.device import choose_device
    from asgmcli.runs.target import find_trained
    from asgmcli.runs.why import draw_why, versions, words_of

    out = out or Path(f"{clip.stem}_why.png")
    refuse_to_replace([out], overwrite)
    trained = find_trained(target).load(choose_device(device), changes, dict(weights))
    found = versions(trained, clip, audio)
    draw_why(found, trained.columns, clip.name, out)
    console = make_console()
    if words := words_of(found):
        console.print(words)
    for version in found:
        if version.note:
            console.print(f"{version.name}: {version.note}")
    console.print(f"Wrote {out}.")
    if as_json:
        rows = [version.data(trained.columns) for version in found]
        click.echo(json.dumps({"clip": str(clip), "path": str(out), "versions": rows}))
