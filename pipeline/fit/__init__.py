"""Fit: one coordinate network (a DNA) for each matrix or for the model, compared with its null and its baselines.

Here: the networks, their size, what they are trained on, the trainer, the baselines, the fit report.
Not here: reading files, the order of rows and columns, the database.
"""
