"""Generated clips: their scenes, sounds and files.

Each module in `GENERATED` makes a data set. It holds `TITLE` (one line for the help), `OPTIONS` (click options whose
names are arguments of `generate`), `folder(options)` (the data set's folder in data/, by the options given),
`size(options)` and `generate(out, *, seed, workers, progress, overwrite, **options)`; `MARK`, where it has one, are
settings without which a folder's clips are those of an earlier version.
"""

from __future__ import annotations

import importlib
from types import ModuleType

GENERATED = {
    "demo": "asgmcli.synthetic.demo",
    "demo_events": "asgmcli.synthetic.demo_events",
    "demo_parsing": "asgmcli.synthetic.demo_parsing",
    "demo_segmentation": "asgmcli.synthetic.demo_segmentation",
}


def generator_of(name: str) -> ModuleType:
    """Return the module that makes the generated data set `name`."""
    return importlib.import_module(GENERATED[name])
