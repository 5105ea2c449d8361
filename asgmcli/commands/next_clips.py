"""`asgm next`: the unlabelled clips most worth a label, as a page to watch them on and a list to fill in."""

from __future__ import annotations

import json
from pathlib import Path

import click

from asgmcli.options import json_option, refuse_to_replace
from asgmcli.ranks.device import device_option
from asgmcli.signals import interruptible


@click.command("next", short_help="choose the unlabelled clips most worth a label")
@click.argument("target", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--count", type=click.IntRange(1, 200), default=20, show_default=True, help="Clips to label.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The list; the page lies beside it.  [default: RUN/next.csv]"
)
@device_option
@click.option(
    "--overwrite", is_flag=True, help="Replace list and page where they are there, labels that were filled in too."
)
@json_option
@interruptible("Stopped; nothing was written.")
def command(target: Path, count: int, out: Path | None, device: str, overwrite: bool, as_json: bool) -> None:
    """Choose the unlabelled clips of RUN's data that are most worth a label.

    The network answers them unlike the labelled ones, and unlike each other; classes with few labels come first.

    On the letters of AVLetters such clips are not shown to be worth more than as many at random (recipes/RESULTS.md).

    Writes a page with a player a clip (next.html) and a list (next.csv). Watch, fill in the column `label`, and train
    again with both kinds of labels. The list stays where it is when its run is trained anew; name the next one with
    --out, and give --more-labels once for each.

    \b
    asgm next runs/my_clips/own/seed0 --count 10
    asgm train my_clips --more-labels runs/my_clips/own/seed0/next.csv --overwrite
    """
    from asgmcli.console import make_console
    from asgmcli.errors import UsageError
    from asgmcli.files import write_text
    from asgmcli.progress import tracked
    from asgmcli.report.page import render
    from asgmcli.runs.bulk import Asked, Bulk, default_workers, trained_of
    from asgmcli.runs.next_clips import chosen_of, next_csv, next_page, open_unlabeled

    console = make_console()
    asked = Asked(target, device)
    trained, found = trained_of(asked)
    if out is None:
        if found.run is None:
            raise UsageError(f"{target} is a weight file without a run: name the list with --out.")
        out = found.run.folder / "next.csv"
    page = out.with_suffix(".html")
    if page == out:
        raise UsageError(f"--out {out}: that is the page's name. Name the list, such as {out.with_suffix('.csv')}.")
    refuse_to_replace([out, page], overwrite)
    known = open_unlabeled(trained)
    bulk = Bulk(asked, default_workers(), patience_s=5.0)
    with tracked(console, "training clips", "next", transient=True) as tell:
        chosen, failed = chosen_of(trained, known, bulk, count, lambda done: tell(done, known.count))
    among = len(known.unlabeled)
    write_text(page, render(next_page(trained, known.manifest, chosen, among, out)))
    write_text(out, next_csv(chosen))
    for line in failed:
        console.print(f"Left out: {line}")
    console.print(f"{len(chosen)} of {among} unlabelled clips. Watch: {page}. Fill in the labels: {out}")
    if as_json:
        click.echo(json.dumps({"path": str(out), "page": str(page), "clips": [vars(one) for one in chosen]}))
