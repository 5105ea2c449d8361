"""Maps that a recipe's guide needs before training: a localizer of motion sees whole clips, not a few frames."""

from __future__ import annotations

from rich.console import Console

from asgmcli.data.maps import MapReader
from asgmcli.errors import DataError
from asgmcli.localize.outputs import ClipFiles, MapSettings, localize_all
from asgmcli.prepare.source import open_manifest
from asgmcli.progress import tracked
from asgmcli.recipe.recognition import RecognitionRecipe


def ensure_motion_maps(recipe: RecognitionRecipe, console: Console) -> None:
    """Make the maps of the training clips that have none; a clip that cannot be read is named once training meets it.

    Raises:
        DataError: not one clip can be read.
    """
    if not recipe.moved:
        return
    manifest = open_manifest(recipe.data)
    reader = MapReader(manifest)
    rows = manifest.of_split(recipe.data.train_split)
    jobs = []
    for row in reader.missing(rows):
        video = manifest.resolve(row)
        # Without sound of its own the clip's file is asked, which then says that it holds none.
        jobs.append(ClipFiles(row.id, video, manifest.resolve_audio(row) or video, reader.stem(row)))
    if not jobs:
        return
    console.print(f"{reader.folder}: finding where {len(jobs)} clips move with their sound (once).")
    failed: list[str] = []
    settings = MapSettings("motion", write=("maps",))
    with tracked(console, "maps", "localize", reader.folder) as tell:
        for number, (_, answer) in enumerate(localize_all(jobs, settings, max(1, recipe.data.workers)), start=1):
            tell(number, len(jobs))
            if isinstance(answer, str):
                failed.append(answer)
    if len(failed) == len(rows):
        raise DataError(f"{manifest.path}: no training clip can be read. The first: {failed[0]}")
    if failed:
        text = f"{len(failed)} clips have no maps and will be replaced by others. The first: {failed[0]}"
        console.print(text)
