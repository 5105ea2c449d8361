"""The views by which a network is evaluated, whatever manifest the clips come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asgmcli.data.loader import Batch, EvaluationViews, LogMelStatistics, collate, make_loader
from asgmcli.data.manifest import Manifest, ManifestRow, check_files
from asgmcli.data.plan import RankShare
from asgmcli.data.reader import ClipReader
from asgmcli.errors import DataError
from asgmcli.recipe.recognition import RecognitionRecipe


def labeled_rows(manifest: Manifest, split: str) -> list[ManifestRow]:
    """The clips of `split` that have a label.

    Raises:
        DataError: there is none; the message says where some are.
    """
    rows = [row for row in manifest.of_split(split) if row.label]
    if not rows:
        others = sorted({row.split for row in manifest.rows if row.label})
        hint = f"Splits with labels: {', '.join(others)}." if others else "The manifest holds no label at all."
        raise DataError(f"{manifest.path}: no labelled clip in split {split!r} to evaluate on. {hint}")
    return rows


def evaluation_batches(
    recipe: RecognitionRecipe,
    reader: ClipReader,
    rows: Sequence[ManifestRow],
    labels: dict[str, int],
    mel_statistics: LogMelStatistics | None,
    share: RankShare | None = None,
) -> Iterator[Batch]:
    """Batches of `rows` in their order, `evaluate.clips` x `evaluate.crops` views each; with `share` some of them.

    Raises:
        DataError: a file is gone.
    """
    check_files(reader.manifest, rows)
    settings = recipe.evaluate
    views = EvaluationViews(reader, list(rows), labels, recipe.clip, mel_statistics, settings.clips, settings.crops)
    numbers = [list(range(i, min(i + settings.batch, len(rows)))) for i in range(0, len(rows), settings.batch)]
    dealt = numbers if share is None else share.deal(numbers)
    return make_loader(views, dealt, recipe.data.workers, collate)
