"""Large databases: models written in bulk or drawn, commands measured on them, and the figures of docs/scale.md."""
