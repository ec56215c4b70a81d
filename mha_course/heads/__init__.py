"""Heads of real, trained models."""

from mha_course.heads.pretrained import AttentionMaps, TextModel, load

__all__ = ["AttentionMaps", "TextModel", "load"]
