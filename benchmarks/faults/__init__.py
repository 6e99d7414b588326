"""Faults of the world around dna-zoo, and what becomes of a mine and its database: processes and servers that die,
disks that are full, read-only or without locks, clocks that jump, others that write at the same time."""
