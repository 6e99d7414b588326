"""Matrices in few bits, by codes that need no training: truncated SVD, plain rounding, means.

Here: what they make of the matrices of a model for a given number of bits.
Not here: the DNA (`pipeline.dna`), what a model does with the matrices (`library.evaluate`).
"""
