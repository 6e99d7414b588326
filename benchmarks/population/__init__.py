"""A population of related models: roots of eight architectures, each with fifteen kinds of children, all made here.

`python -m benchmarks.population` makes it; `benchmarks.population.members` lists its members.
"""
