"""How the two databases are reached: engines and transactions, servers that restart, the version of the schema.

Here too: what both must keep alike (floats that are no numbers, rows in batches). Not here: which tables there are.
"""
