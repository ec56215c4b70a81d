"""Multi-head attention as one module: projections, heads in one of three forms, W_O.

With z_i = attention(X W_Q_i, X W_K_i, X W_V_i), as in Vaswani et al. 2017, section 3.2.2:

    MultiHead(X) = concat(z_0, …, z_{h−1}) W_O = Σ_i z_i W_O_i

Axis names: B batch, h query heads, g key/value heads, T_q queries, T_k keys, d_head width of a
query and of a key, d_v width of a value.
"""

from __future__ import annotations

from collections.abc import Collection

from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from mha_course import _checks
from mha_course.attention import merge_heads, split_heads
from mha_course.cache import KVCache
from mha_course.forms import FORMS, FormName, HasForm, Heads
from mha_course.masks import both, padding_mask, per_head
from mha_course.shapes import attention_shape


class MultiHeadAttention(HasForm):
    """Self- and cross-attention with any number of query and key/value heads.

    Args:
        d_model: Width of the queries' input and of the output.
        num_heads: Query heads, h.
        num_kv_heads: Key/value heads, g; by default h. Fewer is grouped-query attention (GQA),
            one is multi-query attention (MQA).
        d_head: Width of a query and of a key; by default d_model / num_heads.
        d_v: Width of a value; by default `d_head`.
        kdim: Width of the keys' input, for cross-attention; by default `d_model`.
        vdim: Width of the values' input; by default `d_model`.
        bias: True or False for all projections, or those that have one, as in `"qv"`.
        dropout: Share of the attention weights set to zero in training; none in evaluation.
        form: "loop", "batched" or "fused": how the heads are computed, see `mha_course.forms`.
            The parameters and the result are the same. `module.form` may be set later.

    Raises:
        ValueError: a size does not divide where it must, or an option has no such value.
        TypeError: a size is not an int.

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
        self,
        d_model: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        d_head: int | None = None,
        d_v: int | None = None,
        kdim: int | None = None,
        vdim: int | None = None,
        bias: bool | Collection[str] = True,
        dropout: float = 0.0,
        form: FormName = "batched",
    ) -> None:
        super().__init__()
        self.shape = s = attention_shape(
            d_model,
            num_heads,
            num_kv_heads=num_kv_heads,
            d_head=d_head,
            d_v=d_v,
            kdim=kdim,
            vdim=vdim,
            bias=bias,
        )
        _checks.share("dropout", dropout)
        self.dropout = dropout
        self.form = form
        self.w_q = nn.Linear(d_model, s.num_heads * s.d_head, bias="q" in s.bias)
        self.w_k = nn.Linear(s.kdim, s.num_kv_heads * s.d_head, bias="k" in s.bias)
        self.w_v = nn.Linear(s.vdim, s.num_kv_heads * s.d_v, bias="v" in s.bias)
        self.w_o = nn.Linear(s.num_heads * s.d_v, d_model, bias="o" in s.bias)

    def forward(
        self,
        query: Float[Tensor, "B T_q d_model"],
        key: Float[Tensor, "B T_new kdim"] | None = None,
        value: Float[Tensor, "B T_new vdim"] | None = None,
        *,
        attn_mask: Bool[Tensor, "*mask"] | None = None,
        key_lengths: Integer[Tensor, " B"] | None = None,
        is_causal: bool = False,
        head_gates: Float[Tensor, "*gates h"] | None = None,
        cache: KVCache | None = None,
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
            attn_mask: True = may attend; `[T_q, T_k]`, or `[B, h, T_q, T_k]` where any axis
                may be 1.
            key_lengths: Number of keys of each sequence; what comes after them is padding.
            is_causal: Also forbid the future. With fewer queries than keys the queries are the
                last ones.
            head_gates: Factor for the output of each head, before W_O: `[h]` or `[B, h]`.
            cache: Keys and values so far; those of this call are added to them.
            return_weights: Also return the weights of every head (before dropout), never their
                average. The fused form has none, and says so.

        A query that may attend to nothing gets the bias of W_O, or zeros without one.

        Raises:
            ValueError: a rank, a width, a mask, a device or the gates do not fit, or the fused
                form is asked for weights.
            TypeError: an input is not floating point, dtypes differ, the mask is not boolean, or
                the cache is no `KVCache`.
            RuntimeError: a cache is used while gradients are recorded.
        """
        if return_weights and self.form == "fused":
            raise ValueError(
                "return_weights=True, but form='fused' never holds the weights: its kernel goes "
                "over the keys in blocks. Set form='batched' to get them"
            )
        if head_gates is not None and cache is not None:  # refused before the cache is written to
            _checks.rank("query", query, ("B", "T_q", "d_model"))
            _checks.head_gates(head_gates, len(query), self.shape, self.w_o.weight)
        z, weights = self.heads(
            query,
            key,
            value,
            attn_mask=attn_mask,
            key_lengths=key_lengths,
            is_causal=is_causal,
            cache=cache,
        )
        output = self.combine(z, head_gates)
        if not return_weights:
            return output
        assert weights is not None  # every form but the fused one has them
        return output, weights

    def heads(
        self,
        query: Float[Tensor, "B T_q d_model"],
        key: Float[Tensor, "B T_new kdim"] | None = None,
        value: Float[Tensor, "B T_new vdim"] | None = None,
        *,
        attn_mask: Bool[Tensor, "*mask"] | None = None,
        key_lengths: Integer[Tensor, " B"] | None = None,
        is_causal: bool = False,
        cache: KVCache | None = None,
    ) -> Heads:
        """Return the output z of each head before gates and W_O, and its weights.

        Arguments and errors are those of `forward`.
        """
        num_heads = self.shape.num_heads
        key, value, attn_mask = self._checked(
            query, key, value, attn_mask, key_lengths, cache, num_heads
        )
        q = split_heads(self.w_q(query), num_heads)  # [B, h, T_q, d_head]
        k = split_heads(self.w_k(key), self.shape.num_kv_heads)  # [B, g, T_new, d_head]
        v = split_heads(self.w_v(value), self.shape.num_kv_heads)  # [B, g, T_new, d_v]
        if cache is not None:
            k, v = cache.append(k, v)  # [B, g, T_k, …]
        dropout = self.dropout if self.training else 0.0
        return FORMS[self.form](q, k, v, attn_mask=attn_mask, is_causal=is_causal, dropout=dropout)

    def _checked(
        self,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        attn_mask: Tensor | None,
        key_lengths: Tensor | None,
        cache: KVCache | None,
        num_heads: int,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return key, value and one mask for all; refuse what does not fit.

        All of it comes before anything is added to the cache.
        """
        key = query if key is None else key
        value = key if value is None else value
        _checks.inputs(query, key, value, self.shape, self.w_q.weight)
        if cache is not None:
            _checks.instance("cache", cache, KVCache)
        num_keys = key.shape[1] + (0 if cache is None else cache.num_tokens)
        scores_shape = (query.shape[0], num_heads, query.shape[1], num_keys)
        if attn_mask is not None:
            attn_mask = per_head(attn_mask, scores_shape, query.device)
        if key_lengths is not None:
            _checks.key_lengths(key_lengths, scores_shape, query.device)
            attn_mask = both(attn_mask, padding_mask(key_lengths, num_keys))
        return key, value, attn_mask

    def combine(
        self,
        z: Float[Tensor, "B h T_q d_v"],
        head_gates: Float[Tensor, "*gates h"] | None = None,
    ) -> Float[Tensor, "B T_q d_model"]:
        """Gate each head, put the heads side by side, and project with W_O.

        A gate of 0 removes a head, its share of the output included. That is not the same as
        zeroing columns of the output: W_O mixes the heads.

        Raises:
            ValueError: `z` or the gates have another shape or device than the heads of this
                module.
            TypeError: `z` or the gates have another dtype.

        >>> import torch
        >>> mha = MultiHeadAttention(12, 4)
        >>> mha.combine(torch.randn(2, 4, 5, 3), head_gates=torch.tensor([1.0, 0, 1, 1])).shape
        torch.Size([2, 5, 12])
        """
        _checks.heads_output(z, self.shape, self.w_o.weight)
        if head_gates is not None:
            _checks.head_gates(head_gates, len(z), self.shape, self.w_o.weight)
            z = z * head_gates[..., None, None]  # [h, 1, 1] or [B, h, 1, 1]
        output: Tensor = self.w_o(merge_heads(z))  # [B, T_q, d_model]
        return output

    def extra_repr(self) -> str:
        """Sizes shown when the module is printed."""
        sizes = ", ".join(f"{name}={size!r}" for name, size in self.shape._asdict().items())
        return f"{sizes}, dropout={self.dropout}, form={self.form!r}"
