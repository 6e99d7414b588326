"""What stays on the disk of a stage that is done: its folder, its artifacts by URL, the versions that made it.

Not here: what a stage computes, its key (`pipeline.stage_keys`), and the database.
"""
