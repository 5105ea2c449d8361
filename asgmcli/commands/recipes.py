"""`asgm recipes`: list the shipped recipes, copy one to change it, and tell every key that recipes know."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import click

from asgmcli.options import json_option


@click.group("recipes", invoke_without_command=True, short_help="list, copy and explain recipes")
@click.option("--json", "as_json", is_flag=True, help="Print the list as one JSON object on standard output.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the recipes that come with asgm, a line each; `copy` gives you one to change, `keys` says what in it means.

    \b
    asgm recipes
    asgm recipes copy demo mine.yaml
    asgm recipes keys train
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


@command.command("copy", short_help="copy a shipped recipe into a file of your own")
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


@command.command("keys", short_help="say what every key takes and means")
@click.argument("section", default="")
@click.option("--json", "form", flag_value="json", help="Print the keys as one JSON object.")
@click.option("--schema", "form", flag_value="schema", help="Print a JSON schema of recipes, for editors.")
@click.option("--markdown", "form", flag_value="markdown", help="Print the page docs/RECIPES.md.")
def keys(section: str, form: str | None) -> None:
    """Say what every key of recipes takes, is without, and means; SECTION, such as `train.optimizer`, shows its alone.

    \b
    asgm recipes keys
    asgm recipes keys train.optimizer
    asgm recipes keys --schema > recipe.schema.json
    """
    from asgmcli.errors import UsageError
    from asgmcli.recipe.keys import find_keys, json_schema, recipes_page

    if section and form in ("schema", "markdown"):
        raise UsageError(f"--{form} is of all keys: leave {section} out.")
    if form == "schema":
        click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    elif form == "markdown":
        click.echo(recipes_page(), nl=False)
    else:
        found = find_keys(section)
        if form == "json":
            entries = [{**vars(key), "tasks": list(key.tasks)} for key in found]
            click.echo(json.dumps({"keys": entries}, ensure_ascii=False))
            return
        for key in found:
            click.echo(f"{click.style(key.path, bold=True)}  {key.type}; default {key.default}; tasks: {key.of_tasks}")
            click.echo(textwrap.indent(key.about, "    "))
