"""DNA: what a fit leaves of a model, as one file that holds all it takes to give the weights back.

Here: the file and its reader, the decoder from networks to matrices, and what can be asked of a DNA.
Not here: training (`fit`), reading files of weights, the database.
"""
