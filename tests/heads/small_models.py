"""Tiny random models with a tokeniser of 50 words, for tests."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from mha_course.heads import TextModel

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *(f"w{i}" for i in range(45))]
LAYERS, H, G, D = 3, 4, 2, 24
SIZES: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": D,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": H,
    "intermediate_size": 20,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
GROUPED = {**SIZES, "num_key_value_heads": G, "head_dim": 10}


def gpt2_config() -> Any:
    return transformers.GPT2Config(
        vocab_size=len(WORDS), n_embd=D, n_layer=LAYERS, n_head=H, n_inner=20,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip


KINDS: dict[str, tuple[Any, Any]] = {
    "llama": (transformers.AutoModelForCausalLM, lambda: transformers.LlamaConfig(**GROUPED)),
    "gpt2": (transformers.AutoModelForCausalLM, gpt2_config),
    "gemma2": (  # caps its scores after the last layer
        transformers.AutoModelForCausalLM,
        lambda: transformers.Gemma2Config(**GROUPED, sliding_window=5, final_logit_softcapping=0.5),
    ),
    "masked bert": (transformers.AutoModelForMaskedLM, lambda: transformers.BertConfig(**SIZES)),
    "bert": (transformers.AutoModel, lambda: transformers.BertConfig(**SIZES)),
}


def small_model(kind: str) -> TextModel:
    """A model of one of KINDS, with random weights and biases."""
    auto, config = KINDS[kind]
    torch.manual_seed(3)
    model = auto.from_config(config())
    for name, parameter in model.named_parameters():
        is_norm = "norm" in name.lower() and name.endswith("weight")
        torch.nn.init.normal_(parameter, mean=float(is_norm), std=0.2)
    return TextModel(kind, tokenizer(specials="bert" in kind), model)


def tokenizer(*, specials: bool) -> Any:
    """Words w0 … w44; with `specials`, [CLS] and [SEP] stand around each text."""
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    if specials:
        words.post_processor = TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def some_text(num_words: int, seed: int = 0) -> str:
    """Random words."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(45, (num_words,), generator=generator)
    return " ".join(f"w{i}" for i in numbers.tolist())
