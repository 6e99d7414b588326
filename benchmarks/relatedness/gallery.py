"""The members of the population: the matrices of each, and the signature that mining would give it.

The stages are the pipeline's own (extract, order, analyse); nothing is fitted and no database is written. Statistics
take seconds a model and are kept in `home` under a key of all they depend on; the fingerprint takes hundredths of a
second and is computed every time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cattrs import Converter

from benchmarks.population.storage import is_made, read_facts
from patterndb.records import SignatureRecord
from pipeline.analyse.measures.host import ANALYSE_VERSION
from pipeline.analyse.signature import BLOCK_BOUND, BLOCK_DIMENSION, MATRIX_DIMENSIONS, make_signature
from pipeline.analyse.stage import analyse_model
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.fingerprint.fingerprint import measure_fingerprint
from pipeline.fingerprint.named_tensors import measure_named_tensors
from pipeline.kept.stages import StageStore, content_key
from pipeline.order import ORDER_VERSION, Rows, canonicalise, seriate_tensor
from pipeline.settings import AnalysisSettings
from pipeline.weights.files import WeightFiles
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from zoo.tensors import TensorSpec

__all__ = ["Member", "read_members", "signature_of", "weight_files"]

Matrix = npt.NDArray[np.float32]
_converter = Converter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One model of the population and what is known of it."""

    name: str
    folder: Path
    architecture: str
    split: str
    relation: str
    hardness: str
    roots: frozenset[str]
    """Its families; a family of its own for a shuffled copy."""
    origin: str
    """The root it was made from, of a shuffled copy too: members of one origin are drawn together in a bootstrap."""

    def is_related(self, other: "Member") -> bool:
        return bool(self.roots & other.roots)


def read_members(folder: Path) -> tuple[Member, ...]:
    """All whole members in `folder`, by name."""
    found = (read_facts(path) for path in sorted(folder.iterdir()) if is_made(path))
    return tuple(_member(facts, folder) for facts in found)


def weight_files(member: Member, home: Path) -> WeightFiles:
    """The member's files, verified, as `mine` fetches them."""
    return fetch(ModelRequest(name=str(member.folder)), home=home)


def signature_of(member: Member, home: Path, settings: AnalysisSettings, seed: int) -> SignatureRecord:
    """The signature that mining gives; its statistics are computed unless `home` has them."""
    files = weight_files(member, home)
    key = content_key(
        ORDER_VERSION, ANALYSE_VERSION, _scales(), files.digest, dict(files.config), asdict(settings), seed
    )
    finished = StageStore(home).run("statistics", key, lambda directory: _statistics(files, settings, seed))
    statistics = _converter.structure(finished.result, SignatureRecord)
    with WeightReader(files) as reader:
        specs = extract(files).specs
        fingerprint = make_signature(
            (), measure_fingerprint(specs, reader.pieces), measure_named_tensors(specs, reader.pieces)
        )
    # By name, since statistics may have been kept with another version of the fingerprint.
    known = dict(zip(statistics.names, zip(statistics.values, statistics.z, statistics.p, strict=True), strict=True))
    rows = [
        known.get(name, (None, None, None)) if value is None else (value, None, None)
        for name, value in zip(fingerprint.names, fingerprint.values, strict=True)
    ]
    values, z, p = zip(*rows, strict=True)
    return replace(fingerprint, values=values, z=z, p=p)


def _statistics(files: WeightFiles, settings: AnalysisSettings, seed: int) -> Any:
    specs = extract(files).specs
    with WeightReader(files) as reader:

        def load(spec: TensorSpec, rows: Rows) -> Matrix:
            matrix = reader.matrix(spec)
            return canonicalise(matrix, seriate_tensor(matrix, spec))[rows] if spec.is_matrix else matrix

        analysis = analyse_model(specs, load, in_file_order=reader.pieces, settings=settings, seed=seed)
    return _converter.unstructure(make_signature(analysis.tensors))


def _scales() -> list[list[Any]]:
    """What turns statistics into dimensions."""
    return [
        [name, dimension.effect.__name__, dimension.scale, dimension.centre]
        for name, dimension in sorted((MATRIX_DIMENSIONS | {BLOCK_BOUND: BLOCK_DIMENSION}).items())
    ]


def _member(facts: Mapping[str, Any], folder: Path) -> Member:
    parents: Sequence[str] = facts["parents"]
    return Member(
        name=facts["name"],
        folder=folder / facts["name"],
        architecture=facts["architecture"],
        split=facts["split"],
        relation=facts["relation"],
        hardness=facts["hardness"],
        roots=frozenset(facts["roots"]),
        origin=parents[0] if facts["relation"] == "shuffled" else facts["root"],
    )
