"""Does a model that starts from a shared pattern learn better? `python -m benchmarks.initialise`."""
