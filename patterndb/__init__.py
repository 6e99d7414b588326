"""The pattern database: tables, store, similarity, catalog."""
