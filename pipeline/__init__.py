"""The pipeline: fetch -> extract -> order -> fit -> analyse -> persist, and the runner that chains them.

Here at the top: the chain of one model, keys of its stages, settings, and what several rooms need (orders, nulls,
decompositions). Each stage has a room of its own. Not here: the database (`patterndb`), facts about models (`zoo`).
"""
