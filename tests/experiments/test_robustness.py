"""One head that goes wrong: known answers for every helper."""

from __future__ import annotations

import pytest
import torch

from mha_course.experiments.real_models import model, text_chunks
from mha_course.experiments.robustness import (
    damage,
    eased,
    edited,
    harmed_losses,
    reactions,
    sampled,
    with_later_heads,
    worst_share,
)
from mha_course.heads.objectives import objective

LAST = 5  # layer of MiniLM


@pytest.fixture(scope="module")
def ids() -> torch.Tensor:
    return text_chunks("minilm", size=16, count=4)[:3]


def gated(ids: torch.Tensor, gates: torch.Tensor) -> torch.Tensor:
    reader = model("minilm")
    _, _, inputs, losses = objective(reader, ids)
    with torch.no_grad():
        return losses(lambda: reader.run(inputs, gates=gates), 1)


def test_what_an_edit_writes_is_what_the_layer_goes_on_with(ids: torch.Tensor) -> None:
    reader = model("minilm")
    _, _, inputs, losses = objective(reader, ids)
    gates = torch.ones(6, 12)
    gates[2, 7] = 0.25

    def edit(layer: int, z: torch.Tensor) -> None:
        if layer == 2:
            z[:, 7] *= 0.25

    by_edit = losses(lambda: edited(reader, inputs, edit), 1)
    assert torch.allclose(by_edit, gated(ids, gates), atol=1e-5)
    assert not torch.allclose(by_edit, gated(ids, torch.ones(6, 12)), atol=1e-5)


def test_removed_is_a_gate_of_0(ids: torch.Tensor) -> None:
    found = harmed_losses(model("minilm"), ids, 3, [1, 9], "removed")
    for losses, head in zip(found, (1, 9), strict=True):
        gates = torch.ones(6, 12)
        gates[3, head] = 0
        assert torch.allclose(losses, gated(ids, gates), atol=1e-5)


def test_holding_later_heads_changes_nothing_where_there_are_none(ids: torch.Tensor) -> None:
    reader = model("minilm")
    for layer, same in ((LAST, True), (2, False)):
        free = harmed_losses(reader, ids, layer, [0, 5], "removed")
        held = harmed_losses(reader, ids, layer, [0, 5], "held")
        assert torch.allclose(free, held, atol=1e-5) == same


def test_heads_held_put_out_what_they_did_in_the_intact_model(ids: torch.Tensor) -> None:
    """With every layer but the first held, and no head harmed, nothing may change."""
    reader = model("minilm")
    _, _, inputs, losses = objective(reader, ids)
    seen: list[torch.Tensor] = []
    edited(reader, inputs, lambda _, z: seen.append(z.clone()))
    silent = reader.heads.output_matrices(1)[4]
    with torch.no_grad():
        before = silent.clone()
        silent.zero_()  # head 1.4 writes nothing, so that removing it does no harm
    try:
        intact = losses(lambda: edited(reader, inputs, lambda *_: None), 1)
        held = harmed_losses(reader, ids, 1, [4], "held")
        assert torch.allclose(held[0], intact, atol=1e-5)
    finally:
        with torch.no_grad():
            silent.copy_(before)


def test_noise_repeats_with_the_seed(ids: torch.Tensor) -> None:
    first, again, other = (
        harmed_losses(model("minilm"), ids, 3, [0, 1], "noise", seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_noise_is_as_large_as_the_output(
    ids: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ones for the noise, the head puts out more by the root of its mean square."""
    reader = model("minilm")
    _, _, inputs, losses = objective(reader, ids)

    def louder(layer: int, z: torch.Tensor) -> None:
        if layer == 3:
            z[:, 1] += z[:, 1].pow(2).mean() ** 0.5

    by_hand = losses(lambda: edited(reader, inputs, louder), 1)
    monkeypatch.setattr(torch, "randn", lambda *shape, **_: torch.ones(*shape))
    assert torch.allclose(harmed_losses(reader, ids, 3, [1], "noise")[0], by_hand, atol=1e-5)


def test_sampled_heads_are_of_the_layer_and_different() -> None:
    assert sampled(12, 12, layer=3) == list(range(12))
    drawn = [sampled(9, 2, layer) for layer in range(30)]
    assert all(len(set(heads)) == 2 and max(heads) < 9 for heads in drawn)
    assert len({tuple(heads) for heads in drawn}) > 5


LATER = {
    "heads": [[0, 1], [1, 0], [2, 2]],
    "intact": [3.0, 3.0, 3.0],
    "removed": [[0.1, 0.1, 0.1], [0.6, 0.7, 0.8], [9.0, 9.0, 9.0]],
    "held": [[0.3, 0.31, 0.32], [0.2, 0.3, 0.4], [9.0, 9.0, 9.0]],
}


def test_what_later_heads_make_up_for_leaves_the_last_layer_out() -> None:
    assert with_later_heads(LATER) == [0, 1]
    assert eased(LATER).mean == pytest.approx((0.21 - 0.4) / 2)
    assert eased(LATER).low < eased(LATER).mean < eased(LATER).high


def test_reactions_are_counted_by_their_sign() -> None:
    assert reactions(LATER) == (1, 1)
    unsure = {**LATER, "held": [[0.0, 0.2, 0.1], [0.0, 0.2, 1.9], [9.0, 9.0, 9.0]]}
    assert reactions(unsure) == (0, 0)


def test_damage_is_a_share_of_what_there_is_to_lose() -> None:
    found = {
        "chance": 5.0,
        "intact": [2.0, 4.0],  # mean 3, so 2 nats to lose
        "removed": [[0.0, 0.0], [0.01, 0.01], [0.5, 1.5], [-0.2, 0.2]],
    }
    of = damage(found, "removed")
    assert of.worst == pytest.approx(0.5)
    assert of.median == pytest.approx(0.0025)
    assert (of.little, of.critical) == (0.75, 0.25)


def test_worst_share() -> None:
    tiny = {"removed": [0.1, 0.3, -0.1], "guessing": 1.6, "intact": 0.1}
    assert worst_share(tiny) == pytest.approx(0.2)
