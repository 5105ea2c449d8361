"""One module a data set: how its folders and lists become manifest rows.

Each module in `DATASETS` holds `TITLE` (one line for the help), `ROOT_HELP` (what is expected under --root, how large
it is, where its owners publish it), `MISSING_IS_BAD` (whether a listed clip that is not on disk counts as a fault),
`OPTIONS` (click options of its own) and `find(root, options) -> Listing`; `finish(job, summary, say)` makes what comes
after the manifest, if there is such; where lists tell how many clips there are,
`SIZE` too. Sets that are generated: `asgmcli.synthetic`.
"""

from __future__ import annotations

from types import ModuleType

from asgmcli.prepare.datasets import (
    ave,
    avsbench_ms3,
    avsbench_s4,
    events,
    flickr_soundnet,
    folder,
    kinetics400,
    llp,
    parsing,
    segmentation,
    ucf51,
    vggsound,
    vggss,
)

DATASETS: dict[str, ModuleType] = {
    "folder": folder,
    "ucf51": ucf51,
    "kinetics400": kinetics400,
    "vggsound": vggsound,
    "flickr_soundnet": flickr_soundnet,
    "vggss": vggss,
    "llp": llp,
    "parsing": parsing,
    "avsbench_s4": avsbench_s4,
    "avsbench_ms3": avsbench_ms3,
    "segmentation": segmentation,
    "ave": ave,
    "events": events,
}
