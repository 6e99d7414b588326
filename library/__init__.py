"""Patterns that models share, and models made of what was mined: rebuilt ones and new ones.

Here: a model rebuilt from its DNA, how well it still works, what models of a kind share, and models that start from it.
Not here: mining (`pipeline`), tables and queries (`patterndb`), drawing (`cli`).
What needs `transformers` imports it where it is needed.
"""
