"""Experiments whose results the book shows; each module is one experiment."""
