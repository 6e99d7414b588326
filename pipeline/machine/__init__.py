"""The machine: which devices are there and what they have free, memory between stages, independent work on its cores.

Not here: what is computed on them.
"""
