"""Entry point of the console script: what has to be so before anything is imported."""

import gc

__all__ = ["collect_as_usual", "main"]

RARELY, USUALLY = 50_000, gc.get_threshold()
"""Objects made, less those gone, between two searches for garbage."""


def main() -> None:
    """Run the command that was asked for, and end the process with its exit code."""
    # All that a short command makes lives to its end: nothing is found by looking for garbage then and at the exit.
    gc.set_threshold(RARELY)
    try:
        from cli.main import app

        app()
    finally:
        if gc.get_threshold()[0] == RARELY:
            gc.freeze()


def collect_as_usual() -> None:
    """For a command that works longer than it starts."""
    gc.set_threshold(*USUALLY)
