"""Which models are near to one: exact among few, by bounds or candidates and then exact among many; percentiles.

`store` is the part of the database that other packages ask. What a distance is stands in `patterndb.similarity`.
"""
