"""The `dna-zoo` command."""
