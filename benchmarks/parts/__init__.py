"""What several benchmarks share, and what they start in a process of its own. Nothing here is a command to type."""
