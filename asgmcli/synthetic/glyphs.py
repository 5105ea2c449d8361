"""Stills of stickers to practise on: other glyphs than the generated world's, on its grounds, drawn on the fly.

A small network has no ImageNet weights to start from; telling which glyph is where is its stand-in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from asgmcli.synthetic.backgrounds import draw_background, render_background
from asgmcli.synthetic.motions import Pose
from asgmcli.synthetic.sprites import paint
from asgmcli.synthetic.stickers import cut_sticker, draw_colours

SYMBOLS = (
    "☀☁★☇☈☉☊☌☕☗☘☚☜☡☢☣☤☥☦☧☨☩☪☫☬☭☮☯☸☼☽☿♀♂♃♄♅♆♇♈♉♊♋♌♍♎♏♐♑♒♓♔♕♖♗♙♚♛♜♝♠♧♨♯♰♲♳♻♼♾♿⚆⚐⚑⚒⚔⚕⚖⚗⚘⚚⚛⚜⚟⚠⚡⚢⚣⚧⚭⚰⚱⚳⚵⚷⛁⛃"
    "✁✂✇✉✌✍✎✑✓✗✙✚✛✝✞✟✠✡✢✥✦✧✫✭✯✱✲✳✵✶✸✹✺✽✾✿❀❁❄❆❉❋❙❛❝❡❭➘➝➟➢➤➧➩➯➳➸➻⬖⬙⬠⬡"
)
ALPHABETS = (
    "ΔΘΞΣΦΨΩ"
    "ДЖИЛЩЪЮЯ"
    "ԱԳԶԹԽԾՁՃՋՖ"
    "აბგდვზთკლმნპჟ"
    "אבטלמעצש"
    "ກຂຄຈຍດຖທ"
)  # fmt: skip
GLYPHS = tuple(np.random.default_rng(0).permutation(list(SYMBOLS + ALPHABETS)).tolist())
"""In a fixed order. None is a kind of the world, nor the same thing drawn otherwise."""
MOST = 3
"""Stickers in a still."""
DIAMETER = (0.31, 0.47)  # of a sticker, frame sides: the world's in a view cropped from an eighth more
EDGE = 0.12  # frame sides that a sticker's centre stays away from the edges
STRETCH, TURN = 0.25, 0.5  # how much a motion may stretch a sticker and turn it, radians
APART = 0.8  # sums of radii between two centres, where a few draws find such places
DRAWS = 8
GROUNDS = 500
"""Grounds drawn once; a still shows one of them turned and mirrored."""


@dataclass(frozen=True)
class Still:
    """A picture and what is where.

    `frame` uint8 [s, s, 3]; `glyphs` int64 [A], the number of each sticker's glyph, -1 where there are fewer than A = 3
    of them, the nearest last; `places` float32 [A, 3], centre x, y and radius in frame sides, NaN where there is none.
    """

    frame: np.ndarray
    glyphs: np.ndarray
    places: np.ndarray


def draw_still(rng: np.random.Generator, glyphs: int, size: int) -> Still:
    """Draw one to three stickers of different ones of the first `glyphs` of GLYPHS on a ground of `size` pixels."""
    count = int(rng.integers(1, MOST + 1))
    chosen, places = np.full(MOST, -1), np.full((MOST, 3), np.nan, np.float32)
    chosen[:count] = rng.choice(glyphs, count, replace=False)
    canvas = _ground(rng, size)
    for number in range(count):
        radius = rng.uniform(*DIAMETER) / 2
        x, y = _home(rng, radius, places[:number])
        wide, high = 1 + rng.uniform(-STRETCH, STRETCH, 2) * rng.random()
        pose = Pose(*(np.array([part]) for part in (x, y, wide, high, rng.uniform(-TURN, TURN))))
        paint(canvas, cut_sticker(GLYPHS[chosen[number]], pose, radius, size), draw_colours(rng))
        places[number] = x, y, radius
    frame = (np.clip(canvas[0], 0, 1) * 255 + 0.5).astype(np.uint8)
    return Still(frame, chosen, places)


def _home(rng: np.random.Generator, radius: float, others: np.ndarray) -> tuple[float, float]:
    """Return a centre, away from the `others` [n, 3] where one is soon found."""
    for _ in range(DRAWS):
        x, y = rng.uniform(EDGE, 1 - EDGE, 2)
        if bool((np.hypot(others[:, 0] - x, others[:, 1] - y) > APART * (others[:, 2] + radius)).all()):
            break
    return float(x), float(y)


def _ground(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return one of the grounds, turned, mirrored and with its colours exchanged: float32 [1, s, s, 3]."""
    drawn = _grounds(size)[int(rng.integers(GROUNDS))]
    turned = np.rot90(drawn, int(rng.integers(4)))
    mirrored = turned[:, ::-1] if rng.random() < 0.5 else turned
    return np.ascontiguousarray(mirrored[None, ..., rng.permutation(3)])


@lru_cache(maxsize=2)
def _grounds(size: int) -> np.ndarray:
    """Return GROUNDS grounds, float32 [n, s, s, 3]."""
    rng = np.random.default_rng(0)
    return np.concatenate([render_background(draw_background(rng, (0, 0)), np.zeros(1), size) for _ in range(GROUNDS)])
