"""Grades a class: safely, many at a time, and into nbgrader's gradebook.

Each submission is put into the instructor's notebook (`rebuild`), its cells run in a sandbox
(`sandbox`, `warm_server`, `learner`), and its tests where they do not run (`judge`).
"""
