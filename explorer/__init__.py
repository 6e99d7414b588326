"""Pictures of what was mined: figures for papers, interactive pages, the dashboard, the report.

A view computes and holds numbers; what draws takes a view and computes nothing. Nothing here fits, and nothing here
writes to the database.
"""
