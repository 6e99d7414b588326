"""Weights: from files to matrices.

Here: which files count, the readers of each format, the inventory of a checkpoint (what each tensor is, is it sound).
Not here: downloads, orders, statistics. Values are read a tensor at a time and never kept.
"""
