"""The flow branch against the released ones."""

from __future__ import annotations

import pytest

from asgmcli.nn.flow_encoder import FlowEncoder
from tests.avs_golden import TOLERANCE, array, golden, spread, weights

SIZES = [(20, 16), (10, 8), (5, 4), (3, 2)]


@pytest.mark.long
@pytest.mark.parametrize(("kind", "name"), [("stem", "tpavi_r50"), ("pyramid", "tpavi_pvt")])
def test_it_equals_the_released_branch(kind: str, name: str) -> None:
    net = FlowEncoder(kind).eval()  # type: ignore[arg-type]
    own = net.state_dict()
    state = {key: value for key, value in weights(name, 11).items() if key in own}
    assert {key for key in own if not key.endswith("num_batches_tracked")} == state.keys()
    net.load_state_dict(state, strict=False)
    found = net(array(15, 2, 2, 80, 64) * 0.2 + 0.5, SIZES)
    for number, x in enumerate(found):
        assert spread(x[:, ::16], golden("flow_branch")[f"{kind}{number + 1}"]) < TOLERANCE
