"""The pieces of synthetic tasks, against what they promise."""

from __future__ import annotations

import math

import pytest
import torch

import surgery
from surgery import synthetic
from surgery.errors import DataError


def test_embeddings_are_orthonormal_and_the_same_for_the_same_seed() -> None:
    found = synthetic.class_embeddings(10, 64, seed=3)
    torch.testing.assert_close(found @ found.T, torch.eye(10))
    assert torch.equal(found, synthetic.class_embeddings(10, 64, seed=3))
    assert not torch.equal(found, synthetic.class_embeddings(10, 64, seed=4))
    with pytest.raises(DataError, match="classes <= size"):
        synthetic.class_embeddings(9, 8)


def test_embeddings_are_drawn_uniformly_not_by_the_algorithms_signs() -> None:
    first = [float(synthetic.class_embeddings(1, 4, seed=s)[0, 0]) for s in range(400)]
    assert abs(sum(first) / 400) < 4 * 0.5 / 20


def test_sequences_have_segments_of_changing_classes_and_their_lengths() -> None:
    embeddings = synthetic.class_embeddings(5, 16)
    data = synthetic.noisy_sequences(embeddings, 50, noise=0.0, seed=1)
    lengths = [len(classes) for classes in data.classes]
    assert min(lengths) >= 16 and max(lengths) <= 40 and len(set(lengths)) > 5
    for index, (frames, classes) in enumerate(
        zip(data.frames, data.classes, strict=True)
    ):
        assert torch.equal(frames, embeddings[classes])  # without noise
        begin = data.boundaries(index).nonzero()[:, 0]
        runs = begin.diff()
        assert begin[0] == 0 and bool(((runs >= 3) & (runs <= 8)).all())


def test_the_noise_knob_scales_the_same_draws_and_seeds_change_them() -> None:
    embeddings = synthetic.class_embeddings(5, 16)
    clean = synthetic.noisy_sequences(embeddings, 20, noise=0.0, seed=1)
    one = synthetic.noisy_sequences(embeddings, 20, noise=1.0, seed=1)
    two = synthetic.noisy_sequences(embeddings, 20, noise=2.0, seed=1)
    other = synthetic.noisy_sequences(embeddings, 20, noise=1.0, seed=2)
    for a, b, c in zip(clean.frames, one.frames, two.frames, strict=True):
        torch.testing.assert_close(c - a, 2 * (b - a))
    drawn = torch.cat([b - a for a, b in zip(clean.frames, one.frames, strict=True)])
    assert float(drawn.square().sum(1).mean()) == pytest.approx(1.0, abs=0.1)
    assert not torch.equal(one.frames[0], other.frames[0])


def test_frames_may_show_one_of_several_exemplars() -> None:
    exemplars = [
        torch.full((3, 2), float(c)) + torch.arange(3.0)[:, None] / 10 for c in range(2)
    ]
    data = synthetic.noisy_sequences(exemplars, 5, noise=0.0)
    shown = torch.cat(data.frames)
    assert len(shown.unique(dim=0)) == 6


def test_batches_are_padded_and_masked() -> None:
    embeddings = synthetic.class_embeddings(3, 4)
    data = synthetic.noisy_sequences(embeddings, 7, noise=0.5)
    found = list(synthetic.batches(data, 3))
    assert [len(batch.mask) for batch in found] == [3, 3, 1]
    for start, batch in zip((0, 3, 6), found, strict=True):
        for row in range(len(batch.mask)):
            frames = data.frames[start + row]
            assert int(batch.mask[row].sum()) == len(frames)
            assert torch.equal(batch.frames[row][: len(frames)], frames)
            assert not batch.frames[row][len(frames) :].any()
            truth = data.boundaries(start + row)
            assert torch.equal(batch.boundaries[row][: len(frames)], truth)


def test_what_the_heads_say_does_not_depend_on_padding() -> None:
    embeddings = synthetic.class_embeddings(3, 4)
    data = synthetic.noisy_sequences(embeddings, 4, noise=0.5)
    model = synthetic.TwoHeads(4, 3)
    (together,) = synthetic.batches(data, 4)
    classes, boundaries = model(together.frames, together.mask)
    for index, batch in enumerate(synthetic.batches(data, 1)):
        own, begins = model(batch.frames, batch.mask)
        n = own.shape[1]
        torch.testing.assert_close(classes[index, :n], own[0])
        torch.testing.assert_close(boundaries[index, :n], begins[0])


def test_the_heads_share_nothing() -> None:
    model = synthetic.TwoHeads(4, 3)
    frames, mask = torch.randn(2, 9, 4), torch.ones(2, 9, dtype=torch.bool)
    model(frames, mask)[0].sum().backward()
    assert all(p.grad is None for p in model.boundaries.parameters())
    assert all(p.grad is not None for p in model.classes.parameters())
    with surgery.ablate(model, "classes"):
        assert not model(frames, mask)[0].any()
        assert model(frames, mask)[1].any()


def tensors(*rows: list[int]) -> list[torch.Tensor]:
    return [torch.tensor(row) for row in rows]


def test_segment_scores_by_hand() -> None:
    truth = tensors([0, 0, 0, 1, 1, 1], [2, 2, 2, 2])
    assert synthetic.segment_scores(truth, truth) == {
        "frames": 1.0,
        "edit": 1.0,
        "segment_f1": 1.0,
    }
    # A stray segment of one frame: 3 segments told, 2 of them overlap enough.
    told = tensors([0, 2, 0, 1, 1, 1], [2, 2, 2, 2])
    found = synthetic.segment_scores(told, truth)
    assert found["frames"] == 0.9
    assert found["edit"] == pytest.approx((1 - 2 / 4 + 1) / 2)
    # Segments told: 0 2 0 1 | 2; true: 0 1 | 2; neither piece of 0 overlaps by half.
    assert found["segment_f1"] == pytest.approx(2 * 2 / (5 + 3))


def test_boundary_scores_by_hand() -> None:
    def marks(*places: int) -> torch.Tensor:
        return torch.tensor([place in places for place in range(10)])

    truth = [marks(0, 4, 8)]
    assert synthetic.boundary_scores(truth, truth) == {
        "boundary_f1": 1.0,
        "segments": 1.0,
    }
    off = synthetic.boundary_scores([marks(0, 4, 7)], truth)
    assert off == {"boundary_f1": 0.5, "segments": 1.0}
    near = synthetic.boundary_scores([marks(0, 4, 7)], truth, tolerance=1)
    assert near["boundary_f1"] == 1.0
    many = synthetic.boundary_scores([marks(4, 5, 6, 8)], truth)
    assert many["boundary_f1"] == pytest.approx(2 * 2 / 6)
    assert many["segments"] == pytest.approx(1 - 2 / 3)


def test_scores_of_other_sequences_are_refused() -> None:
    with pytest.raises(DataError, match="same sequences"):
        synthetic.segment_scores(tensors([0, 1]), tensors([0]))
    with pytest.raises(DataError, match="same sequences"):
        synthetic.boundary_scores([], [])


def test_the_breaking_point_lies_between_levels() -> None:
    assert synthetic.breaking_point([1, 2, 3], [1.0, 0.9, 0.5], 0.7) == 2.5
    assert synthetic.breaking_point([1, 2], [0.5, 0.9], 0.7) == 1.0
    assert synthetic.breaking_point([1, 2], [0.8, 0.9], 0.7) == math.inf
    with pytest.raises(DataError, match="ascending"):
        synthetic.breaking_point([2, 1], [1, 1], 0.5)
