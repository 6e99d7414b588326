"""A request from beginning to end: what it will take, who mines its models and where, what is kept of the run.

The way of one model is `pipeline.chain`; here stands what is around it.
"""
