"""Patterns that models share, and models made of what was mined: rebuilt ones and new ones.

Here: a model rebuilt from its DNA, and how well it still works.
Not here: mining (`pipeline`), tables and queries (`patterndb`), drawing (`cli`).
"""
