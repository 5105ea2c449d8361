"""`asgm prepare tables --show-split`: the labelled clips of the papers' six tables, as lists to publish."""

from __future__ import annotations

import json
from pathlib import Path

import click

from asgmcli.errors import DataError, UsageError
from asgmcli.options import json_option

NAME = "tables"
TITLE = "the labelled clips of the six tables, of prepared data sets"


@click.command(NAME, short_help=TITLE)
@click.option("--show-split", is_flag=True, help="Needed: nothing else is done.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The first draw.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=1, show_default=True, help="Draws from there on.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("data/labels"),
    show_default=True,
    help="The lists' folder.",
)
@json_option
def command(show_split: bool, seed: int, seeds: int, out: Path, as_json: bool) -> None:
    """Write which clips keep their label in Table 1's six recipes, a list a recipe and seed: `id class` a line.

    The draw takes of each class the clips with the smallest seeded hash of their id, so that it depends on the seed and
    on which clips of the class are there, and on nothing else. What is not prepared is named.

    \b
    asgm prepare tables --show-split --seeds 3
    """
    from asgmcli.console import make_console
    from asgmcli.prepare.labels import label_lists, write_label_list
    from asgmcli.report.table import Cell, Table

    if not show_split:
        raise UsageError(f"asgm prepare {NAME} makes no data set; it shows labels: add --show-split.")
    console = make_console(stderr=as_json)
    lists = list(label_lists(range(seed, seed + seeds)))
    rows: list[list[Cell]] = []
    found = []
    for each in lists:
        if each.manifest is None:
            continue
        path = write_label_list(each, out)
        rows.append([each.recipe, each.seed, len(each.clips), each.sha256[:16], each.manifest.sha256[:16], str(path)])
        found.append(
            {
                "recipe": each.recipe,
                "seed": each.seed,
                "labeled_per_class": each.data.labeled_per_class,
                "sha256": each.sha256,
                "manifest_sha256": each.manifest.sha256,
                "path": str(path),
                "clips": [[row.id, row.label] for row in each.clips],
            }
        )
    missing = list(dict.fromkeys(each.missing for each in lists if each.missing))
    if not found:
        raise DataError("\n".join(["No data set of the tables is prepared.", *missing]))
    columns = ["recipe", "seed", "labelled clips", "list's sha256", "manifest's sha256", "list"]
    console.print(Table("Labelled clips of the tables", columns, rows).rich())
    for line in missing:
        console.print(f"Missing: {line}")
    if as_json:
        click.echo(json.dumps({"lists": found, "missing": missing}))
