"""Patterns and their rows, both ways: which pattern is meant, reading, writing.

`store` is the part of the database that other packages ask. Not here: runs, exports, who is similar.
"""
