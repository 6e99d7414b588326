"""Fetch: from a name to verified files on this disk.

Here: what a model is asked for by, the plan of a download, the Hub client, checksums, facts from the model card.
Not here: what is inside a file of weights. Nothing else in the pipeline uses the network.
"""
