"""Models from strangers: generated inputs that are wrong, hostile or odd, and a judge of what dna-zoo makes of each."""
