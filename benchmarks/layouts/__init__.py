"""Layouts of checkpoints as people have them, made small on disk, and what must be read of each."""

from benchmarks.layouts import composed, configs, containers, folders, quantised, stacks, values

__all__ = ["LAYOUTS"]

LAYOUTS = tuple(
    layout for theme in (quantised, composed, stacks, containers, folders, values, configs) for layout in theme.LAYOUTS
)
