"""What `benchmarks.gpu` watches: reads by the host, memory, a limit of time, and the analysis beside that of a CPU."""
