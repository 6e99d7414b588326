"""Tuning: search the settings of a fit for structure gain, throughput and memory.

Here: what may be searched, the study, one trial in a process of its own.
Not here: how a fit works (`fit`), what its settings mean (`settings`).
"""
