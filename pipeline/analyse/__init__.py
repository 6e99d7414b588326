"""Analyse: statistics of the matrices beside their nulls, and what they say together.

Here: the statistics, aggregation over tensors, classes, the signature, and what is asked of a whole catalog.
Not here: whose weights these are (`fingerprint`, `lineage`), storage.
"""
