#!/bin/sh
# What `make mine` runs: the specimens that ship with the project and the real MiniLM-L6, into the default database.
# $1: the `dna-zoo` to run.
set -eu
specimens="$(dirname "$0")/../data/specimens"
echo "Mining the specimens of $specimens, then MiniLM-L6. What is done is kept; a second time costs nothing." >&2
find "$specimens" -mindepth 2 -maxdepth 2 -name config.json -exec dirname {} \; | sort | xargs "$1" mine --format quiet
"$1" mine minilm-l6
"$1" taxonomy
"$1" questions --without bert-untrained
