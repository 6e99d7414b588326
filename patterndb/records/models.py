"""What is kept: a model, its files, and everything found in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from patterndb.records.measured import FitRecord, RoleRecord, SignatureRecord, Statistic, TensorRecord

__all__ = ["ArtifactRecord", "ModelRecord", "PatternRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """The mined checkpoint. `sha256` identifies the weights; `key` is the name people ask by."""

    key: Annotated[str, "Name that the model is asked for by."]
    sha256: Annotated[str, "sha256 of the weight file, or of the concatenated digests of its shards."]
    repo: Annotated[str | None, "Repository on the Hugging Face hub; empty for a local directory."] = None
    revision: Annotated[str | None, "Commit in that repository, 40 hex digits."] = None
    tier: Annotated[int | None, "Tier in the zoo, 1 to 5; empty for a model without a card."] = None
    modality: Annotated[str | None, "What the model was trained on: text, vision, audio, code, ..."] = None
    family: Annotated[str | None, "Family of architectures: bert, gpt2, vit, ..."] = None
    architecture: Annotated[str | None, "encoder, decoder, encoder-decoder, cnn or hybrid."] = None
    specialty: Annotated[str | None, "What it is made for: general, multilingual, code, science, ..."] = None
    objective: Annotated[str | None, "Training objective: masked-lm, causal-lm, classification, ..."] = None
    is_distilled: Annotated[bool | None, "Whether it was distilled from another model."] = None
    shares_layers: Annotated[
        bool | None, "Whether one stored layer serves for several, so that depth has no meaning."
    ] = None
    licence: Annotated[str | None, "Licence of the weights as stated by their authors."] = None
    parents: Annotated[tuple[str, ...], "Models it was made from, as stated, separated by semicolons."] = ()
    num_weights: Annotated[int, "Trained weights in the file: tied ones once, buffers not."] = 0
    num_tensors: Annotated[int, "Trained tensors in the file."] = 0
    quantisation: Annotated[
        str | None, "Scheme by which weights are quantised in the file; empty for plain numbers."
    ] = None
    stored_bits: Annotated[float | None, "Bits in the file of one of these weights, scales included."] = None
    read_bytes: Annotated[int | None, "Bytes of tensors in the file that were read as weights."] = None
    tied_bytes: Annotated[int | None, "Bytes of second copies."] = None
    buffer_bytes: Annotated[int | None, "Bytes of tensors that were never trained."] = None
    unreadable_bytes: Annotated[int | None, "Bytes of tensors that could not be read."] = None
    is_partial: Annotated[bool | None, "Whether a considerable share of the model could not be read."] = None
    wiring_source: Annotated[
        str | None, "What says roles and axes of tensors: `names`, or `names and tracing` of the architecture's code."
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRecord:
    """A file the run left behind, relative to the home folder."""

    kind: str
    """`checkpoint`, `summary`, `training_history`, `order`, `log`."""
    path: str
    sha256: str
    num_bytes: int
    url: str | None = None
    """Where other machines find it; None if it is in the home folder alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternRecord:
    """Everything found in one model under one set of settings."""

    model: ModelRecord
    pattern_key: str
    """Content key: the same weights, settings, seed, device kind and stage versions give the same key."""
    run: str
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    """Versions, device, seed."""
    pattern_class: str
    class_scores: Mapping[str, float]
    class_margin: float
    fit: FitRecord | None
    """Over all fitted tensors together; None where nothing could be fitted."""
    roles: tuple[RoleRecord, ...]
    tensors: tuple[TensorRecord, ...]
    signature: SignatureRecord
    statistics: tuple[Statistic, ...] = ()
    """Of the model as a whole."""
    clusters: Mapping[str, Any] = field(default_factory=dict)
    """Finite JSON for `compare`'s cluster overlap: role -> `labels` of the rows (a list, or one for each tensor by
    name), and `centroids` with their `weights`, or `norms` with their `sizes`."""
    frequency_profile: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Role -> band energies (null-calibrated), for `compare`'s frequency correlation."""
    artifacts: tuple[ArtifactRecord, ...] = ()

    @property
    def num_nulls(self) -> int:
        """Draws of the null that the statistics of a tensor have; those of the fit are its own."""
        return max((each.num_nulls for each in self.statistics if not each.name.startswith("fit.")), default=0)
