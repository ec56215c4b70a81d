"""Heads of real, trained models: load one, watch its heads, turn them down, score them."""

from mha_course.heads.pretrained import load
from mha_course.heads.text_model import AttentionMaps, TextModel

__all__ = ["AttentionMaps", "TextModel", "load"]
