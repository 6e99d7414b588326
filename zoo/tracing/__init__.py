"""Tracing: the wiring of a network from its own code, whatever its tensors are called.

A tiny model is run once, and every axis of every tensor is followed through the operations (`trace`, `rules_*`) in an
algebra of axes (`axes`). Out come groups of axes that move together, with free signs and scales (`derive`, `freedom`),
and every claim is proven on the tiny model (`prove`). Here: what needs torch and, to build models, transformers. Not
here: files, names of known families.
"""
