"""All that a report holds, gathered once, for every form that it is written in."""

from collections.abc import Sequence
from dataclasses import dataclass

from dna_zoo.errors import NotMinedError, did_you_mean
from explorer.report.figures import MOST_DETAILED, Failure, ReportFigure, draw_planned, plan_figures
from explorer.report.findings import ModelFindings, catalog_of, catalog_sentences, model_findings, shared_sentences
from explorer.report.limits import limits_of_catalog, limits_of_model, mixed_settings
from explorer.report.methods import methods_of, settings_rows
from explorer.report.tables import Rows, model_rows, role_rows
from explorer.source import Source
from patterndb.records import PatternRecord
from pipeline.analyse.sentences import Sentence

__all__ = ["Report", "gather", "named_patterns"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Text in it may come from outside, and is escaped where it is written."""

    title: str
    models: tuple[str, ...]
    together: tuple[Sentence, ...]
    """Findings of the models together."""
    findings: tuple[ModelFindings, ...]
    limits: tuple[tuple[str, tuple[str, ...]], ...]
    """What could not be said: a sentence, and the models of which it is true, none for what is of no single model."""
    table: Rows
    roles: tuple[tuple[str, Rows], ...]
    figures: tuple[ReportFigure, ...]
    methods: str
    settings: Rows


def named_patterns(source: Source, names: Sequence[str]) -> tuple[PatternRecord, ...]:
    """The patterns of these models, or of all that a run mined, or of all models where none is named.

    Raises `NotMinedError`, naming near misses.
    """
    database = source.database
    known = database.model_keys()
    if not known:
        raise NotMinedError("No model is mined in this database.", hint="Mine one: `dna-zoo mine minilm-l6`.")
    runs = (
        {name: run for run in database.runs() for name in (run.request_key, run.run)} if set(names) - set(known) else {}
    )
    found: dict[str, PatternRecord] = {}
    for name in names or known:
        if name in known:
            found[name] = database.load_pattern(name)
        elif name in runs:
            done = [model.key for model in runs[name].models if model.status == "done"]
            found |= {key: database.load_pattern(key, run=name) for key in done}
        else:
            raise NotMinedError(
                f"{name!r} is neither a mined model nor a run.",
                hint=did_you_mean(name, (*known, *runs)) or "See `dna-zoo runs`.",
            )
    if not found:
        raise NotMinedError(f"Run {names[0]!r} has mined no model.", hint="See `dna-zoo runs`.")
    return tuple(found.values())


def gather(source: Source, names: Sequence[str] = (), *, kinds: Sequence[str] | None = None) -> Report:
    """Raises what `named_patterns` does. What cannot be drawn or compared is told in the report.

    - `kinds`: of figures; all that these models can have where None.
    """
    patterns = named_patterns(source, names)
    models = tuple(each.model.key for each in patterns)
    drawn = [draw_planned(plan, source) for plan in plan_figures(source, patterns, kinds)]
    catalog = catalog_of(source, models)
    findings = tuple(map(model_findings, patterns))
    limits: dict[str, list[str]] = {}
    for pattern in patterns:
        for sentence in limits_of_model(pattern):
            limits.setdefault(sentence, []).append(pattern.model.key)
    general = (*mixed_settings(patterns), *(limits_of_catalog(catalog) if catalog else ()))
    return Report(
        title=f"Structure in the weights of {models[0] if len(models) == 1 else f'{len(models)} models'}",
        models=models,
        together=(*shared_sentences(findings), *catalog_sentences(catalog)) if catalog else (),
        findings=findings,
        limits=(
            *((sentence, tuple(whose)) for sentence, whose in limits.items()),
            *((sentence, ()) for sentence in (*general, *_figures_left_out(source, patterns, drawn))),
        ),
        table=model_rows(patterns),
        roles=tuple((each.model.key, role_rows(each)) for each in patterns if each.fit is not None),
        figures=tuple(each for each in drawn if isinstance(each, ReportFigure)),
        methods=methods_of(patterns),
        settings=settings_rows(patterns),
    )


def _figures_left_out(
    source: Source, patterns: Sequence[PatternRecord], drawn: Sequence[ReportFigure | Failure]
) -> "list[str]":
    told = [
        f"{each.plan.kind} of {', '.join(each.plan.models)} could not be drawn: {each.message}"
        for each in drawn
        if isinstance(each, Failure)
    ]
    if len(patterns) > MOST_DETAILED:
        told.append(
            f"Single models have figures of their own in a report of at most {MOST_DETAILED}: `dna-zoo report KEY`."
        )
    current = {each.pattern_key for each in source.database.patterns() if each.is_current}
    old = [each.model.key for each in patterns if each.pattern_key not in current]
    if old:
        told.append(f"Figures show the newest patterns; those of {', '.join(old)} in this run are older.")
    return told
