"""Faults of the world around dna-zoo: full and read-only disks, clocks that jump, servers and processes that die, others
that write at the same time, disks without locks; and what becomes of a mine and its database."""
