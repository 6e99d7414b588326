"""A population to rank kin in: roots of eight architectures, each with fifteen kinds of children, all made here.

`python -m benchmarks.population` makes it; `benchmarks.population.members` says who is in it.
"""
