"""The zoo: facts about models.

Here: the cards, what a tensor is (role, axes, depth), the wiring (which axes meet where). Names and shapes decide; no
weight is read. Not here: files, downloads, statistics, the database.
"""
