"""Watches for silent failures of semi-supervised recognition, and the recipe keys that mend them."""

from __future__ import annotations

from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.train.health import AtChance, Phase, Watch, ZeroTerm


def training_watches(recipe: RecognitionRecipe, chance: float, steps: int, supervised: int) -> list[Watch]:
    """Return the watches of a run.

    Args:
        recipe: of the run.
        chance: share of the most frequent class among the labelled clips, what guessing gets.
        steps: of the run.
        supervised: steps of its supervised epochs; 0 where the run is supervised throughout.
    """
    phases = [Phase("the supervised epochs", 0, supervised)] if 0 < supervised < steps else []
    watches: list[Watch] = [
        AtChance(
            "labeled_accuracy",
            recipe.train.batch,
            chance,
            [*phases, Phase("the run", 0, steps)],
            "On the labelled clips that it trains on, the network is no better than guessing at the end of {phase}: "
            "{percent:.1f}% of {answers} right in steps {first} to {last}, guessing gets {chance:.1f}%. Look at the "
            f"labels, or try {_learning(recipe, bool(phases))}.",
        )
    ]
    if recipe.semi_supervised and supervised < steps:
        watches.append(
            ZeroTerm(
                "pseudo_share",
                steps - supervised,
                "No pseudo-label passed the threshold in {zeros} of {seen} semi-supervised steps, {row} of them in a "
                "row (steps {first} to {last}): the unlabelled clips taught nothing there. The teacher's mean "
                f"confidence was {{beside:.2f}}. Try {_passing(recipe)}.",
                beside="pseudo_confidence",
            )
        )
    return watches


def _passing(recipe: RecognitionRecipe) -> str:
    """Return advice that makes pseudo-labels pass: a lower threshold, an adaptive one, or a better teacher."""
    settings, train = recipe.thresholds, recipe.train
    ways = [f"a lower thresholds.value (now {settings.value:g})"]
    if settings.kind == "fixed":
        ways.append("thresholds.kind=flexible with thresholds.warmup=true (now fixed)")
    elif not settings.warmup:
        ways.append("thresholds.warmup=true (now false)")
    ways.append(f"more train.supervised_epochs (now {train.supervised_epochs}, of {train.epochs} train.epochs)")
    return ", ".join(ways[:-1]) + f", or {ways[-1]}"


def _learning(recipe: RecognitionRecipe, supervised_first: bool) -> str:
    """Return advice that makes a network learn its labels: another learning rate, more steps, a start."""
    train = recipe.train
    ways = [f"another train.optimizer.lr (now {train.optimizer.lr:g})"]
    if supervised_first:
        ways.append(f"more train.supervised_epochs (now {train.supervised_epochs})")
    ways.append(f"more train.epochs (now {train.epochs})")
    senses = {"video": (recipe.sees, recipe.model.video.init), "audio": (recipe.listens, recipe.model.audio.init)}
    starts = {name: start for name, (used, start) in senses.items() if used}
    ways += [f"a trained start, model.{name}.init (now none)" for name, start in starts.items() if start is None]
    return ", ".join(ways[:-1]) + f", or {ways[-1]}"
