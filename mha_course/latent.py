"""Multi-head latent attention (MLA): keys and values of all heads are made from one small latent.

DeepSeek-AI 2024 (DeepSeek-V2, arXiv 2405.04434), section 2.1. For token t with input x_t, and
head i:

    c_t   = RMSNorm(x_t W_DKV)                     the latent: all that a cache must keep …
    r_t   = rotate(x_t W_KR, t)                    … and one rotary key that all heads share
    K_t_i = [c_t W_UK_i ; r_t]     V_t_i = c_t W_UV_i
    Q_t_i = [b_t W_UQ_i ; rotate(b_t W_QR_i, t)]   with b_t = RMSNorm(x_t W_DQ), or b_t = x_t

The rest is attention as always. Axis names are those of `mha_course.multi_head`; d_head is the
part of a query without position.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mha_course import _checks
from mha_course.attention import merge_heads, split_heads
from mha_course.cache import KVCache
from mha_course.forms import FORMS, FormName, HasForm, Heads
from mha_course.masks import per_head
from mha_course.shapes import LatentShape, check_latent_shape


class MultiHeadLatentAttention(HasForm):
    """Self-attention whose cache holds kv_rank + d_rope numbers per token, whatever h is.

    Args:
        shape: All sizes.
        absorb: False: make keys and values of every head from the latents. True: multiply W_UK
            into the queries and W_UV into the output instead, so that the heads attend to the
            latents themselves. The result is the same; with a cache it saves making all keys
            and values anew at every step.
        form: "loop", "batched" or "fused", see `mha_course.forms`.

    Raises:
        ValueError: a size is below 1, or `shape.d_rope` is odd.
        TypeError: a size is not an int, or `shape` no `LatentShape`.

    >>> shape = LatentShape(d_model=12, num_heads=4, d_head=5, d_rope=2, d_v=3, kv_rank=6)
    >>> mla = MultiHeadLatentAttention(shape)
    >>> mla(torch.randn(2, 7, 12), is_causal=True).shape
    torch.Size([2, 7, 12])
    """

    def __init__(
        self, shape: LatentShape, *, absorb: bool = False, form: FormName = "batched"
    ) -> None:
        super().__init__()
        check_latent_shape(shape)
        self.shape = s = shape
        self.absorb = absorb
        self.form = form
        q_in = s.d_model if s.q_rank is None else s.q_rank
        if s.q_rank is not None:
            self.w_dq = nn.Linear(s.d_model, s.q_rank, bias=False)
            self.norm_q = nn.RMSNorm(s.q_rank, eps=1e-6)
        self.w_uq = nn.Linear(q_in, s.num_heads * s.d_head, bias=False)
        self.w_qr = nn.Linear(q_in, s.num_heads * s.d_rope, bias=False)
        self.w_dkv = nn.Linear(s.d_model, s.kv_rank, bias=False)
        self.norm_kv = nn.RMSNorm(s.kv_rank, eps=1e-6)
        self.w_kr = nn.Linear(s.d_model, s.d_rope, bias=False)
        self.w_uk = nn.Linear(s.kv_rank, s.num_heads * s.d_head, bias=False)
        self.w_uv = nn.Linear(s.kv_rank, s.num_heads * s.d_v, bias=False)
        self.w_o = nn.Linear(s.num_heads * s.d_v, s.d_model, bias=False)

    def forward(
        self,
        x: Float[Tensor, "B T d_model"],
        *,
        attn_mask: Bool[Tensor, "*mask"] | None = None,
        is_causal: bool = False,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "B T d_model"]:
        """Attend from every token of `x` to every token so far.

        Args:
            x: The tokens; with a cache, those that follow the tokens in it.
            attn_mask: True = may attend; `[T, T_k]`, or `[B, h, T, T_k]` where any axis may be 1.
            is_causal: Also forbid the future.
            cache: Latents and rotary keys so far; those of `x` are added to them.

        Raises:
            ValueError: the rank, the width, the device or the mask does not fit.
            TypeError: `x` is not floating point, its dtype is not the module's, the mask is not
                boolean, or the cache no `KVCache`.
            RuntimeError: a cache is used while gradients are recorded.
        """
        s = self.shape
        _checks.module_input("x", x, ("B", "T", "d_model"), s.d_model, self.w_o.weight)
        if cache is not None:
            _checks.instance("cache", cache, KVCache)
        start = 0 if cache is None else cache.num_tokens
        if attn_mask is not None:  # checked before anything is added to the cache
            scores_shape = (x.shape[0], s.num_heads, x.shape[1], start + x.shape[1])
            attn_mask = per_head(attn_mask, scores_shape, x.device)
        positions = torch.arange(start, start + x.shape[1], device=x.device)

        latent = _normed(self.norm_kv, self.w_dkv(x))[:, None]  # [B, 1, T, kv_rank]
        rotary_key = rotate(self.w_kr(x)[:, None], positions)  # [B, 1, T, d_rope]
        if cache is not None:
            rotary_key, latent = cache.append(rotary_key, latent)  # [B, 1, T_k, …]

        q_from = x if s.q_rank is None else _normed(self.norm_q, self.w_dq(x))
        q = split_heads(self.w_uq(q_from), s.num_heads)  # [B, h, T, d_head]
        rotary_q = rotate(split_heads(self.w_qr(q_from), s.num_heads), positions)

        attend = self._absorbed if self.absorb else self._expanded
        z = attend(q, rotary_q, latent, rotary_key, attn_mask, is_causal).z  # [B, h, T, d_v]
        output: Tensor = self.w_o(merge_heads(z))
        return output

    def _expanded(
        self,
        q: Float[Tensor, "B h T d_head"],
        rotary_q: Float[Tensor, "B h T d_rope"],
        latent: Float[Tensor, "B 1 T_k kv_rank"],
        rotary_key: Float[Tensor, "B 1 T_k d_rope"],
        attn_mask: Bool[Tensor, "#B #h #T #T_k"] | None,
        is_causal: bool,
    ) -> Heads:
        """Make the keys and values of every head, and attend to them."""
        h = self.shape.num_heads
        k = split_heads(self.w_uk(latent[:, 0]), h)  # [B, h, T_k, d_head]
        v = split_heads(self.w_uv(latent[:, 0]), h)  # [B, h, T_k, d_v]
        queries = torch.cat([q, rotary_q], dim=-1)
        keys = torch.cat([k, rotary_key.expand(-1, h, -1, -1)], dim=-1)
        return FORMS[self.form](queries, keys, v, attn_mask=attn_mask, is_causal=is_causal)

    def _absorbed(
        self,
        q: Float[Tensor, "B h T d_head"],
        rotary_q: Float[Tensor, "B h T d_rope"],
        latent: Float[Tensor, "B 1 T_k kv_rank"],
        rotary_key: Float[Tensor, "B 1 T_k d_rope"],
        attn_mask: Bool[Tensor, "#B #h #T #T_k"] | None,
        is_causal: bool,
    ) -> Heads:
        """Attend to the latents: Q_i (c W_UK_i)ᵀ = (Q_i W_UK_iᵀ) cᵀ, so c is the one key of all.

        This is multi-query attention over the latents.
        """
        s = self.shape
        w_uk = self.w_uk.weight.view(s.num_heads, s.d_head, s.kv_rank)
        w_uv = self.w_uv.weight.view(s.num_heads, s.d_v, s.kv_rank)
        queries = torch.cat([q @ w_uk, rotary_q], dim=-1)  # [B, h, T, kv_rank + d_rope]
        keys = torch.cat([latent, rotary_key], dim=-1)  # [B, 1, T_k, kv_rank + d_rope]
        # forms divide by the root of the width that they see; the rule is the original width's
        queries = queries * math.sqrt((s.kv_rank + s.d_rope) / (s.d_head + s.d_rope))
        z, weights = FORMS[self.form](
            queries, keys, latent, attn_mask=attn_mask, is_causal=is_causal
        )
        return Heads(z @ w_uv.mT, weights)  # [B, h, T, kv_rank] → [B, h, T, d_v]


def _normed(norm: nn.RMSNorm, x: Tensor) -> Tensor:
    # autocast hands over a smaller dtype than the norm has; the norm keeps its own inside
    normed: Tensor = norm(x.to(norm.weight.dtype))
    return normed.to(x.dtype)


def rotate(
    x: Float[Tensor, "*batch T d_rope"],
    positions: Int[Tensor, " T"] | Float[Tensor, " T"],
    base: float = 10_000.0,
) -> Float[Tensor, "*batch T d_rope"]:
    """Rotary position embedding: turn pair m of token t by the angle t·base^(−2m/d_rope).

    Su et al. 2021 (arXiv 2104.09864), section 3.2.2. The dot product of two rotated vectors
    depends on their distance only. Pair m is made of the columns 2m and 2m + 1.

    Raises:
        ValueError: the width of `x` is odd, or there is not one position for each token.
        TypeError: `x` is not a floating-point tensor, or `positions` no tensor.

    >>> rotate(torch.tensor([[1.0, 0.0]]), torch.tensor([torch.pi / 3]))
    tensor([[0.5000, 0.8660]])
    """
    _checks.sequence("x", x, "d_rope")
    _checks.rank("positions", positions, ("T",))
    num_tokens, d_rope = x.shape[-2:]
    if len(positions) != num_tokens:
        raise ValueError(
            f"positions has {len(positions)} entries and x has shape {list(x.shape)}; give one "
            f"position for each of the T={num_tokens} tokens"
        )
    if d_rope % 2:
        raise ValueError(f"x is {d_rope} wide; its width must be even: pairs are rotated")
    exponents = torch.arange(0, d_rope, 2, device=x.device) / d_rope
    angles = positions[:, None] / base**exponents  # [T, d_rope/2], in float32 whatever x is
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
    return turned.flatten(start_dim=-2)
