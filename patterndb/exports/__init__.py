"""Tables for people and papers: which columns there are, their values as frames of pandas, and how files are written.

`store` is the part of the database that other packages ask.
"""
