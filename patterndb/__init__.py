"""The pattern database: what a mined pattern consists of, how it is kept, and what can be asked of it.

Here: records, tables, the store, the schema, exports, the search for similar patterns.
Not here: models, weight files, and how a number is measured.
"""
