"""Gates and watched heads, on tiny random models of ten families."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from small_models import GROUPED, LAYERS, SIZES, D, G, H, gpt2_config
from torch import Tensor

from mha_course.heads.gates import LayerHeads, ModelHeads, gates_without

B, T, WINDOW = 2, 9, 5

CONFIGS: dict[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertConfig(**SIZES),
    "roberta": lambda: transformers.RobertaConfig(**SIZES),
    "distilbert": lambda: transformers.DistilBertConfig(
        vocab_size=50, dim=D, n_layers=LAYERS, n_heads=H, hidden_dim=20
    ),
    "gpt2": gpt2_config,
    "llama": lambda: transformers.LlamaConfig(**GROUPED),
    "qwen2": lambda: transformers.Qwen2Config(**SIZES, num_key_value_heads=G),
    "qwen3": lambda: transformers.Qwen3Config(**GROUPED),
    "mistral": lambda: transformers.MistralConfig(**GROUPED, sliding_window=WINDOW),
    "gemma2": lambda: transformers.Gemma2Config(**GROUPED, sliding_window=WINDOW),
    "gemma3": lambda: transformers.Gemma3TextConfig(**GROUPED, sliding_window=WINDOW),
}

# W_O and W_V as each architecture names them, so that what we find is checked against it
_LLAMA_LIKE = ("layers.{}.self_attn.o_proj", "layers.{}.self_attn.v_proj")
NAMES = {
    "bert": ("encoder.layer.{}.attention.output.dense", "encoder.layer.{}.attention.self.value"),
    "roberta": ("encoder.layer.{}.attention.output.dense", "encoder.layer.{}.attention.self.value"),
    "distilbert": (
        "transformer.layer.{}.attention.out_lin",
        "transformer.layer.{}.attention.v_lin",
    ),
    "gpt2": ("h.{}.attn.c_proj", "h.{}.attn.c_attn"),
    **dict.fromkeys(("llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3"), _LLAMA_LIKE),
}


def make(family: str, **options: Any) -> Any:
    torch.manual_seed(3)
    model = transformers.AutoModel.from_config(CONFIGS[family](), **options).eval()
    for parameter in model.parameters():  # biases, too: none of them may be 0
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture(params=CONFIGS)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(3, 50, (B, T), generator=torch.Generator().manual_seed(1))


def output(model: Any, ids: Tensor) -> Tensor:
    with torch.no_grad():
        hidden: Tensor = model(input_ids=ids).last_hidden_state
    return hidden


def w_o(model: Any, family: str, layer: int) -> Tensor:
    """W_O as input × output, a view of the parameter."""
    weight: Tensor = model.get_submodule(NAMES[family][0].format(layer)).weight
    return weight.detach() if family == "gpt2" else weight.detach().T


def w_v(model: Any, family: str, layer: int) -> Tensor:
    weight: Tensor = model.get_submodule(NAMES[family][1].format(layer)).weight
    return weight.detach()[:, 2 * D :] if family == "gpt2" else weight.detach().T


# ------------------------------------------------------------------------------- gates


def test_gates_without_close_these_heads_alone() -> None:
    gates = gates_without(2, 3, [(0, 2), [1, 0], (0, 2)])
    assert gates.tolist() == [[1, 1, 0], [0, 1, 1]]
    assert gates_without(2, 3, []).tolist() == [[1, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize("head", [(2, 0), (0, 3), (-1, 0), (0, -1)])
def test_gates_without_a_head_that_is_not_there(head: tuple[int, int]) -> None:
    says = (
        f"there is no head {head[1]} in layer {head[0]}; layers go from 0 to 1, heads from 0 to 2"
    )
    with pytest.raises(ValueError, match=says):
        gates_without(2, 3, [(0, 0), head])


def test_all_layers_and_heads_are_found(family: str) -> None:
    model = make(family)
    heads = ModelHeads(model)
    assert (heads.num_layers, heads.num_heads) == (LAYERS, H)
    assert heads.num_kv_heads == getattr(model.config, "num_key_value_heads", H)
    assert heads.d_head == getattr(model.config, "head_dim", None) or D // H


def test_looking_at_the_heads_changes_nothing(family: str, ids: Tensor) -> None:
    model = make(family)
    before = output(model, ids)
    ModelHeads(model)
    torch.testing.assert_close(output(model, ids), before, rtol=0, atol=0)


def test_gates_of_one_change_nothing(family: str, ids: Tensor) -> None:
    model = make(family)
    before = output(model, ids)
    with ModelHeads(model).at_work(gates=torch.ones(LAYERS, H)):
        torch.testing.assert_close(output(model, ids), before, rtol=0, atol=0)


def test_gates_scale_the_rows_of_w_o(family: str, ids: Tensor) -> None:
    model = make(family)
    heads = ModelHeads(model)
    gates = torch.rand(LAYERS, H, generator=torch.Generator().manual_seed(5))
    gates[1, 2] = 0
    before = output(model, ids)
    with heads.at_work(gates=gates):
        gated = output(model, ids)
    for layer in range(LAYERS):
        w_o(model, family, layer).unflatten(0, (H, -1)).mul_(gates[layer, :, None, None])
    by_hand = output(model, ids)
    torch.testing.assert_close(gated, by_hand, rtol=1e-4, atol=1e-5)
    assert (by_hand - before).abs().max() > 1e-3


def test_each_sequence_can_have_gates_of_its_own(family: str, ids: Tensor) -> None:
    model = make(family)
    heads = ModelHeads(model)
    gates = torch.rand(B, LAYERS, H, generator=torch.Generator().manual_seed(5))
    with heads.at_work(gates=gates):
        together = output(model, ids)
    for one in range(B):
        with heads.at_work(gates=gates[one]):
            alone = output(model, ids)[one]
        torch.testing.assert_close(together[one], alone, rtol=1e-4, atol=1e-5)


def test_a_closed_head_puts_out_its_fill(family: str, ids: Tensor) -> None:
    model = make(family)
    heads = ModelHeads(model)
    layer, head = 1, 2
    fill = torch.randn(LAYERS, H, heads.d_head, generator=torch.Generator().manual_seed(7))
    gates = torch.ones(LAYERS, H)
    gates[layer, head] = 0
    with heads.at_work(gates=gates, fill=fill):
        filled = output(model, ids)

    rows = w_o(model, family, layer).unflatten(0, (H, -1))[head]  # [d_head, d_model]
    constant = fill[layer, head] @ rows  # what the head writes now, for every token
    rows.zero_()
    projection = model.get_submodule(NAMES[family][0].format(layer))
    hook = projection.register_forward_hook(lambda _, __, y: y + constant)
    by_hand = output(model, ids)
    hook.remove()
    torch.testing.assert_close(filled, by_hand, rtol=1e-4, atol=1e-5)


def test_gates_have_the_gradient_that_finite_differences_show(family: str, ids: Tensor) -> None:
    model = make(family).double()
    heads = ModelHeads(model)
    at = torch.rand(LAYERS, H, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    def loss(gates: Tensor) -> Tensor:
        with heads.at_work(gates=gates):
            hidden: Tensor = model(input_ids=ids).last_hidden_state
        return hidden.square().mean() * T

    # wide steps: the norms of these models compute in float32 whatever they are given
    assert torch.autograd.gradcheck(loss, at.requires_grad_(), eps=1e-3, atol=2e-4, rtol=1e-2)


def test_gates_hold_while_text_is_generated_with_a_cache() -> None:
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS["mistral"]()).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    heads = ModelHeads(model)
    start = torch.tensor([[5, 9, 20]])
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    untouched = model.generate(start, **options)
    steps: list[LayerHeads] = []
    gates = torch.ones(LAYERS, H)
    gates[0, 1] = gates[2, 3] = 0
    with heads.at_work(gates=gates, watch=lambda _, seen: steps.append(seen), weights=True):
        gated = model.generate(start, **options)
    for layer, head in ((0, 1), (2, 3)):
        weight = model.model.layers[layer].self_attn.o_proj.weight.detach().T
        weight.unflatten(0, (H, -1))[head].zero_()
    by_hand = model.generate(start, **options)
    assert gated.tolist() == by_hand.tolist() != untouched.tolist()
    last = steps[-1].weights
    assert last is not None
    assert last.shape[2] == 1  # one query at a time, all keys that the window leaves
    torch.testing.assert_close(last.sum(-1), torch.ones(1, H, 1))


# ------------------------------------------------------------------------------ watching


def test_watched_weights_and_outputs_are_the_models_own(family: str, ids: Tensor) -> None:
    model = make(family)
    seen: dict[int, LayerHeads] = {}
    with ModelHeads(model).at_work(watch=seen.__setitem__, weights=True):
        output(model, ids)
    assert list(seen) == [0, 1, 2]

    untouched = make(family, attn_implementation="eager")
    with torch.no_grad():
        expected = untouched(input_ids=ids, output_attentions=True).attentions
    for layer, weights in enumerate(expected):
        found = seen[layer].weights
        assert found is not None
        torch.testing.assert_close(found, weights, rtol=1e-4, atol=1e-6)

    # z is what goes into W_O
    inputs: list[Tensor] = []
    projection = untouched.get_submodule(NAMES[family][0].format(1))
    projection.register_forward_hook(lambda _, x, __: inputs.append(x[0]))
    output(untouched, ids)
    merged = seen[1].z.transpose(1, 2).flatten(2)
    torch.testing.assert_close(merged, inputs[0], rtol=1e-4, atol=1e-5)


def test_heads_are_watched_before_their_gates(family: str, ids: Tensor) -> None:
    model = make(family)
    heads = ModelHeads(model)
    open_, closed = {}, {}
    with heads.at_work(watch=open_.__setitem__):
        output(model, ids)
    with heads.at_work(watch=closed.__setitem__, gates=torch.zeros(LAYERS, H)):
        output(model, ids)
    torch.testing.assert_close(closed[0].z, open_[0].z, rtol=0, atol=0)
    assert (closed[1].z - open_[1].z).abs().max() > 1e-3  # what lies above notices


@pytest.mark.parametrize("family", [name for name in CONFIGS if name != "gemma2"])
def test_without_weights_the_model_stays_on_its_fused_path(
    family: str, ids: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(family)
    heads = ModelHeads(model)
    code = sys.modules[type(model).__module__]

    def slow(*_: Any, **__: Any) -> Any:
        raise AssertionError("the explicit form was used")

    monkeypatch.setattr(code, "eager_attention_forward", slow)
    with heads.at_work(gates=torch.ones(LAYERS, H), watch=lambda *_: None):
        output(model, ids)
    with (
        pytest.raises(AssertionError, match="explicit form"),
        heads.at_work(watch=lambda *_: None, weights=True),
    ):
        output(model, ids)


def test_windows_and_padding_stay_masked_when_weights_are_watched(ids: Tensor) -> None:
    model = make("mistral")
    seen: dict[int, LayerHeads] = {}
    padding = torch.ones_like(ids)
    padding[1, :2] = 0
    with ModelHeads(model).at_work(watch=seen.__setitem__, weights=True), torch.no_grad():
        model(input_ids=ids, attention_mask=padding)
    weights = seen[2].weights
    assert weights is not None
    queries, keys = torch.arange(T)[:, None], torch.arange(T)
    visible = (keys <= queries) & (queries - keys < WINDOW)
    assert (weights[0][:, ~visible] == 0).all()
    assert (weights[0][:, visible] > 0).all()
    assert (weights[1, :, 3:, :2] == 0).all()


# ------------------------------------------------------------------------------ matrices


def test_matrices_of_the_heads_are_the_models_parameters(family: str) -> None:
    model = make(family)
    heads = ModelHeads(model)
    for layer in range(LAYERS):
        expected = w_o(model, family, layer).reshape(H, heads.d_head, D)
        torch.testing.assert_close(heads.output_matrices(layer), expected, rtol=0, atol=0)
        values = w_v(model, family, layer).reshape(D, heads.num_kv_heads, heads.d_head)
        found = heads.value_matrices(layer)
        torch.testing.assert_close(found, values.transpose(0, 1), rtol=0, atol=0)


def test_values_mixed_with_queries_are_reported() -> None:
    model = transformers.AutoModel.from_config(transformers.GPTNeoXConfig(**SIZES))
    with pytest.raises(ValueError, match="W_V of a head cannot be told apart"):
        ModelHeads(model).value_matrices(0)


# ---------------------------------------------------------------------------- odd models


def test_a_copy_of_a_model_has_heads_of_its_own(ids: Tensor) -> None:
    model = make("llama")
    heads = ModelHeads(model)
    expected = output(model, ids)
    twin = copy.deepcopy(model)
    with heads.at_work(gates=torch.zeros(LAYERS, H)):
        assert not torch.equal(output(model, ids), expected)
        torch.testing.assert_close(output(twin, ids), expected, rtol=0, atol=0)


def test_models_that_cannot_be_looked_into_are_refused_and_left_alone(ids: Tensor) -> None:
    albert = transformers.AutoModel.from_config(
        transformers.AlbertConfig(**SIZES, embedding_size=16)
    ).eval()
    before = output(albert, ids)
    with pytest.raises(ValueError, match="layers of AlbertModel share one attention module"):
        ModelHeads(albert)
    assert albert.config._attn_implementation == "sdpa"
    torch.testing.assert_close(output(albert, ids), before, rtol=0, atol=0)

    bloom = transformers.AutoModel.from_config(
        transformers.BloomConfig(vocab_size=50, hidden_size=D, n_layer=2, n_head=H)
    )
    with pytest.raises(ValueError, match="does not ask transformers' AttentionInterface"):
        ModelHeads(bloom)

    t5 = transformers.AutoModel.from_config(
        transformers.T5Config(vocab_size=50, d_model=D, d_kv=6, num_layers=2, num_heads=H, d_ff=20)
    )
    with pytest.raises(ValueError, match="T5Model is an encoder-decoder; give its encoder"):
        ModelHeads(t5)


def test_our_attention_without_an_owner_says_what_to_do(ids: Tensor) -> None:
    model = make("llama")
    ModelHeads(model)
    stray = make("llama")
    stray.set_attn_implementation(model.config._attn_implementation)
    with pytest.raises(RuntimeError, match="belongs to no ModelHeads; build one for the model"):
        output(stray, ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gates": torch.ones(H)}, r"gates have shape \[4\]; expected \[layers, h\] = \[3, 4\]"),
        ({"gates": torch.ones(H, LAYERS)}, r"gates have shape \[4, 3\]; expected"),
        ({"gates": torch.ones(1, B, LAYERS, H)}, r"gates have shape \[1, 2, 3, 4\]; expected"),
        (
            {"gates": torch.ones(LAYERS, H), "fill": torch.ones(LAYERS, H, 3)},
            r"fill has shape \[3, 4, 3\]; expected \[layers, h, d_head\] = \[3, 4, 10\]",
        ),
        ({"fill": torch.ones(LAYERS, H, 10)}, "there are no gates; give both"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options: dict[str, Tensor], message: str) -> None:
    heads = ModelHeads(make("llama"))
    with pytest.raises(ValueError, match=message), heads.at_work(**options):
        pass
    with heads.at_work():  # the refused call left nothing behind
        pass


def test_one_block_at_a_time(ids: Tensor) -> None:
    model = make("llama")
    heads = ModelHeads(model)
    expected = output(model, ids)
    with (
        heads.at_work(gates=torch.zeros(LAYERS, H)),
        pytest.raises(RuntimeError, match="at work already"),
        heads.at_work(),
    ):
        pass
    torch.testing.assert_close(output(model, ids), expected, rtol=0, atol=0)


def test_an_error_inside_the_block_opens_the_gates_again(ids: Tensor) -> None:
    model = make("llama")
    heads = ModelHeads(model)
    expected = output(model, ids)
    with pytest.raises(ZeroDivisionError), heads.at_work(gates=torch.zeros(LAYERS, H)):
        raise ZeroDivisionError
    torch.testing.assert_close(output(model, ids), expected, rtol=0, atol=0)
