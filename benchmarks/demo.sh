#!/bin/sh
# What `make mine` runs: the real MiniLM-L6 and the specimens that ship with the project, into the default database.
# $1: the `dna-zoo` to run.
set -eu
specimens="$(dirname "$0")/../data/specimens"
set -- "$1" mine minilm-l6 $(find "$specimens" -mindepth 2 -maxdepth 2 -name config.json -exec dirname {} \; | sort)
exec "$@"
