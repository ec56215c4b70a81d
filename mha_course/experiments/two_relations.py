"""Can one head return two things at once, in order?

Every token must return the pair (content of the token before it, content of the first token).
The theory in chapter 1 says: as long as the readout is linear and the values carry D numbers of
content, one head explains at most half of the pair's variance, and two heads explain all of it,
with the same number of parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mha_course.counting import count_parameters
from mha_course.experiments.ensemble import Batch, Ensemble
from mha_course.experiments.intervals import mean_interval
from mha_course.experiments.result import Data, Finding
from mha_course.experiments.run import Run
from mha_course.multi_head import MultiHeadAttention

QUESTION = "Can one head return two things at once, in order?"
CLAIMS = ("C01", "C07", "C12", "C13")
SEEDS, QUICK_SEEDS = 20, 3

Content = Literal["bits", "gaussian"]
Sees = Literal["position", "everything"]
Readout = Literal["linear", "mlp"]

NUM_TOKENS = 8
CONTENT_WIDTH = 8  # D
D_MODEL = CONTENT_WIDTH + NUM_TOKENS  # content beside a one-hot position
assert D_MODEL == 2 * CONTENT_WIDTH, "the output is the pair, 2·D numbers wide"
FIRST_QUERY = 2  # the tokens before it have no previous token other than the first
CEILING_ONE_HEAD = 0.5  # share of the pair's variance: the bound proved in chapter 1
HIDDEN = 128  # width of the MLP readout


class Setting(NamedTuple):
    """One model to train.

    Args:
        num_heads: Heads that share d_model.
        content: Numbers that a token carries: random signs, or Gaussian.
        sees: What queries, keys and values are made from. "position": queries and keys see only
            positions, values see only content, so the weights cannot depend on the content.
            "everything": all three see both.
        readout: W_O alone, or W_O followed by an MLP.
    """

    num_heads: int
    content: Content = "bits"
    sees: Sees = "position"
    readout: Readout = "linear"


class PairReader(nn.Module):
    """Multi-head attention that is trained to return (previous, first)."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.sees = setting.sees
        self.attention = MultiHeadAttention(D_MODEL, setting.num_heads, bias=False)
        self.readout: nn.Module = nn.Identity()
        if setting.readout == "mlp":
            self.readout = nn.Sequential(
                nn.Linear(D_MODEL, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, D_MODEL)
            )

    def forward(self, content: Float[Tensor, "B T D"]) -> Float[Tensor, "B T-2 2*D"]:
        """Return the pair for every query from FIRST_QUERY on."""
        output: Tensor = self.attention(*self._inputs(content), is_causal=True)
        pair: Tensor = self.readout(output[:, FIRST_QUERY:])
        return pair

    def weights(self, content: Float[Tensor, "B T D"]) -> Float[Tensor, "B h T T"]:
        """Attention weights of every head."""
        query, key, value = self._inputs(content)
        weights: Tensor
        _, weights = self.attention(query, key, value, is_causal=True, return_weights=True)
        return weights

    def _inputs(self, content: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, tokens, _ = content.shape
        position = torch.eye(tokens, dtype=content.dtype).expand(batch, -1, -1)
        both = torch.cat([content, position], dim=-1)  # [B, T, d_model]
        if self.sees == "everything":
            return both, both, both
        only_position = torch.cat([torch.zeros_like(content), position], dim=-1)
        only_content = torch.cat([content, torch.zeros_like(position)], dim=-1)
        return only_position, only_position, only_content


def draw(
    content: Content, generators: Sequence[torch.Generator], batch_size: int
) -> tuple[Batch, Float[Tensor, "seeds B T-2 2*D"]]:
    """Random content, and the pair that each token must return; one batch per generator."""
    shape = (batch_size, NUM_TOKENS, CONTENT_WIDTH)
    x = torch.stack([torch.randn(shape, generator=g) for g in generators])
    if content == "bits":
        x = x.sign()  # each number −1 or +1: mean 0 and variance 1, as for "gaussian"
    previous = x[:, :, FIRST_QUERY - 1 : -1]
    first = x[:, :, :1].expand_as(previous)
    return (x,), torch.cat([previous, first], dim=-1)


class Result(NamedTuple):
    """What training one setting from several seeds gave."""

    setting: Setting
    parameters_in_attention: int
    explained: list[float]
    """Share of the pair's variance explained on fresh data, one per seed (0 = guess the mean)."""
    weights: Float[Tensor, "seeds h T T"]
    """Attention weights, as the mean over fresh inputs."""


def train(
    setting: Setting,
    *,
    seeds: Sequence[int],
    steps: int = 400,
    batch_size: int = 32,
    learning_rate: float = 0.03,
) -> Result:
    """Train `setting` once per seed, and test on data that it has not seen."""

    def make_model() -> nn.Module:
        return PairReader(setting)

    ensemble = Ensemble(make_model, seeds)
    ensemble.fit(
        lambda generators: draw(setting.content, generators, batch_size),
        steps=steps,
        learning_rate=learning_rate,
    )

    fresh = [torch.Generator().manual_seed(10_000 + seed) for seed in seeds]
    inputs, target = draw(setting.content, fresh, batch_size=2048)
    with torch.no_grad():
        error = (ensemble(*inputs) - target).square().flatten(1).sum(1)
        spread = (target - target.mean(dim=(1, 2), keepdim=True)).square().flatten(1).sum(1)
        readers = [ensemble.member(i, PairReader(setting)) for i in range(len(seeds))]
        weights = torch.stack(
            [r.weights(x).mean(0) for r, x in zip(readers, inputs[0], strict=True)]
        )
    return Result(
        setting=setting,
        parameters_in_attention=count_parameters(readers[0].attention),
        explained=(1 - error / spread).tolist(),
        weights=weights,
    )


# ----------------------------------------------------------------------------- the experiment

MODELS = {
    "1 head": (Setting(1), 400),
    "2 heads": (Setting(2), 400),
    "4 heads": (Setting(4), 400),
    "8 heads": (Setting(8), 400),
    "1 head, MLP readout": (Setting(1, readout="mlp"), 400),
    "1 head, MLP readout, Gaussian content": (Setting(1, "gaussian", readout="mlp"), 400),
    "1 head, all inputs see everything": (Setting(1, sees="everything"), 1500),
    "2 heads, all inputs see everything": (Setting(2, sees="everything"), 1500),
}
"""Setting and steps of training of each model."""


def measure(run: Run) -> Data:
    """Train every model from every seed."""
    jobs = {name: (*model, run.seeds) for name, model in MODELS.items()}
    return {"ceiling": CEILING_ONE_HEAD, "models": run.map("models", _one_model, jobs)}


def _one_model(setting: Setting, steps: int, seeds: Sequence[int]) -> dict[str, Any]:
    result = train(setting, seeds=seeds, steps=steps)
    return {
        **setting._asdict(),
        "steps": steps,
        "parameters in attention": result.parameters_in_attention,
        "explained": result.explained,
    }


def findings(data: Data) -> dict[str, Finding]:
    """Say how much of the pair the models explain."""
    models = data["models"]
    explained = {name: model["explained"] for name, model in models.items()}
    intervals = {name: mean_interval(values) for name, values in explained.items()}
    parameters = {model["parameters in attention"] for model in models.values()}
    several = explained["2 heads"] + explained["4 heads"]
    everything = intervals["1 head, all inputs see everything"]
    with_mlp = intervals["1 head, MLP readout"]
    two_everything = intervals["2 heads, all inputs see everything"]
    return {
        "one-head-explains-half": Finding(
            max(explained["1 head"]) <= CEILING_ONE_HEAD + 0.01,
            f"one head explains {intervals['1 head']} of the pair's variance; the bound is ½",
        ),
        "two-heads-explain-all": Finding(
            min(several) > 0.98,
            f"two heads explain {intervals['2 heads']}, four {intervals['4 heads']}",
        ),
        "equal-parameters": Finding(
            len(parameters) == 1,
            f"the attention of every model has {' or '.join(map(str, sorted(parameters)))} "
            "parameters",
        ),
        "mlp-not-found": Finding(
            with_mlp.high < 0.55,
            f"one head with an MLP after it could do the task with random signs; trained for "
            f"{models['1 head, MLP readout']['steps']} steps it explains {with_mlp}",
        ),
        "positions-in-values-pass-half": Finding(
            everything.low > CEILING_ONE_HEAD,
            "one head whose values carry positions too, and whose weights may depend on content, "
            f"explains {everything}; two such heads {two_everything}",
        ),
    }
