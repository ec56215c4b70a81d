"""Submissions that mean harm, by what they attack; `test_hostile.py` hands them in."""
