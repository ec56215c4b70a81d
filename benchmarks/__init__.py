"""Measurements of speed and memory; start with `python -m benchmarks.attention`."""
