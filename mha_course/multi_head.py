"""Multi-head attention as one module, all heads computed in one batch.

With head_i = attention(X W_Q_i, X W_K_i, X W_V_i), as in Vaswani et al. 2017, section 3.2.2:

    MultiHead(X) = concat(head_1, …, head_h) W_O = Σ_i head_i W_O_i
"""

from __future__ import annotations

from typing import Literal, overload

from jaxtyping import Bool, Float
from torch import Tensor, nn

from mha_course import _checks
from mha_course.attention import attention_weights, head_dim, merge_heads, split_heads


class MultiHeadAttention(nn.Module):
    """`num_heads` heads over `d_model`, with an output projection.

    Args:
        d_model: Width of the input and of the output.
        num_heads: Number of heads.
        d_head: Width of one head; by default d_model / num_heads, which must then be whole.
        bias: Whether the four projections have a bias.

    Raises:
        ValueError: `num_heads` does not divide `d_model` and no `d_head` is given.

    >>> import torch
    >>> mha = MultiHeadAttention(d_model=12, num_heads=4)
    >>> x = torch.randn(2, 5, 12)
    >>> mha(x).shape
    torch.Size([2, 5, 12])
    >>> _, weights = mha(x, return_weights=True)
    >>> weights.shape
    torch.Size([2, 4, 5, 5])
    """

    def __init__(
        self, d_model: int, num_heads: int, *, d_head: int | None = None, bias: bool = True
    ) -> None:
        super().__init__()
        _checks.positive_int("d_model", d_model)
        _checks.positive_int("num_heads", num_heads)
        if d_head is None:
            d_head = head_dim(d_model, num_heads)
        _checks.positive_int("d_head", d_head)
        self.d_model = d_model
        self.num_heads = num_heads
        self.d_head = d_head
        self.w_q = nn.Linear(d_model, num_heads * d_head, bias=bias)
        self.w_k = nn.Linear(d_model, num_heads * d_head, bias=bias)
        self.w_v = nn.Linear(d_model, num_heads * d_head, bias=bias)
        self.w_o = nn.Linear(num_heads * d_head, d_model, bias=bias)

    @overload
    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
        return_weights: Literal[False] = False,
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
        return_weights: Literal[True],
    ) -> tuple[Tensor, Tensor]: ...

    def forward(
        self,
        query: Float[Tensor, "B T_q d_model"],
        key: Float[Tensor, "B T_k d_model"] | None = None,
        value: Float[Tensor, "B T_k d_model"] | None = None,
        *,
        attn_mask: Bool[Tensor, "*mask"] | None = None,
        is_causal: bool = False,
        return_weights: bool = False,
    ) -> (
        Float[Tensor, "B T_q d_model"]
        | tuple[Float[Tensor, "B T_q d_model"], Float[Tensor, "B h T_q T_k"]]
    ):
        """Attend from `query` to `key`, and return the mixed `value`.

        Args:
            query: What asks.
            key: What is asked; by default the query itself (self-attention).
            value: What is fetched; by default the key.
            attn_mask: True = may attend; broadcasts to `[B, h, T_q, T_k]`.
            is_causal: Also forbid the future.
            return_weights: Also return the weights of every head, never their average.

        Raises:
            ValueError: a rank, a width or the mask does not fit.
            TypeError: an input is not floating point, or the mask is not boolean.
        """
        key = query if key is None else key
        value = key if value is None else value
        for name, tensor in (("query", query), ("key", key), ("value", value)):
            _checks.rank(name, tensor, ("B", "T", "d_model"))
            _checks.floating_point(name, tensor)
            _checks.width(name, tensor, self.d_model, "d_model")

        q = split_heads(self.w_q(query), self.num_heads)  # [B, h, T_q, d_head]
        k = split_heads(self.w_k(key), self.num_heads)  # [B, h, T_k, d_head]
        v = split_heads(self.w_v(value), self.num_heads)  # [B, h, T_k, d_head]
        _checks.key_and_value(k, v)
        weights = attention_weights(q, k, attn_mask=attn_mask, is_causal=is_causal)
        z = weights @ v  # [B, h, T_q, d_head]
        output = self.w_o(merge_heads(z))  # [B, T_q, d_model]
        return (output, weights) if return_weights else output

    def extra_repr(self) -> str:
        """Sizes shown when the module is printed."""
        return f"d_model={self.d_model}, num_heads={self.num_heads}, d_head={self.d_head}"
