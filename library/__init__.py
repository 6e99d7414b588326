"""Patterns that models share; rebuilt and new models made from them.

May import `pipeline`, `zoo`, `patterndb` and the errors; what needs `transformers` imports it where it is needed.
"""
