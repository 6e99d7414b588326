"""The kinds of hostile input, by name: what each generator is called in the table, and how many there are of it."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from benchmarks.hostile.kinds import databases, exports, files, headers, models, pickles, secrets, servers, words
from benchmarks.hostile.place import Kind, Place, Trial
from benchmarks.hostile.strange import pick

__all__ = ["KINDS"]


def _mined(place: Place, rng: np.random.Generator) -> Trial:
    """A model of any of the kinds before, mined, shown and exported in place of read alone."""
    makers = (
        models.odd_names, models.part_names, models.config_values, models.front_matter, models.special_file,
        models.damaged_values, models.extreme_values, models.expanded_tensors, headers.long_names, headers.odd_shapes,
        headers.number_formats, headers.header_values, pickles.pickle_calls, pickles.archive_fields, files.damaged_gguf,
    )  # fmt: skip
    return pick(rng, makers)(replace(place, is_whole=True), rng)  # type: ignore[no-any-return]


KINDS: Mapping[str, Kind] = {
    "names of tensors": Kind(make=models.odd_names, share=3),
    "names like parts": Kind(make=models.part_names, share=1.5),
    "long names": Kind(make=headers.long_names, share=1),
    "settings of a config": Kind(make=models.config_values, share=3),
    "bytes of a config": Kind(make=models.config_bytes, share=2),
    "model cards": Kind(make=models.front_matter, share=2),
    "FIFOs, devices, links": Kind(make=models.special_file, share=1),
    "indexes of shards": Kind(make=models.odd_index, share=2),
    "adapters": Kind(make=models.adapters, share=1.5),
    "values of a header": Kind(make=headers.header_values, share=4),
    "bytes of a header": Kind(make=headers.header_bytes, share=4),
    "shapes": Kind(make=headers.odd_shapes, share=3),
    "number formats": Kind(make=headers.number_formats, share=2),
    "many tensors": Kind(make=headers.many_tensors, share=0.1, is_quick=False),
    "bytes of weights": Kind(make=models.damaged_values, share=4),
    "extreme values": Kind(make=models.extreme_values, share=1.5),
    "sparse files": Kind(make=models.sparse_file, share=0.5),
    "pickles that call": Kind(make=pickles.pickle_calls, share=3),
    "instructions of pickles": Kind(make=pickles.pickle_opcodes, share=4),
    "fields of archives": Kind(make=pickles.archive_fields, share=4),
    "archives packed again": Kind(make=pickles.repacked_archive, share=2),
    "archives that grow": Kind(make=pickles.zip_bomb, share=0.5),
    "the older format": Kind(make=pickles.old_format, share=3),
    "tensors of torch": Kind(make=models.expanded_tensors, share=2),
    "GGUF files": Kind(make=files.damaged_gguf, share=3),
    "DNA files": Kind(make=files.damaged_dna, share=3),
    "library files": Kind(make=files.damaged_pattern, share=1.5),
    "damaged databases": Kind(make=databases.damaged_database, share=8),
    "odd cells of databases": Kind(make=databases.odd_rows, share=2),
    "files of a home": Kind(make=databases.damaged_home, share=0.2, is_quick=False),
    "cells of exports": Kind(make=exports.strange_cells, share=0.5),
    "targets of exports": Kind(make=exports.export_targets, share=0.5),
    "passwords in URLs": Kind(make=secrets.passwords, share=2.5),
    "texts with passwords": Kind(make=secrets.passwords_kept, share=3),
    "hubs": Kind(make=servers.hub_answers, share=0.3, is_quick=False),
    "silent databases": Kind(make=servers.silent_database, share=0.15, is_quick=False),
    "names of folders": Kind(make=words.folder_names, share=0.4),
    "words of commands": Kind(make=words.command_words, share=0.5),
    "models that are mined": Kind(make=_mined, share=0.1, is_quick=False),
}
