"""Around grading: a course folder of one's own, its students, late work, and what goes out again.

nbgrader is imported only by what needs it.
"""
