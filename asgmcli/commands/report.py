"""`asgm report`: one HTML file of a run, of a recipe's runs, or of a folder of runs, to look at and to mail."""

from __future__ import annotations

import json
from pathlib import Path

import click

from asgmcli.errors import UsageError
from asgmcli.options import json_option, refuse_to_replace, runs_option
from asgmcli.ranks.device import device_option
from asgmcli.signals import interruptible

NAME = "report.html"


@click.command("report", short_help="write one HTML file on runs, to mail")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help=f"The file.  [default: {NAME} in the folder of the runs]")
@click.option(
    "--clips",
    type=click.IntRange(0, 50),
    default=4,
    show_default=True,
    help="Best clips that are shown, and as many of the worst; 0 evaluates nothing.",
)
@click.option("--on-demo", is_flag=True, help="Of a recipe: its runs on the demo data.")
@runs_option
@device_option
@click.option("--overwrite", is_flag=True, help="Replace the file where it is there.")
@json_option
@interruptible("Stopped; nothing was written.")
def command(
    target: Path, out: Path | None, clips: int, on_demo: bool, runs: Path, device: str, overwrite: bool, as_json: bool
) -> None:
    """Write one HTML file on TARGET: the folder of a run, a recipe (a file, or a name), or a folder of runs.

    It holds all that it shows: curves, tables beside the paper, figures, the best and the worst clips as small videos
    with sound and the answer drawn in, versions, and how to repeat it. It needs no network and is under 10 MB. What
    `asgm eval` has measured of a run is taken from there; otherwise the run is evaluated first.

    \b
    asgm report runs/demo/asgm_former/seed0
    asgm report recipes/demo.yaml --out demo.html
    asgm report runs --clips 0
    """
    from asgmcli.console import make_console
    from asgmcli.files import write_text
    from asgmcli.ranks.device import choose_device
    from asgmcli.recipe.shipped import find_recipe
    from asgmcli.report.page import render
    from asgmcli.runs.on_demo import RecipeFile
    from asgmcli.runs.pages import Maker, folder_page, recipe_page, run_page
    from asgmcli.runs.target import is_recipe

    console = make_console()
    target = target if target.exists() else find_recipe(target)
    recipe = RecipeFile(target, on_demo) if is_recipe(target) else None
    if on_demo and recipe is None:
        raise UsageError(f"--on-demo is of a recipe's runs; {target} is not a recipe.")
    if recipe is None and not target.is_dir():
        raise UsageError(f"{target}: neither the folder of a run, nor a recipe, nor a folder of runs.")
    out = out or (target if recipe is None else runs / recipe.load().name) / NAME
    refuse_to_replace([out], overwrite)
    maker = Maker(choose_device(device), console, runs, clips, out)
    if recipe is not None:
        page = recipe_page(recipe, maker)
    elif (target / "recipe.yaml").exists():
        page = run_page(target, maker)
    else:
        page = folder_page(target)
    text = render(page)
    write_text(out, text)
    size = len(text.encode("utf-8", errors="surrogateescape"))
    shown = sum(clip.mp4 is not None for section in page.sections for clip in section.clips)
    console.print(f"Wrote {out} ({size / 1e6:.1f} MB): {len(page.sections)} sections, {shown} clips.")
    if as_json:
        click.echo(json.dumps({"path": str(out), "bytes": size, "clips": shown, "title": page.title}))
