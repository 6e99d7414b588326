"""How well a rebuilt model works, beside the original and beside other codes of as many bits.

Here: what models are run on, what is compared of their outputs, and what else the bits buy.
Not here: training, drawing.
"""
