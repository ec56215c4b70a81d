"""From `torch.nn.MultiheadAttention` and its masks to ours, and back."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mha_course import _checks
from mha_course.masks import both
from mha_course.multi_head import MultiHeadAttention


def from_torch(theirs: nn.MultiheadAttention) -> MultiHeadAttention:
    """Return our module with a copy of the parameters of torch's.

    Ours always has the batch first: if `theirs.batch_first` is False, transpose the inputs.
    torch has either all four biases or none.

    Raises:
        ValueError: `theirs` was made with `add_bias_kv` or `add_zero_attn`: a key that no token
            has. Ours has no such key.
        TypeError: `theirs` is no `nn.MultiheadAttention`.

    >>> ours = from_torch(nn.MultiheadAttention(12, 4, kdim=9))
    >>> ours.shape.kdim, ours.w_k.weight.shape
    (9, torch.Size([12, 9]))
    """
    _checks.instance("theirs", theirs, nn.MultiheadAttention, "nn.MultiheadAttention")
    if theirs.bias_k is not None or theirs.add_zero_attn:
        option = "add_bias_kv" if theirs.bias_k is not None else "add_zero_attn"
        raise ValueError(
            f"nn.MultiheadAttention with {option}=True adds a key that belongs to no token; "
            f"MultiHeadAttention cannot express it. Make it with {option}=False"
        )
    ours = MultiHeadAttention(
        theirs.embed_dim,
        theirs.num_heads,
        kdim=theirs.kdim,
        vdim=theirs.vdim,
        bias=theirs.in_proj_bias is not None,
        dropout=theirs.dropout,
    )
    state = {"w_o.weight": theirs.out_proj.weight}
    if theirs.in_proj_weight is not None:  # kdim = vdim = embed_dim: W_Q, W_K, W_V in one stack
        weights = theirs.in_proj_weight.chunk(3)
    else:
        weights = (theirs.q_proj_weight, theirs.k_proj_weight, theirs.v_proj_weight)
    for name, weight in zip("qkv", weights, strict=True):
        state[f"w_{name}.weight"] = weight
    if theirs.in_proj_bias is not None:
        state["w_o.bias"] = theirs.out_proj.bias
        for name, bias in zip("qkv", theirs.in_proj_bias.chunk(3), strict=True):
            state[f"w_{name}.bias"] = bias
    ours.to(theirs.out_proj.weight.device, theirs.out_proj.weight.dtype)
    ours.load_state_dict(state)
    return ours.train(theirs.training)


def to_torch(ours: MultiHeadAttention) -> nn.MultiheadAttention:
    """Return torch's module (`batch_first=True`) that computes what ours does.

    Key/value heads that are shared (GQA) are repeated, and where ours has some biases and not
    others, the missing ones are zero: the same function with more parameters.

    Raises:
        ValueError: h·d_head or h·d_v is not d_model; torch has no other widths.
        TypeError: `ours` is no `MultiHeadAttention`.

    >>> to_torch(MultiHeadAttention(12, 4)).in_proj_weight.shape
    torch.Size([36, 12])
    """
    _checks.instance("ours", ours, MultiHeadAttention)
    s = ours.shape
    if not s.num_heads * s.d_head == s.num_heads * s.d_v == s.d_model:
        raise ValueError(
            f"h·d_head = {s.num_heads}·{s.d_head} and h·d_v = {s.num_heads}·{s.d_v}; "
            f"nn.MultiheadAttention needs both to be d_model={s.d_model}"
        )
    like = ours.w_o.weight
    theirs = nn.MultiheadAttention(
        s.d_model,
        s.num_heads,
        dropout=ours.dropout,
        bias=bool(s.bias),
        kdim=s.kdim,
        vdim=s.vdim,
        batch_first=True,
        device=like.device,
        dtype=like.dtype,
    )
    group = s.num_heads // s.num_kv_heads
    weights = (
        ours.w_q.weight,
        _repeat_heads(ours.w_k.weight, s.num_kv_heads, group),
        _repeat_heads(ours.w_v.weight, s.num_kv_heads, group),
    )
    with torch.no_grad():
        if theirs.in_proj_weight is not None:
            theirs.in_proj_weight.copy_(torch.cat(weights))
        else:
            for name, weight in zip("qkv", weights, strict=True):
                getattr(theirs, f"{name}_proj_weight").copy_(weight)
        theirs.out_proj.weight.copy_(ours.w_o.weight)
        if theirs.in_proj_bias is not None:
            biases = (
                _bias_of(ours.w_q),
                _repeat_heads(_bias_of(ours.w_k), s.num_kv_heads, group),
                _repeat_heads(_bias_of(ours.w_v), s.num_kv_heads, group),
            )
            theirs.in_proj_bias.copy_(torch.cat(biases))
            theirs.out_proj.bias.copy_(_bias_of(ours.w_o))
    return theirs.train(ours.training)


def _repeat_heads(rows: Tensor, num_kv_heads: int, group: int) -> Tensor:
    """Give each of the `group` query heads that share a key/value head a copy of it."""
    per_head = rows.view(num_kv_heads, -1, *rows.shape[1:])
    return per_head.repeat_interleave(group, 0).flatten(0, 1)


def _bias_of(w: nn.Linear) -> Tensor:
    return w.weight.new_zeros(w.out_features) if w.bias is None else w.bias


# ----------------------------------------------------------------------------------- masks


def mask_from_torch(
    attn_mask: Bool[Tensor, "*mask"] | Float[Tensor, "*mask"] | None = None,
    key_padding_mask: Bool[Tensor, "B T_k"] | Float[Tensor, "B T_k"] | None = None,
    *,
    num_heads: int,
) -> Bool[Tensor, "*allowed"] | None:
    """Turn the masks of `nn.MultiheadAttention` into the one of ours.

    There, a boolean mask is True where a query may **not** attend, and a float mask is added to
    the scores. `scaled_dot_product_attention` takes boolean masks as ours does: pass those on
    as they are.

    Args:
        attn_mask: `[T_q, T_k]` or `[B·h, T_q, T_k]`.
        key_padding_mask: `[B, T_k]`; True = padding.
        num_heads: h, to take the first axis of a 3-dimensional mask apart.

    Returns:
        A mask `[T_q, T_k]` or `[B|1, h|1, T_q|1, T_k]`, True = may attend; None if both are None.

    Raises:
        ValueError: a mask has another rank, its first axis is not B·h, or a float mask holds
            something else than 0 and −inf: a bias on the scores, which no boolean mask is.
        TypeError: a mask is neither boolean nor floating point.

    >>> mask_from_torch(torch.tensor([[False, True], [False, False]]), num_heads=4)
    tensor([[ True, False],
            [ True,  True]])
    """
    _checks.positive_int("num_heads", num_heads)
    allowed: Tensor | None = None
    if attn_mask is not None:
        allowed = ~_blocked("attn_mask", attn_mask)
        if allowed.dim() == 3:
            if allowed.shape[0] % num_heads:
                raise ValueError(
                    f"attn_mask has shape {list(allowed.shape)}; its first axis must be B·h, "
                    f"a multiple of num_heads={num_heads}"
                )
            allowed = allowed.view(-1, num_heads, *allowed.shape[1:])  # [B, h, T_q, T_k]
        elif allowed.dim() != 2:
            raise ValueError(
                f"attn_mask has shape {list(allowed.shape)}; nn.MultiheadAttention takes "
                "[T_q, T_k] or [B·h, T_q, T_k]"
            )
    if key_padding_mask is not None:
        _checks.rank("key_padding_mask", key_padding_mask, ("B", "T_k"))
        is_key = ~_blocked("key_padding_mask", key_padding_mask)[:, None, None]  # [B, 1, 1, T_k]
        if allowed is not None:
            _same_keys(allowed, is_key)
        allowed = both(allowed, is_key)
    return allowed


def _same_keys(allowed: Tensor, is_key: Tensor) -> None:
    """Raise unless both masks are about the same sequences and keys."""
    if allowed.device != is_key.device:
        raise ValueError(
            f"attn_mask is on {allowed.device} and key_padding_mask is on {is_key.device}; "
            "move one with .to(...)"
        )
    batch = is_key.shape[0] if allowed.dim() == 2 else allowed.shape[0]
    num_keys = allowed.shape[-1]
    if (is_key.shape[0], is_key.shape[-1]) != (batch, num_keys):
        raise ValueError(
            f"key_padding_mask has shape {[is_key.shape[0], is_key.shape[-1]]}; with this "
            f"attn_mask it must be [B={batch}, T_k={num_keys}]"
        )


def _blocked(name: str, mask: Tensor) -> Tensor:
    """Boolean mask, True = may not attend, from a boolean or an additive one."""
    _checks.is_tensor(name, mask)
    if mask.dtype == torch.bool:
        return mask
    if not mask.is_floating_point():
        raise TypeError(f"{name} has dtype {mask.dtype}; it must be torch.bool or floating point")
    blocked = mask == -torch.inf
    if not torch.equal(blocked, mask != 0):
        raise ValueError(
            f"{name} holds numbers other than 0 and -inf: it is a bias on the scores, and a "
            "boolean mask cannot carry it"
        )
    return blocked


def mask_to_torch(
    attn_mask: Bool[Tensor, "*mask"],
    *,
    batch_size: int,
    num_heads: int,
    num_queries: int | None = None,
) -> Bool[Tensor, "*blocked"]:
    """Turn our mask into `attn_mask` of `nn.MultiheadAttention`: True = may **not** attend.

    Args:
        attn_mask: `[T_q, T_k]`, or `[B|1, h|1, T_q|1, T_k]`.
        batch_size: B.
        num_heads: h.
        num_queries: T_q; only needed for a mask with one row for all queries, as that of
            `padding_mask`, because torch wants a row for each.

    Returns:
        `[T_q, T_k]` or `[B·h, T_q, T_k]`, where the heads of a sequence are neighbours.

    Raises:
        ValueError: the mask has another rank, or other axes than these.
        TypeError: the mask is not a boolean tensor, or a number is not an int.

    >>> mask_to_torch(torch.tensor([[True, False]]), batch_size=2, num_heads=4)
    tensor([[False,  True]])
    """
    _checks.positive_int("batch_size", batch_size)
    _checks.positive_int("num_heads", num_heads)
    _checks.boolean("attn_mask", attn_mask)
    t_q = "T_q" if num_queries is None else f"T_q={num_queries}"
    if num_queries is None:
        num_queries = attn_mask.shape[-2] if attn_mask.dim() > 1 else 0
    _checks.at_least_0("num_queries", num_queries)
    if attn_mask.dim() == 2 and attn_mask.shape[0] == num_queries:
        return ~attn_mask
    axes = (batch_size, num_heads, num_queries)
    if attn_mask.dim() != 4 or any(
        size not in (1, wanted) for size, wanted in zip(attn_mask.shape, axes, strict=False)
    ):
        raise ValueError(
            f"attn_mask has shape {list(attn_mask.shape)}; it must be [{t_q}, T_k], or "
            f"[B={batch_size}, h={num_heads}, {t_q}, T_k] where any axis but the last may be 1"
        )
    return ~attn_mask.expand(*axes, -1).flatten(0, 1)
