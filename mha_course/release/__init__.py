"""A release of the course: what it must fulfil, and the files that it is made of.

Versions are semantic. A course folder that grades with one version grades with any later one of the
same first number; while that is 0, of the same second one.
"""
