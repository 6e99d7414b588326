"""What a report says was found: sentences of numbers, each with its q and its n; nothing that is not significant."""

from collections.abc import Sequence
from dataclasses import dataclass

from explorer.leaves import entries_of
from explorer.source import Source
from explorer.view import p_text
from patterndb.records import PatternRecord
from pipeline.analyse.questions import QuestionsAnswered, ask
from pipeline.analyse.sentences import ALPHA, Sentence, judge, sentences_of
from pipeline.analyse.taxonomy import Taxonomy, classify

__all__ = ["Catalog", "ModelFindings", "catalog_of", "catalog_sentences", "model_findings", "shared_sentences"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFindings:
    """Of one model: how many statistics were tested and differ from their nulls, and what the main ones mean."""

    model: str
    tested: int
    found: int
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """What is asked of several models together."""

    taxonomy: Taxonomy
    questions: QuestionsAnswered


def model_findings(pattern: PatternRecord) -> ModelFindings:
    """- `pattern`: with its tensors."""
    judged = judge(pattern.statistics).values()
    return ModelFindings(
        model=pattern.model.key,
        tested=sum(each.q is not None for each in judged),
        found=sum(each.is_found for each in judged),
        sentences=sentences_of(pattern),
    )


def catalog_of(source: Source, models: Sequence[str]) -> Catalog | None:
    """None for a single model. Raises `StoreError` for signatures of different versions."""
    entries = entries_of(source, models)
    if len(entries) < 2:
        return None
    return Catalog(taxonomy=classify(entries), questions=ask(entries, source.database.model_statistics()))


def catalog_sentences(catalog: Catalog) -> tuple[Sentence, ...]:
    """Of the levels at which the tree agrees with what is declared, and of the questions that are answered yes."""
    levels = (
        Sentence(
            text=(
                f"The tree of the models agrees with their declared {each.level}: adjusted Rand "
                f"{each.adjusted_rand:.2f} (0 by chance), q {p_text(each.q)}, n = {each.num_lineages} lineages, "
                f"{each.num_models} models."
            ),
            q=each.q,
            n=each.num_lineages,
        )
        for each in catalog.taxonomy.agreement
        if each.q is not None and each.q <= ALPHA and each.adjusted_rand is not None and not each.note
    )
    answers = (
        Sentence(
            text=f"{each.question} Yes: {each.sentence} (q {p_text(each.q)}, n = {each.lineages} lineages)",
            q=each.q,
            n=each.lineages,
        )
        for each in catalog.questions.answers
        if each.verdict == "yes" and each.q is not None and each.q <= ALPHA
    )
    return (*levels, *answers)


def shared_sentences(findings: Sequence[ModelFindings]) -> tuple[Sentence, ...]:
    """What is said of one model or more, once, with how many it is said of: those said of most first."""
    by_claim: dict[str, list[tuple[str, Sentence]]] = {}
    for model in findings:
        for each in model.sentences:
            by_claim.setdefault(each.claim, []).append((model.model, each))
    ranked = sorted(by_claim.items(), key=lambda item: -len(item[1]))
    return tuple(_shared(claim, told, [model.model for model in findings]) for claim, told in ranked)


def _shared(claim: str, told: Sequence[tuple[str, Sentence]], models: Sequence[str]) -> Sentence:
    said_of = [model for model, _ in told]
    others = [model for model in models if model not in said_of]
    q, sizes = max(each.q for _, each in told), [each.n for _, each in told]
    which = f"not of {', '.join(others)}" if len(others) < len(said_of) else f"of {', '.join(said_of)}"
    spread = str(sizes[0]) if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    return Sentence(
        text=(
            f"{claim}. So in {len(told)} of {len(models)} models{', ' + which if others else ''} (each with q at most "
            f"{max(q, 0.001):.3f}, n = {spread} matrices)."
        ),
        q=q,
        n=min(sizes),
        claim=claim,
    )
