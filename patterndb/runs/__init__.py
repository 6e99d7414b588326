"""Runs: each invocation of `mine`, whether it lives, how long it will take, and how two of them differ.

`store` is the part of the database that other packages ask. Nothing here mines.
"""
