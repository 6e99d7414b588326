"""What models of a kind have in common, per role and relative depth, in terms that mean something at another width.

A *shared pattern* is made of *terms* (`terms/`, one file each). Each term is measured in each tensor as a short vector
that is 0 for random weights of the same shape; a pattern keeps the mean of these over lineages, and says how much of a
lineage that is left out it explains.
"""
