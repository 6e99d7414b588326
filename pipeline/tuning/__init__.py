"""Search the settings of a fit: quality against throughput against memory."""
