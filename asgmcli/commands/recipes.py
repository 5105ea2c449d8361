"""`asgm recipes`: list the shipped recipes, and copy one to change it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from asgmcli.options import json_option


@click.group("recipes", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the list as one JSON object on standard output.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the recipes that come with asgm, a line each; `copy` gives you one to change.

    \b
    asgm recipes
    asgm recipes copy demo mine.yaml
    asgm train demo
    """
    if context.invoked_subcommand is not None:
        return
    from asgmcli.recipe.read import read_yaml
    from asgmcli.recipe.shipped import shipped

    found = {name: read_yaml(path) for name, path in shipped().items()}
    if as_json:
        entries = [{"name": name, "title": str(found[name]["title"]), "path": str(shipped()[name])} for name in found]
        click.echo(json.dumps({"recipes": entries}))
        return
    width = max(map(len, found), default=0)
    for name, values in found.items():
        click.echo(f"{name:<{width}}  {values['title']}")


@command.command("copy")
@click.argument("name")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace the file where it is there.")
@json_option
def copy(name: str, target: Path, overwrite: bool, as_json: bool) -> None:
    """Copy the shipped recipe NAME to the file TARGET, and name it after that file.

    Other recipes that the copy needs are looked for beside it, then among the shipped ones.

    \b
    asgm recipes copy demo mine.yaml
    asgm train mine.yaml
    """
    from asgmcli.recipe.copy import copy_recipe

    copy_recipe(name, target, overwrite=overwrite)
    click.echo(f"Wrote {target}. Train it: asgm train {target}", err=True)
    if as_json:
        click.echo(json.dumps({"path": str(target), "name": target.stem, "copy_of": name}))
