"""How well kin can be told from the rest: metrics, baselines, and the tables of `benchmarks/retrieval.py`."""
