"""The figures of docs/wiring.md, from what `benchmarks.wiring` left.

python -m benchmarks.wiring --page
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.parts.scaffold import read_results, write_figures
from zoo.tracing.agreement import NAMES_STAND

__all__ = ["COMMAND", "GROUPS", "PAGE", "WORDS", "group_of", "page_lines", "write_page"]

PAGE = Path(__file__).parent.parent.parent / "docs" / "wiring.md"
COMMAND = "python -m benchmarks.wiring --page"
Found = Mapping[str, Any]
NOT_RUN = re.compile(r"^RuntimeError: (no inputs are known|[a-z_]+(\+[a-z_]+)*: )")
"""Of a type that is built and was given no inputs that it takes (`zoo.tracing.build`)."""
GROUPS: tuple[tuple[str, re.Pattern[str], str, str], ...] = tuple(
    (title, re.compile(pattern), right, bare)
    for title, pattern, right, bare in (
        (
            "sign held by names, free by tracing",
            r"^signs of \w+ fixed by name",
            "tracing: flipping it was run and changes nothing",
            "its odd moments say something of the training's chance too",
        ),
        (
            "sign free by names, held by tracing",
            r"^signs of \w+ free by name",
            "tracing: a norm subtracts the mean, an activation stands behind it",
            "loses odd moments: what names do not decide counts as free",
        ),
        (
            "attention by names, another matrix by tracing",
            r"^role attention_\w+ by name",
            "tracing: no softmax of a product of two (linear attention, state spaces, indexers)",
            "pooled with attention; pairs of it are measured as if they met in heads",
        ),
        (
            "columns in order by names, channels by tracing",
            r"^cols position by name",
            "tracing: what it reads is channels",
            "another order of these channels is not undone",
        ),
        (
            "columns free by names, in order by tracing",
            r"^cols \w+ by name, position",
            "tracing: a kernel reads pixels or sound",
            "loses bits: an order that is real is thrown away",
        ),
        (
            "stored the other way round",
            r"^order of axes",
            "tracing",
            "rows and columns are exchanged",
        ),
        (
            "other axes",
            r"^(?:rows|cols) ",
            "tracing",
            "the word of an axis",
        ),
        (
            "other roles",
            r"^role ",
            "tracing: what multiplies what",
            "pooled under another word",
        ),
    )
)
"""Title, which disagreements, who is right (and decides where there is a `config.json`), what a bare file loses."""
WORDS: Mapping[str, str] = {
    "signs of rows": "signs that names take as free, and the tiny model holds",
    "signs of cols": "signs that names take as free, and the tiny model holds",
    "role": "words for a role",
    "rows": "words for an axis",
    "cols": "words for an axis",
}


def group_of(disagreement: str) -> str:
    """The title of the group that one belongs to, given as `name: what both say`."""
    said = disagreement.split(": ", 1)[1]
    return next(title for title, pattern, *_ in GROUPS if pattern.search(said))


def write_page() -> None:
    """Put the figures between the two marks of the page."""
    write_figures(PAGE, COMMAND, page_lines())


def page_lines() -> Iterator[str]:
    """The figures, from what is kept."""
    found = read_results("wiring")
    yield from _counts(found)
    yield from _groups(found)
    yield from _words()


def _counts(found: Found) -> Iterator[str]:
    counts, differ = found["counts"], found["disagreements"]
    built = sum(number for status, number in counts.items() if status != "not built")
    yield (
        f"Of {len(found['types'])} model types of `transformers` {built} are built from a small configuration and run:"
    )
    yield ""
    yield "| outcome | types | share |"
    yield "|---|---|---|"
    for status in ("proven", "partly", "derived", "no time", "failed", "crashed"):
        if counts.get(status):
            yield f"| {status} | {counts[status]} | {counts[status] / built:.1%} |"
    yield ""
    idle = sum(row["status"] == "not built" and bool(NOT_RUN.match(row["why"])) for row in found["types"])
    yield (
        f"{idle} more are built, and run on none of the inputs that the benchmark makes; with them {built + idle} are"
        f" built, of which {counts['proven'] / (built + idle):.1%} are proven. The other {counts['not built'] - idle}"
        " are not built: parts of other models, classes that want a package that is not installed, and configurations"
        " that cannot be made small in this way."
    )
    yield ""
    states = Counter(row["code"] for row in found["types"])
    yield (
        f"Not all rows are of one state of the code: {', '.join(str(count) for _, count in states.most_common())} are"
        " of states that differ in the rules of the tracing, and in how tiny models and their inputs are made (`code`"
        " in the results)."
    )
    early = [row for row in found["types"] if row["status"] == "no time" and row["seconds"] < found["seconds"]]
    if early:
        yield (
            f"{len(early)} of the {counts['no time']} without time were tried when a derivation took longer, and had"
            f" less than the {found['seconds']} s of the processor that the others had."
        )
    yield ""
    yield (
        f"Names alone say something otherwise for {differ['types']} of these types, of {differ['tensors']} kinds of"
        f" tensors. Open once the tracing has decided: {differ['open']}."
    )
    yield ""


def _groups(found: Found) -> Iterator[str]:
    tensors: dict[str, int] = defaultdict(int)
    types: dict[str, set[str]] = defaultdict(set)
    for row in found["types"]:
        for each in row.get("disagreements", ()):
            tensors[group_of(each)] += 1
            types[group_of(each)].add(row["type"])
    yield "| what | tensors | types | who is right | what a file without a configuration loses |"
    yield "|---|---|---|---|---|"
    for title, _, right, bare in GROUPS:
        if tensors[title]:
            yield f"| {title} | {tensors[title]} | {len(types[title])} | {right} | {bare} |"
    yield ""


def _words() -> Iterator[str]:
    """Where names keep their word, from the table itself."""
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for about, pattern, why in NAMES_STAND:
        reasons[WORDS[about], why].append(pattern.pattern.rpartition(": ")[2].rstrip("$"))
    yield "| where names keep their word | by name / by tracing | why |"
    yield "|---|---|---|"
    for (what, why), said in reasons.items():
        shown = ", ".join(f"`{each}`" for each in dict.fromkeys(said))
        yield f"| {what} | {shown.replace('|', chr(92) + '|')} | {why} |"
