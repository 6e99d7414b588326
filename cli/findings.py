"""A mined model on the terminal: what `show` prints, and `mine` at its end."""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from rich.console import RenderableType

from cli.numbers import (
    FEWEST_DRAWS,
    byte_size,
    count,
    decibel,
    fixed,
    moment,
    p_value,
    scientific,
    signed,
    z_score,
)
from cli.tables import Column, Columns, Table, escaped, make_facts, make_table, table_of
from cli.whereabouts import FileState, Whereabouts
from dna_zoo.text import shell_word
from patterndb.multiplicity import q_values
from patterndb.records import (
    RELATED,
    FitRecord,
    ModelRecord,
    Neighbour,
    PatternRecord,
    RoleRecord,
    SignatureRecord,
    Statistic,
)

__all__ = ["draw_findings", "draw_neighbours", "draw_partial", "draw_pattern", "marked"]

FINDING = 0.05
"""From this q down a figure is called a finding."""
FARTHEST = 6
"""Dimensions of the signature that the summary shows."""
BYTES = re.compile(r"[\d,]+ bytes ")
"""How notes begin that say what became of bytes."""
ONLY_ABOVE = (
    "[dim]Clusters are a finding above their null alone. Below it they may be heavy tails, rows of different sizes or"
    " single large values, and so may clusters.balance on either side.[/dim]"
)
"""Where a figure of clusters is among the farthest from chance."""


def draw_pattern(pattern: PatternRecord, whereabouts: Whereabouts) -> Iterator[RenderableType]:
    """`show`: everything but the single tensors."""
    yield from draw_findings(pattern)
    yield from _draw_evidence(pattern.statistics)
    yield from _draw_signature(pattern.signature, pattern.num_nulls)
    yield from _draw_beside_signature(pattern)
    yield make_facts(_whereabouts_facts(whereabouts, pattern.run))


def draw_findings(pattern: PatternRecord) -> Iterator[RenderableType]:
    """Header, class, the table by role and what is needed to read it."""
    yield _headline(pattern)
    yield _facts(pattern)
    yield from _account_line(pattern.model)
    yield from _reading_notes(pattern)
    yield _class_line(pattern)
    yield from _flat_line(pattern)
    yield ""
    yield _role_table(pattern)
    yield ""
    if pattern.fit is None:
        yield "Nothing was fitted: the file holds no weight matrix."
    else:
        yield make_facts(_fit_facts(pattern.fit))
    yield ""


def _headline(pattern: PatternRecord) -> str:
    """The model's key and where its weights come from."""
    model = pattern.model
    source = model.repo or "local files"
    if model.revision:
        source += f" @ {model.revision[:12]}"
    return f"[bold cyan]{escaped(model.key)}[/bold cyan]  {escaped(source)}"


def _facts(pattern: PatternRecord) -> str:
    """The line below it."""
    model = pattern.model
    kind = " ".join(part for part in (model.modality, model.family, model.architecture) if part)
    parts = [
        f"{count(model.num_weights)} weights in {count(model.num_tensors)} tensor{'s' * (model.num_tensors != 1)}",
        kind,
        model.licence or "",
        f"sha256 {model.sha256[:12]}",
        f"run {pattern.run}",
    ]
    return "[dim]" + escaped(" · ".join(part for part in parts if part)) + "[/dim]"


def _account_line(model: ModelRecord) -> Iterator[str]:
    """What became of the bytes of the file, where it is more than that all were read."""
    if model.quantisation:
        bits = f"{fixed(model.stored_bits, 2)} bits per weight in the file"
        yield f"Quantised by {escaped(model.quantisation)}, {bits}, and turned back"
    if model.unreadable_bytes:
        total = model.unreadable_bytes + (model.read_bytes or 0) + (model.tied_bytes or 0)
        share = f"{count(model.unreadable_bytes)} bytes ({model.unreadable_bytes / total:.1%}) could not be read"
        yield f"[bold]Partial[/bold]: {share}; all below is of the rest" if model.is_partial else share
    if model.wiring_source and model.wiring_source != "names":
        yield "Roles and axes are traced from the code of the architecture where names do not tell them"


def _reading_notes(pattern: PatternRecord) -> Iterator[str]:
    """What was said when the files were read, but for the bytes that the line before tells of."""
    for note in pattern.provenance.get("notes", ()):
        if not BYTES.match(note):
            yield f"[dim]{escaped(note)}[/dim]"


def _class_line(pattern: PatternRecord) -> str:
    """The class and what it is of, its margin, and all the scores, the largest first."""
    if not any(pattern.class_scores.values()):
        return f"Class [bold]{escaped(pattern.pattern_class)}[/bold]: a class needs at least 2 nulls (`--nulls N`)"
    ranked = sorted(pattern.class_scores.items(), key=lambda item: (-item[1], item[0]))
    scores = "  ".join(f"{name} {fixed(score, 2)}" for name, score in ranked)
    margin = fixed(pattern.class_margin, 2)
    scope = " (of the blocks)" if _blocks_row(pattern) else ""
    return f"Class [bold]{escaped(pattern.pattern_class)}[/bold]{scope}, margin {margin}   [dim]{scores}[/dim]"


def _flat_line(pattern: PatternRecord) -> Iterator[str]:
    """What no class says, since a random orthogonal matrix has it too: a spectrum that is flatter than chance."""
    from pipeline.analyse.sentences import FLATTER, flatter_than_chance, judge

    found = flatter_than_chance(judge(pattern.statistics))
    if found is not None:
        value, null = fixed(found.statistic.value), fixed(found.statistic.null_mean)
        yield f"{FLATTER}: participation {value}, null {null}, q {p_value(found.q)}"


ROLE_COLUMNS: Columns[Any] = (
    Column("Role", shrinks=True),
    Column("Tensors", right=True, optional=3),
    Column("Weights", right=True, optional=1),
    Column("R²", right=True, style="bold"),
    Column("Means", right=True, optional=2),
    Column("null R²", right=True),
    Column("Gain", right=True, style="green"),
    Column("SVD R²", right=True, optional=2),
    Column("Bits/w", right=True, optional=4),
    Column("Class", optional=1),
)


def _role_table(pattern: PatternRecord) -> Table:
    """One row a role, and one for all fitted tensors together."""
    rows: list[Sequence[str] | None] = [_role_row(role) for role in pattern.roles]
    if blocks := _blocks_row(pattern):
        rows += [None, blocks]
    if pattern.fit is not None:
        fitted = sum(role.tensors for role in pattern.roles if role.fit is not None)
        cells = _fit_cells(pattern.fit)
        # The class is of the blocks where there are any (`pipeline.analyse.classes.classify_model`).
        of_all = "" if blocks else pattern.pattern_class
        total = ("all fitted", count(fitted), count(pattern.fit.num_weights), *cells, of_all)
        rows += [total] if blocks else [None, total]
    return make_table(ROLE_COLUMNS, rows)


def _blocks_row(pattern: PatternRecord) -> Sequence[str] | None:
    """All matrices inside the blocks together, where some were fitted: what embeddings and heads would hide."""
    found = {item.name.removeprefix("fit.blocks."): item for item in pattern.statistics if "fit.blocks." in item.name}
    if "r2" not in found:
        return None
    r2, null, additive = found["r2"].value, found["r2"].null_mean, found.get("additive_r2")
    if "means_null_r2" in found:
        null = found["means_null_r2"].value
    return (
        "all in blocks",
        count(int(found["tensors"].value)),
        count(int(found["weights"].value)),
        fixed(r2),
        fixed(additive.value if additive else None),
        fixed(null),
        signed(None if null is None else r2 - null, 3),
        fixed(found["svd_r2"].value),
        fixed(found["bits_per_weight"].value, 2),
        pattern.pattern_class,
    )


def _role_row(role: RoleRecord) -> Sequence[str]:
    """The cells of a role."""
    return (
        role.role,
        count(role.tensors),
        count(role.weights),
        *_fit_cells(role.fit),
        role.pattern_class or fixed(None),
    )


def _fit_cells(fit: FitRecord | None) -> tuple[str, ...]:
    """R2, that of the means, that of the null that keeps them, the gain beyond it, SVD R2, bits per weight."""
    if fit is None:
        return (fixed(None),) * 6
    return (
        fixed(fit.r2),
        fixed(fit.additive_r2),
        fixed(fit.strictest_null_r2),
        signed(fit.strictest_gain, 3),
        fixed(fit.svd_r2),
        fixed(fit.bits_per_weight, 2),
    )


def _fit_facts(fit: FitRecord) -> Iterator[tuple[str, str]]:
    """What the figures of the table stand on, and what to hold them against."""
    share = 100 * fit.parameters / fit.num_weights if fit.num_weights else math.nan
    scope = "one DNA for each tensor" if fit.scope == "tensor" else "one DNA for the whole model"
    yield "DNA", f"{fit.dna_type}, {scope}, order {fit.order}, {fit.precision} on {fit.device}"
    size = f"{count(fit.parameters)} parameters ({fixed(share, 2)} % of the weights)"
    order = f"{fixed(fit.order_bits_per_weight)} of them the order"
    yield "Size", f"{size}; {fixed(fit.bits_per_weight)} bits per weight, {order}"
    errors = f"MSE {scientific(fit.mse)} against {scientific(fit.mean_mse)}"
    yield (
        "PSNR",
        f"{decibel(fit.psnr)}; the mean predictor {decibel(fit.mean_psnr)}; {errors}; peak {fixed(fit.peak, 2)}",
    )
    if fit.additive_numbers is not None:
        yield "Means", _means_text(fit)
    yield "Null", _null_text(fit)
    svd = f"R² {fixed(fit.svd_r2)} at as many parameters, {fixed(fit.svd_null_r2)} on the null"
    kept = f", {fixed(fit.svd_means_null_r2)} with the means kept" if fit.additive_numbers else ""
    yield "SVD", f"{svd}{kept}"
    if fit.dct_r2 is not None:
        yield "DCT", f"R² {fixed(fit.dct_r2)} at as many parameters, {fixed(fit.dct_null_r2)} on the null"
    yield (
        "Ceiling",
        f"R² {fixed(fit.ceiling_r2)}: the most that a code of this size reaches on Gaussian weights of these variances",
    )
    if fit.r2_8bit is not None:
        yield "8 bits", _text_at_8_bits(fit)
    if fit.sampled_weights is not None:
        interval = f"{fixed(fit.r2_low)} to {fixed(fit.r2_high)}"
        yield "Sample", f"R² is taken on {count(fit.sampled_weights)} weights; 95 % interval {interval}"


def _text_at_8_bits(fit: FitRecord) -> str:
    """The DNA with weights of 8 bits, with its null, the best of SVD and the DCT of as many bits, and the bound."""
    dna = f"R² {fixed(fit.r2_8bit)}, null {fixed(fit.null_r2_8bit)}, {fixed(fit.bits_per_weight_8bit)} bits per weight"
    if fit.svd_bits_r2 is None or fit.svd_bits_width is None:
        others = f"SVD of as many bits {fixed(fit.svd_r2_8bit)}, null {fixed(fit.svd_null_r2_8bit)}"
    else:
        width = f"SVD at {count(fit.svd_bits_width)} bits, its best width,"
        svd = f"{width} {fixed(fit.svd_bits_r2)}, null {fixed(fit.svd_bits_null_r2)}"
        dct = f"DCT of the canonical order {fixed(fit.dct_bits_r2)}, null {fixed(fit.dct_bits_null_r2)}"
        others = f"with as many bits: {svd}; {dct}"
    return f"{dna}; {others}; ceiling {fixed(fit.ceiling_r2_8bit)}"


def _means_text(fit: FitRecord) -> str:
    """The additive model with its numbers and its share."""
    if not fit.additive_numbers:
        return "no row or column means pay for themselves, so the null that keeps them is the same"
    return f"R² {fixed(fit.additive_r2)} with the {count(fit.additive_numbers)} row and column means that pay"


def _null_text(fit: FitRecord) -> str:
    """The gain over the null, with z where it can be known and the reason where it cannot."""
    if not fit.num_nulls or fit.gain is None:
        return "none was fitted, so the gain and its z are unknown (`--nulls N`)"
    fitted = f"{fit.null}, {count(fit.num_nulls)} fitted alike: {_gain_text(fit.gain, fit.null_r2_std, fit.num_nulls)}"
    if fit.additive_numbers:
        beyond = _gain_text(fit.gain_beyond_means, fit.means_null_r2_std, fit.num_nulls)
        fitted += f"; with the means kept: {beyond}"
    if fit.num_nulls < FEWEST_DRAWS:
        return f"{fitted}; z is unknown with fewer than {FEWEST_DRAWS} nulls (`--nulls N`)"
    return fitted


def _gain_text(gain: float | None, std: float | None, num_nulls: int) -> str:
    """A gain, with its z where there are nulls enough and they differ."""
    text = f"gain {signed(gain, 3)}"
    if gain is None or num_nulls < FEWEST_DRAWS:
        return text
    return f"{text}, z {z_score(gain / std, num_nulls)}" if std else f"{text}, z is unknown, the nulls do not differ"


def _draw_evidence(statistics: Sequence[Statistic]) -> Iterator[RenderableType]:
    """What a class rests on, of all matrices together: each value beside the mean of its null, with p and q."""
    from pipeline.analyse.classes import EVIDENCE

    names = [name for criterion in EVIDENCE for name in criterion.statistics]
    found = {each.name: (each, q) for each, q in zip(statistics, q_values([s.p for s in statistics]), strict=True)}
    if rows := [found[name] for name in names if name in found]:
        yield table_of(rows, ALL_MATRICES)
        yield ""


Tested = tuple[Statistic, float | None]
"""A statistic and its q."""
ALL_MATRICES: Columns[Tested] = (
    Column("All matrices", lambda each: each[0].name, shrinks=True),
    Column("Value", lambda each: fixed(each[0].value), right=True),
    Column("Null", lambda each: each[0].null or fixed(None)),
    Column("Null mean", lambda each: fixed(each[0].null_mean), right=True),
    Column("p", lambda each: p_value(each[0].p), right=True),
    Column("q", lambda each: p_value(each[1]), right=True),
)
NOT_IN_SIGNATURE: Columns[Tested] = (
    Column("Not in the signature", lambda each: each[0].name, shrinks=True),
    Column("Value", lambda each: fixed(each[0].value), right=True),
    Column("Null", lambda each: fixed(each[0].null_mean), right=True),
    Column("z", lambda each: z_score(each[0].z, each[0].num_nulls), right=True),
    Column("p", lambda each: p_value(each[0].p), right=True),
    Column("q", lambda each: p_value(each[1]), right=True),
)


def _draw_signature(signature: SignatureRecord, num_nulls: int) -> Iterator[RenderableType]:
    """How much of the signature the model has, where it is farthest from chance, and what could not be found."""
    held = sum(value is not None for value in signature.values)
    yield f"Signature version {signature.version}: {count(held)} of {count(len(signature.names))} dimensions"
    rows = zip(signature.names, signature.values, signature.z, signature.p, q_values(signature.p), strict=False)
    judged = [(p, -abs(z or 0.0), name, value, z, q) for name, value, z, p, q in rows if p is not None]
    if not judged:
        yield "[dim]p is unknown: it needs nulls (`--nulls N`).[/dim]"
        return
    judged.sort()
    numbers = ("Value", "z", "p", "q")
    columns: Columns[Any] = (
        Column("Farthest from chance", shrinks=True),
        *(Column(each, right=True) for each in numbers),
    )
    yield ""
    yield make_table(
        columns,
        (
            (name, fixed(value), z_score(z, num_nulls), p_value(p), p_value(q))
            for p, _, name, value, z, q in judged[:FARTHEST]
        ),
    )
    yield ""
    if any("/clusters." in name for _, _, name, *_ in judged[:FARTHEST]):
        yield ONLY_ABOVE
        yield ""
    yield from _what_no_tensor_reaches(num_nulls)


def _what_no_tensor_reaches(num_nulls: int) -> Iterator[RenderableType]:
    """In words, where a single tensor has too few draws to be a finding whatever its weights are."""
    from pipeline.analyse.evidence import draws_for, smallest_p

    if (least := smallest_p(num_nulls)) > FINDING:
        yield (
            f"[dim]With {count(num_nulls)} null{'s' * (num_nulls != 1)} no figure of a single tensor has p below"
            f" {fixed(least)}, nor has one of a role with one tensor: none of these can be a finding (q <= {FINDING})."
            f" At least `--nulls {draws_for(FINDING)}` is needed for that.[/dim]"
        )
        yield ""


def _draw_beside_signature(pattern: PatternRecord) -> Iterator[RenderableType]:
    """What was tested of the whole model and is no part of the signature."""
    known = {name.rpartition("/")[2] for name in pattern.signature.names}
    q = q_values([each.p for each in pattern.statistics])
    own = [(each, q) for each, q in zip(pattern.statistics, q, strict=True) if each.p and each.name not in known]
    if own:
        yield table_of(own, NOT_IN_SIGNATURE)
        yield ""


def _whereabouts_facts(whereabouts: Whereabouts, run: str) -> Iterator[tuple[str, str]]:
    """When and from what the pattern was found, and which of its files are there."""
    source = f", from {escaped(whereabouts.source)}" if whereabouts.source else ""
    yield "Found", f"{moment(whereabouts.found)} UTC by run {escaped(run)}{source}"
    if whereabouts.same_files:
        yield "Weights", f"same file as {escaped(', '.join(whereabouts.same_files))}"
    if whereabouts.versions > 1:
        yield "Versions", f"{whereabouts.versions} sets of weights are kept under this key (dna-zoo models versions)"
    if whereabouts.folder:
        yield "Files", f"{escaped(whereabouts.folder)}: {', '.join(_file_text(file) for file in whereabouts.files)}"
    if whereabouts.command:
        yield "Repeat", f"{escaped(whereabouts.command)}, or dna-zoo rerun {escaped(shell_word(run))}"
    if dna := next((file.url for file in whereabouts.files if file.kind == "checkpoint" and file.url), None):
        yield "DNA by URL", escaped(dna)


def _file_text(file: FileState) -> str:
    """Kind and size, and what is wrong with the file."""
    wrong = {"intact": "", "missing": " [red](missing)[/red]", "changed": " [red](changed since)[/red]"}
    return f"{file.kind.replace('_', ' ')} {byte_size(file.num_bytes)}{wrong[file.state]}"


def draw_neighbours(
    model: str, neighbours: Iterable[Neighbour], partial: Collection[str] = ()
) -> Iterator[RenderableType]:
    """The models nearest to `model`, and how to read their distances; those of `partial` are marked."""
    columns: Columns[Neighbour] = (
        Column(f"Nearest to {escaped(model)}", lambda each: marked(each.model, partial), shrinks=True),
        Column(
            "Weights", lambda each: "same file" if each.is_same_file else fixed(each.weights), right=True, style="bold"
        ),
        Column("Percentile", lambda each: fixed(each.weights_percentile, 1), right=True, optional=1),
        Column("Kind", lambda each: fixed(each.kind), right=True),
        Column("Percentile", lambda each: fixed(each.kind_percentile, 1), right=True, optional=1),
    )
    neighbours = list(neighbours)
    yield table_of(neighbours, columns)
    yield f"[dim]Weights: 0 a copy, up to {RELATED:g} related, 1 unrelated. Kind: how alike, 0 the same.[/dim]"
    errors = [each.kind_percentile_error for each in neighbours if each.kind_percentile_error is not None]
    if errors:
        yield f"[dim]Percentiles: among a random sample of pairs, standard error up to {fixed(max(errors), 1)}.[/dim]"
    yield from draw_partial(partial, (model, *(each.model for each in neighbours)))
    yield ""


def marked(model: str, partial: Collection[str]) -> str:
    """The model's key, and that it is partial if it is one of those."""
    return f"{escaped(model)} (partial)" if model in partial else escaped(model)


def draw_partial(partial: Collection[str], shown: Iterable[str]) -> Iterator[RenderableType]:
    """What is to be known of the models that are shown and partial; nothing where none is."""
    names = [model for model in dict.fromkeys(shown) if model in partial]
    if names:
        yield (
            f"[bold]Partial[/bold]: {escaped(', '.join(names))}: much of the file could not be read, and every figure"
            " is of the rest."
        )
