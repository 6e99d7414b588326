"""How well related models are told from unrelated ones: metrics, baselines, and the tables of two benchmarks."""
