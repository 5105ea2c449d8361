"""What a pretext asks of its network, and how many answers there are."""

from __future__ import annotations

from asgmcli.recipe.pretext import PretextRecipe
from asgmcli.synthetic.pretext import ENVELOPES, MOTIONS, SHAPES, TIMBRES


def asked_of_sight(recipe: PretextRecipe) -> dict[str, int]:
    """Return what is to be seen: shapes and motions, or the glyphs of stills, which count as shapes."""
    if not recipe.model.sees:
        return {}
    glyphs = recipe.generated.glyphs
    return {"shapes": len(SHAPES), "motions": len(MOTIONS)} if glyphs is None else {"shapes": glyphs}


def asked_of_hearing(recipe: PretextRecipe) -> dict[str, int]:
    """Return what is to be heard."""
    return {"timbre": len(TIMBRES), "envelope": len(ENVELOPES)} if recipe.model.listens else {}
