"""The kinds of figures, one file each: what computes its view, what draws it on axes, what makes a page of it.

`kinds` lists them. They take what they show from `explorer.source`, and their looks from `explorer.style`.
"""
