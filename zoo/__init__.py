"""The zoo: which models can be mined, and what each of their tensors is."""
