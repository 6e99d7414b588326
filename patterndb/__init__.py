"""The pattern database: what a mined pattern consists of, and how it is kept and asked.

Here: records, tables, the store, the schema, exports, the search for similar patterns.
Not here: models, files of weights, and how a figure is measured.
"""
