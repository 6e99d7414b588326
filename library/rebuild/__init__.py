"""A model rebuilt from its DNA, as a folder that transformers loads.

Here: the weights that a DNA stands for in their places, what they cost in bits, the folder and its card.
Not here: how a DNA is read (`pipeline.dna`), how well the model works (`library.evaluate`).
"""
