"""What a drawn clip holds, for the tests of casts."""

from __future__ import annotations

from asgmcli.synthetic.things import Clip, Thing


def seen(clip: Clip) -> list[Thing]:
    return [thing for thing in clip.things if thing.visible]


def source(clip: Clip) -> Thing:
    (number,) = clip.sources()
    return clip.things[number]
