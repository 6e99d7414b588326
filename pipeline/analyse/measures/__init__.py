"""Measures: the statistics of many versions of a matrix (itself, its nulls, samples of it), where they are taken.

`versions` what is asked and answered; `host` with numpy on the CPU, two at a time; `device` with PyTorch on a GPU, as
stacks. Both give the same statistics under the same names; `choose` is the one place that decides between them.
"""
