"""A small transformer that has to look back, and what becomes of its heads.

Each sequence says a few different tokens in random order, again and again:

    3 7 1 5 | 3 7 1 5 | 3 7 …

From the second time on the next token is certain: it is what followed the last time. How many
tokens there are before they repeat is drawn for each sequence, so that looking back a fixed
number of tokens does not help. Two heads in a row do: one that looks at the token before, and one
that looks for what followed, an induction head (Olsson et al. 2022). What is learned is no more
than that takes: the first of them looks one back only where tokens are said for the first time,
since that is where the second one looks. The model has attention and nothing else, and takes
seconds to train.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mha_course import _checks
from mha_course.experiments.ensemble import one_thread
from mha_course.heads.random_gates import HardConcrete, HeadDropout
from mha_course.heads.removal import heads_left, remove_heads
from mha_course.multi_head import MultiHeadAttention

VOCABULARY = 12
NUM_TOKENS = 23
SHORTEST, LONGEST = 4, 8  # tokens before they repeat
BATCH_SIZE = 32
LEARNING_RATE = 3e-3  # for a new model
LEARNING_RATE_ON = 1e-3  # for a trained one that learns its gates
LEARNING_RATE_GATES = 0.1  # log α has a long way to go: from 2.5 to below −2.5

Gates = Float[Tensor, "layers h"] | Float[Tensor, "B layers h"]
"""One factor per head; with a batch axis, each sequence has its own."""

OnStep = Callable[[int, float], None]
"""Called after each step of training with the number of steps done, and the loss before it."""


# ------------------------------------------------------------------------------------- task


def draw(batch_size: int, generator: torch.Generator) -> Int[Tensor, "B T"]:
    """Sequences of tokens that repeat after 4 to 8 tokens, all of them different.

    Raises:
        ValueError: `batch_size` is below 1.
        TypeError: `batch_size` is not an int.

    >>> draw(2, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 23])
    """
    _checks.positive_int("batch_size", batch_size)
    order = torch.rand(batch_size, VOCABULARY, generator=generator).argsort(-1)
    period = torch.randint(SHORTEST, LONGEST + 1, (batch_size, 1), generator=generator)
    return order.gather(1, torch.arange(NUM_TOKENS) % period)


def next_is_certain(ids: Int[Tensor, "B T"]) -> Bool[Tensor, "B T-1"]:
    """For each token but the last: was it there before, so that the next one is known?

    >>> next_is_certain(torch.tensor([[5, 3, 5, 3]]))
    tensor([[False, False,  True]])
    """
    same = ids[:, :, None] == ids[:, None, :]  # [B, T, T]
    return same.tril(-1).any(-1)[:, :-1]


def guessing(ids: Int[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """Loss of the trivial baseline, which guesses among the other tokens of the sequence.

    With n different tokens in the sequence that is log(n − 1).

    >>> guessing(torch.tensor([[5, 3, 8, 5, 3]]))
    tensor([0.6931])
    """
    return torch.stack([torch.tensor(len(row.unique()) - 1.0).log() for row in ids])


# ------------------------------------------------------------------------------------ model


class Layer(nn.Module):
    """Attention whose output is added to what came in: x + attention(norm(x))."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.attention = MultiHeadAttention(d_model, num_heads)

    def forward(
        self, x: Float[Tensor, "B T d_model"], head_gates: Float[Tensor, "*gates h"] | None
    ) -> Float[Tensor, "B T d_model"]:
        """Let each token take from those before it."""
        mixed: Tensor = self.attention(self.norm(x), is_causal=True, head_gates=head_gates)
        return x + mixed

    def weights(self, x: Float[Tensor, "B T d_model"]) -> Float[Tensor, "B h T T"]:
        """Attention weights of every head."""
        weights: Tensor
        _, weights = self.attention(self.norm(x), is_causal=True, return_weights=True)
        return weights


class TinyTransformer(nn.Module):
    """A decoder of attention layers alone. Layers and heads count from 0.

    Args:
        num_layers: Layers.
        num_heads: Heads in each layer, h.
        d_model: Width.
        seed: The weights are drawn from it.

    Raises:
        ValueError: a size is below 1, or `num_heads` does not divide `d_model`.
        TypeError: a size is not an int.

    >>> model = TinyTransformer()
    >>> ids = draw(5, torch.Generator().manual_seed(0))
    >>> model(ids).shape
    torch.Size([5, 23, 12])
    >>> model.losses(ids, gates=torch.ones(2, 4)).shape
    torch.Size([5])
    """

    def __init__(
        self, num_layers: int = 2, num_heads: int = 4, d_model: int = 32, *, seed: int = 0
    ) -> None:
        super().__init__()
        _checks.positive_int("num_layers", num_layers)
        self.num_layers, self.num_heads = num_layers, num_heads
        with torch.random.fork_rng(devices=[]):  # leave the caller's random numbers alone
            torch.manual_seed(seed)
            self.layers = nn.ModuleList(Layer(d_model, num_heads) for _ in range(num_layers))
            self.tokens = nn.Embedding(VOCABULARY, d_model)
            self.positions = nn.Embedding(NUM_TOKENS, d_model)
            self.norm = nn.LayerNorm(d_model)
            self.to_logits = nn.Linear(d_model, VOCABULARY)

    def forward(
        self, ids: Int[Tensor, "B T"], gates: Gates | None = None
    ) -> Float[Tensor, "B T vocabulary"]:
        """Scores for the token after each token.

        Args:
            ids: Tokens.
            gates: Factor for the output of each head, before W_O. A head that was removed keeps
                its place in them, where any number may stand.

        Raises:
            ValueError: too many tokens, or gates of another shape.
        """
        self._check(ids, gates)
        x = self._embed(ids)
        for number, layer in enumerate(self._layers()):
            left = list(heads_left(layer.attention))
            x = layer(x, None if gates is None else gates[..., number, left])
        logits: Tensor = self.to_logits(self.norm(x))
        return logits

    def losses(self, ids: Int[Tensor, "B T"], gates: Gates | None = None) -> Float[Tensor, " B"]:
        """Loss for the next token, as the mean over those tokens of a sequence that are certain.

        Arguments are those of `forward`.

        Raises:
            ValueError: as for `forward`, or nothing is certain in a sequence.
        """
        self._check(ids, gates)
        counts = next_is_certain(ids)
        number = counts.sum(-1)
        if not number.all():
            raise ValueError(
                f"ids, shape {list(ids.shape)}, have a sequence in which no token is certain; "
                "each must go on after a token that it had before, see draw"
            )
        log_shares = self(ids[:, :-1], gates).log_softmax(-1)  # [B, T-1, vocabulary]
        of_next = log_shares.gather(-1, ids[:, 1:, None]).squeeze(-1)
        losses: Tensor = -(of_next * counts).sum(-1) / number
        return losses

    def weights(self, ids: Int[Tensor, "B T"]) -> list[Float[Tensor, "B h T T"]]:
        """Attention weights of the heads that are left, layer by layer.

        Raises:
            ValueError: too many tokens.
        """
        self._check(ids, None)
        x, weights = self._embed(ids), []
        for layer in self._layers():
            weights.append(layer.weights(x))
            x = layer(x, None)
        return weights

    def without(self, heads: Iterable[tuple[int, int]]) -> TinyTransformer:
        """Return a copy in which these heads, given as (layer, head), are removed for real.

        Raises:
            ValueError: there is no such layer or head, or the head was removed before.
            TypeError: a number is not an int.
        """
        by_layer: dict[int, list[int]] = {}
        for number, head in heads:
            _checks.at_least_0("layer", number)
            if number >= self.num_layers:
                raise ValueError(f"layer={number} must be below num_layers={self.num_layers}")
            by_layer.setdefault(number, []).append(head)
        smaller = deepcopy(self)
        for number, layer in enumerate(smaller._layers()):
            layer.attention = remove_heads(layer.attention, by_layer.get(number, []))
        return smaller

    def _embed(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        return embedded

    def _layers(self) -> Iterator[Layer]:
        for layer in self.layers:
            assert isinstance(layer, Layer)  # a ModuleList does not say what it holds
            yield layer

    def _check(self, ids: Tensor, gates: Tensor | None) -> None:
        _checks.rank("ids", ids, ("B", "T"))
        if ids.shape[1] > NUM_TOKENS:
            raise ValueError(
                f"ids have {ids.shape[1]} tokens, shape {list(ids.shape)}; "
                f"there are positions for T={NUM_TOKENS}"
            )
        if gates is None:
            return
        of_all = [self.num_layers, self.num_heads]
        if list(gates.shape) not in (of_all, [ids.shape[0], *of_all]):
            raise ValueError(
                f"gates have shape {list(gates.shape)}; expected [layers, h] = {of_all}, or "
                f"[B, layers, h] = {[ids.shape[0], *of_all]} to gate each sequence on its own"
            )


# --------------------------------------------------------------------------------- training


def fit(
    model: TinyTransformer,
    *,
    steps: int = 400,
    head_dropout: float = 0.0,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> list[float]:
    """Train the model in place with Adam, on fresh sequences at every step.

    Interrupted, by Ctrl-C or by `on_step`, it leaves the model as the last step made it.

    Args:
        model: Model to train.
        steps: Number of steps.
        head_dropout: Probability that a head is dropped, see `HeadDropout`.
        seed: Sequences and dropped heads are drawn from it.
        on_step: Called after each step, to show progress or to look at the model.

    Returns:
        The loss at every step.

    Raises:
        ValueError: `steps` is below 1, or `head_dropout` is not from 0 up to 1.
        TypeError: `steps` is not an int, or `head_dropout` is not a number.
    """
    gates = HeadDropout(head_dropout, model.num_layers, model.num_heads)
    adam = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    return _minimise(adam, model, gates, lambda: torch.tensor(0.0), steps, seed, on_step)


class Learned(NamedTuple):
    """A model that was trained on together with gates for its heads.

    Attributes:
        model: The model, with all heads still there: `model.without(gates.closed())` removes them.
        gates: The gates, in evaluation mode.
    """

    model: TinyTransformer
    gates: HardConcrete


def learn_gates(
    model: TinyTransformer,
    penalty: float,
    *,
    steps: int = 300,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Learned:
    """Train a copy of the model on, and learn which heads it can do without: Voita et al. 2019.

    What is minimised is the loss plus `penalty` times the number of open gates to be expected. The
    model itself is left as it is.

    Args:
        model: A trained model.
        penalty: What an open head costs, in units of the loss.
        steps: Number of steps.
        seed: Sequences and gates are drawn from it.
        on_step: Called after each step, to show progress.

    Raises:
        ValueError: `penalty` is below 0, or `steps` is below 1.
        TypeError: `steps` is not an int.
    """
    if not penalty >= 0:
        raise ValueError(f"penalty={penalty} must be at least 0: it is what an open head costs")
    model = deepcopy(model)
    gates = HardConcrete(model.num_layers, model.num_heads)
    adam = torch.optim.Adam(
        [
            {"params": model.parameters(), "lr": LEARNING_RATE_ON},
            {"params": gates.parameters(), "lr": LEARNING_RATE_GATES},
        ]
    )
    _minimise(adam, model, gates, lambda: penalty * gates.penalty(), steps, seed, on_step)
    return Learned(model, gates.eval())


def _minimise(
    adam: torch.optim.Adam,
    model: TinyTransformer,
    gates: HeadDropout | HardConcrete,
    cost_of_heads: Callable[[], Tensor],
    steps: int,
    seed: int,
    on_step: OnStep | None,
) -> list[float]:
    """Return the loss of each step, without the cost of heads; a cosine takes the rates to zero."""
    _checks.positive_int("steps", steps)
    generator = torch.Generator().manual_seed(seed)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    history = []
    with one_thread():
        for step in range(1, steps + 1):
            ids = draw(BATCH_SIZE, generator)
            loss = model.losses(ids, gates(BATCH_SIZE, generator=generator)).mean()
            adam.zero_grad()
            (loss + cost_of_heads()).backward()  # type: ignore[no-untyped-call]
            adam.step()
            schedule.step()
            history.append(loss.item())
            if on_step is not None:
                on_step(step, history[-1])
    return history
