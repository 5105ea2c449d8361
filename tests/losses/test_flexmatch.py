from pathlib import Path

import numpy as np
import pytest
import torch

from asgmcli.losses.flexmatch import FlexibleThreshold
from tests.golden import inputs

GOLDEN = Path(__file__).parents[1] / "golden"


class SlowFlexMatch:
    """Eq. 4-6 clip by clip, with dictionaries and floats."""

    def __init__(self, clips, classes, threshold, mapping, warmup):
        self.clips, self.classes, self.threshold = clips, classes, threshold
        self.mapping, self.warmup = mapping, warmup
        self.label_of = {}

    def status(self):
        counts = [sum(label == c for label in self.label_of.values()) for c in range(self.classes)]
        largest = max(counts)
        if self.warmup:
            largest = max(largest, self.clips - len(self.label_of))
        return [count / largest if largest else 0.0 for count in counts]

    def limits(self):
        if not self.label_of and not self.warmup:
            return [self.threshold] * self.classes
        shape = (lambda x: x / (2 - x)) if self.mapping == "convex" else (lambda x: x)
        return [self.threshold * shape(x) for x in self.status()]

    def select(self, ids, probabilities):
        limits = self.limits()
        mask = [float(max(p) >= limits[p.index(max(p))]) for p in probabilities]
        for clip, p in zip(ids, probabilities, strict=True):
            if max(p) >= self.threshold:
                self.label_of[clip] = p.index(max(p))
        return mask


def stream(seed, steps, clips, batch, classes):
    """Batches with repeated ids, biased towards the first classes."""
    random = np.random.RandomState(seed)
    for _ in range(steps):
        logits = random.standard_normal((batch, classes)) * 2 + np.linspace(1, -1, classes)
        yield torch.as_tensor(random.randint(0, clips, batch)), torch.as_tensor(logits).float().softmax(dim=1)


@pytest.mark.parametrize(("kind", "warmup"), [("warm", True), ("cold", False)])
def test_equals_the_reference_implementation(kind, warmup):
    golden = np.load(GOLDEN / "flexmatch.npz")
    batches = inputs.flexmatch_stream(41)
    threshold = FlexibleThreshold(40, 5, 0.6, mapping="convex", warmup=warmup)
    for step, (ids, logits) in enumerate(batches):
        probabilities = torch.as_tensor(logits).softmax(dim=1)
        mask = threshold.select(torch.as_tensor(ids), probabilities)
        if kind == "cold" and step == 0:
            # By design: before any label is stored the threshold is τ here, 0 there.
            assert mask.tolist() == (probabilities.amax(dim=1) >= 0.6).float().tolist()
        else:
            assert mask.tolist() == golden[f"mask_{kind}"][step].tolist(), step
        np.testing.assert_allclose(threshold.status, golden[f"status_{kind}"][step], rtol=0, atol=1e-6)


@pytest.mark.parametrize("mapping", ["linear", "convex"])
@pytest.mark.parametrize("warmup", [False, True])
def test_equals_a_slow_reference(mapping, warmup):
    fast, slow = (kind(30, 4, 0.7, mapping, warmup) for kind in (FlexibleThreshold, SlowFlexMatch))
    for ids, probabilities in stream(5, 40, clips=30, batch=12, classes=4):
        assert fast.select(ids, probabilities).tolist() == slow.select(ids.tolist(), probabilities.tolist())
        np.testing.assert_allclose(fast.status, slow.status(), atol=1e-6)
        np.testing.assert_allclose(fast.thresholds(), slow.limits(), atol=1e-6)


def test_by_hand_linear():
    threshold = FlexibleThreshold(6, 3, 0.8)
    sure = torch.tensor([[0.9, 0.05, 0.05], [0.9, 0.1, 0.0], [0.1, 0.85, 0.05], [0.0, 0.3, 0.7]])
    assert threshold.thresholds().tolist() == pytest.approx([0.8, 0.8, 0.8])
    assert threshold.select(torch.tensor([0, 1, 2, 3]), sure).tolist() == [1, 1, 1, 0]
    # Two clips of class 0, one of class 1, none of class 2 (clip 3 was not confident).
    assert threshold.status.tolist() == pytest.approx([1.0, 0.5, 0.0])
    assert threshold.thresholds().tolist() == pytest.approx([0.8, 0.4, 0.0])
    # 0.45 passes for class 1, not for class 0; class 2 passes at any confidence.
    unsure = torch.tensor([[0.3, 0.45, 0.25], [0.45, 0.3, 0.25], [0.3, 0.3, 0.4]])
    assert threshold.select(torch.tensor([3, 4, 5]), unsure).tolist() == [1, 0, 1]
    assert threshold.status.tolist() == pytest.approx([1.0, 0.5, 0.0])


def test_warmup_counts_the_unlabelled_and_convex_bends():
    threshold = FlexibleThreshold(10, 2, 0.6, mapping="convex", warmup=True)
    assert threshold.thresholds().tolist() == [0, 0]
    threshold.select(torch.tensor([0, 1]), torch.tensor([[0.9, 0.1], [0.9, 0.1]]))
    # Eight clips without a label are the maximum: σ = 2 / 8, mapped to .25 / 1.75.
    assert threshold.status.tolist() == pytest.approx([0.25, 0])
    assert threshold.thresholds().tolist() == pytest.approx([0.6 * 0.25 / 1.75, 0])


def test_the_last_confident_label_of_a_repeated_clip_stays():
    threshold = FlexibleThreshold(3, 3, 0.7)
    probabilities = torch.tensor([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.2, 0.3, 0.5]])
    threshold.select(torch.tensor([2, 2, 2]), probabilities)
    assert threshold.state_dict()["labels"].tolist() == [-1, -1, 1]
    assert threshold.status.tolist() == [0, 1, 0]
    # An unsure view leaves the label, a sure one moves it.
    threshold.select(torch.tensor([2]), torch.tensor([[0.4, 0.3, 0.3]]))
    assert threshold.state_dict()["labels"].tolist() == [-1, -1, 1]
    threshold.select(torch.tensor([2]), torch.tensor([[0.0, 0.1, 0.9]]))
    assert threshold.state_dict()["labels"].tolist() == [-1, -1, 2]
    assert threshold.status.tolist() == [0, 0, 1]


def test_state_goes_on_where_it_was():
    whole, first, second = (FlexibleThreshold(30, 4, 0.7) for _ in range(3))
    batches = list(stream(6, 12, clips=30, batch=8, classes=4))
    masks = [whole.select(*batch).tolist() for batch in batches]
    for batch in batches[:6]:
        first.select(*batch)
    second.load_state_dict(first.state_dict())
    assert [second.select(*batch).tolist() for batch in batches[6:]] == masks[6:]
    assert second.status.tolist() == whole.status.tolist()


def test_refuses_a_state_of_other_size_and_ids_out_of_range():
    threshold = FlexibleThreshold(4, 2, 0.5)
    with pytest.raises(ValueError, match="5 clips"):
        threshold.load_state_dict(FlexibleThreshold(5, 2, 0.5).state_dict())
    with pytest.raises(ValueError, match="class 7"):
        threshold.load_state_dict({"labels": torch.tensor([0, 7, 1, -1])})
    for wrong in (-1, 4):
        with pytest.raises(IndexError, match=r"0\.\.3"):
            threshold.select(torch.tensor([wrong]), torch.tensor([[0.9, 0.1]]))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [((0, 2, 0.5), "clips"), ((2, 0, 0.5), "classes"), ((2, 2, 0.0), "threshold"), ((2, 2, 0.5, "log"), "mapping")],
)
def test_refuses_impossible_arguments(arguments, word):
    with pytest.raises(ValueError, match=word):
        FlexibleThreshold(*arguments)
