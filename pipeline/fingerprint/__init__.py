"""Fingerprint: the part of the signature that tells whose weights a model has.

Here: fixed random projections of the weights that no permutation or sign flip changes.
Not here: the test that aligns the weights of two models (`lineage`), distances (`patterndb.similarity`).
"""
