"""The wiring of every architecture that the installed `transformers` has code for: derived from the code, and proven.

    python -m benchmarks.wiring                        # all of them
    python -m benchmarks.wiring --types bert gpt2 vit
    python -m benchmarks.wiring --only zoo --out wiring-zoo
    python -m benchmarks.wiring --go-on                # what the same code and transformers have proven stays
    python -m benchmarks.wiring --only disagreeing     # names held again against the tracing where they differed
    python -m benchmarks.wiring --only unanswered      # types that were not proven, not even partly; the others stay

A tiny model of each type is built from its configuration with random float64 weights, and traced. *Proven*: all
permutations, signs and scales that the derivation allows, applied at random, leave the outputs (relative error up to
1e-9, or to ten times what rounding the weights does, where a model amplifies that), no operation was met that is not
known, and the run reads nearly all parameters (*partly*: it does not, since an input was not given; *derived*: an
operation is not known, and fixes what it touches). *Missed*: permutations of single axes that the derivation forbids
and that change nothing. *No role*: the share of the weights that names give no role, and what is left of it with the
tracing. Each type is tried in a process of its own, with a limit on time.

Names and tracing are held against each other wherever both speak. *Disagreements*: what names say otherwise, but for
words (`zoo.tracing.agreement`): what a file without a `config.json` is read by, and the tracing decides for one with
it. *Open*: what is left on which the two differ once it has decided.

Prints the table and writes it to `benchmarks/results/OUT.json`.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import resource
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.parts.scaffold import make_parser, read_results, write_results
from benchmarks.parts.wiring_page import write_page

SECONDS = 120
"""Of the processor, so that what else the machine does changes no answer."""
PATIENCE = 20
"""Seconds on the clock for each of these, at the most."""
MOST_UNUSED = 0.1
"""Share of the parameters that a run may leave aside."""
BYTES = 6 << 30
"""Of address space, for one type."""
ZOO = ("albert", "bert", "deberta-v2", "distilbert", "electra", "gpt2", "mobilebert", "mobilenet_v2", "mobilevit",
       "roberta", "vit", "whisper")  # fmt: skip
"""Types of the fifteen models of the zoo."""
HOLDS = ("proven", "partly", "derived")
ANSWERED = ("proven", "partly", "not built")
PARTS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "disagreeing": lambda row: row["status"] in HOLDS and bool(row.get("disagreements")),
    "unanswered": lambda row: row["status"] not in ANSWERED,
}
"""Parts of what is kept that may be tried again alone."""


def main() -> None:
    """One type after the other; what is done is printed and kept at once."""
    options = parse()
    if options.page:
        write_page()
        return
    code = version()
    keeps = options.go_on or options.types or options.only in PARTS
    kept = read_results(options.out) if keeps else {}
    rows = {row["type"]: row for row in kept.get("types", ())}
    tried("bert")  # Imports what the forks need.
    for model_type in chosen(options, rows):
        known = rows.get(model_type, {})
        if options.go_on and known.get("status") == "proven" and known.get("code") == code:
            continue
        if options.only == "disagreeing":
            rows[model_type] = known | in_process(model_type, options.seconds, proves=False).get("held", {})
        else:
            rows[model_type] = {**in_process(model_type, options.seconds), "code": code}
        print(line(rows[model_type]), flush=True)
        done = [rows[name] for name in sorted(rows)]
        write_results(options.out, summary(done, options.seconds))
    print(json.dumps(summary(list(rows.values()), options.seconds) | {"types": len(rows)}, indent=1))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="wiring")
    parser.add_argument("--types", nargs="+", metavar="TYPE")
    parser.add_argument("--only", choices=["zoo", *PARTS])
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), metavar=("I", "N"), help="every Nth type, from I")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of the processor, for one type")
    parser.add_argument("--page", action="store_true", help="write the tables of docs/wiring.md")
    parser.add_argument("--go-on", action="store_true", help="keep what the same code has proven")
    return parser.parse_args()


def version() -> str:
    """Of what decides a result: the code of the tracing, and transformers."""
    import transformers

    import zoo.tracing

    digest = hashlib.sha256(transformers.__version__.encode())
    for path in sorted(Path(zoo.tracing.__path__[0]).glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def chosen(options: argparse.Namespace, rows: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    """The types that are asked for; some parts go by what is kept."""
    from zoo.tracing.build import model_types

    start, step = options.part
    if options.types or options.only == "zoo":
        return options.types or ZOO
    if options.only in PARTS:
        return [name for name in sorted(rows) if PARTS[options.only](rows[name])][start::step]
    return model_types()[start::step]


def in_process(model_type: str, seconds: int, *, proves: bool = True) -> dict[str, Any]:
    """Try one type in a fork of this process, so that nothing is imported twice; or only hold its names again."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(model_type, there, proves, seconds))
    started = time.perf_counter()
    process.start()
    there.close()
    try:
        row: dict[str, Any] = here.recv() if here.poll(PATIENCE * seconds) else {"status": "no time"}
    except EOFError:
        process.join()
        row = {"status": "no time" if process.exitcode == -signal.SIGXCPU else "crashed"}
    process.kill()
    process.join()
    return {"type": model_type, **row, "seconds": round(time.perf_counter() - started, 1)}


def _send(model_type: str, connection: Connection, proves: bool, seconds: int) -> None:
    warnings.simplefilter("ignore")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    connection.send(tried(model_type) if proves else held_again(model_type))


def held_again(model_type: str) -> dict[str, Any]:
    """What names say otherwise today, of a type that was proven before."""
    from zoo.tracing.build import build_tiny
    from zoo.tracing.derive import derive

    tiny = build_tiny(model_type)
    found = derive(tiny.model, tiny.run, tiny.tokens, tiny.vocabulary)
    return {"held": held_against_names(tiny, found)}


def tried(model_type: str) -> dict[str, Any]:
    """Build, derive, prove."""
    import numpy as np

    from zoo.tracing.build import build_tiny
    from zoo.tracing.derive import derive
    from zoo.tracing.prove import prove

    try:
        tiny = build_tiny(model_type)
    except Exception as error:
        return {"status": "not built", "why": str(error)[:300]}
    known = {"model": type(tiny.model).__name__, "inputs": list(tiny.inputs)}
    try:
        found = derive(tiny.model, tiny.run, tiny.tokens, tiny.vocabulary)
        known |= {
            "groups": len(found.groups),
            "permutable": sum(group.can_permute for group in found.groups),
            "signs": sum(bool(group.signs) for group in found.groups),
            "unused": unused_share(tiny.model, found),
            "kinds": Counter(group.kind.value for group in found.groups if group.can_permute),
            "stopped_by": found.stopped_by,
        }
        proof = prove(found, tiny.model, tiny.run, tokens=tiny.tokens, rng=np.random.default_rng(0))
    except Exception as error:
        return {"status": "failed", "why": f"{type(error).__name__}: {error}"[:300], **known}
    known |= {
        "errors": [proof.error, proof.sign_error, proof.scale_error],
        **({"rounding": proof.rounding} if proof.rounding else {}),
        "checked": proof.checked,
        "missed": proof.missed,
    }
    if not proof.holds:
        return {"status": "failed", **known}
    known |= held_against_names(tiny, found)
    is_whole = known["unused"] <= MOST_UNUSED
    return {"status": "derived" if found.stopped_by else "proven" if is_whole else "partly", **known}


def unused_share(model: Any, found: Any) -> float:
    """Of the parameters that the run has not read at all: inputs that were not given leave towers aside."""
    lone = {m.parameter for group in found.groups if group.kind.value == "unused" for m in group.members}
    names = [name for name, _ in model.named_parameters()]
    return sum(name in lone for name in names) / max(1, len(names))


def held_against_names(tiny: Any, found: Any) -> dict[str, Any]:
    """What names say otherwise than the tracing, what of it stays open, and the weights without a role."""
    from pipeline.weights.traced import share_without_role
    from zoo.roles import describe_tensors
    from zoo.tensors import TensorHeader
    from zoo.tracing.agreement import disagreements
    from zoo.tracing.roles import read_wiring

    wiring = read_wiring(found, tiny.model, vocabulary=tiny.vocabulary)
    state = {name: tuple(tensor.shape) for name, tensor in tiny.model.state_dict().items() if name in found.parameters}
    # What is parametrised is made one tensor before names are read.
    whole = {name: shape for name, shape in state.items() if "parametrizations." not in name}
    headers = [TensorHeader(name=name, shape=shape, dtype="F32") for name, shape in whole.items()]
    config = tiny.model.config.to_dict()
    both = (describe_tensors(headers, config), describe_tensors(headers, config, wiring=wiring))
    differ, left = (
        [each for each in disagreements(specs, wiring.find(headers)) if not each.explanation] for specs in both
    )
    heads = heads_disagree(config, wiring)
    return {
        "disagreements": [str(each) for each in differ],
        "open": [*map(str, left), *([heads] if heads else [])],
        "without_role": [round(share_without_role(specs), 4) for specs in both],
    }


def heads_disagree(config: dict[str, Any], wiring: Any) -> str:
    """How the number of heads that `config` (of the tiny model) states differs from the traced one; empty if not.

    Heads move with the key head that they share, where keys have fewer; where attention takes differences of heads
    they move in pairs; and some are convolutions instead (ConvBERT).
    """
    from zoo.config import HEADS, number_in, text_in

    said, groups = number_in(config, *HEADS), number_in(config, "num_key_value_heads")
    if said is None or wiring.heads is None:
        return ""
    shared = 2 if text_in(config, "model_type") == "diffllama" else number_in(config, "head_ratio") or 1
    known = {said, groups, said // (groups or said), said // shared}
    return "" if wiring.heads in known else f"{said} heads by configuration, {wiring.heads} by tracing"


def counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many types ended how."""
    return dict(Counter(row["status"] for row in rows))


def summary(rows: Sequence[Mapping[str, Any]], seconds: int) -> dict[str, Any]:
    """What is kept: how types ended, what names alone say otherwise by group, and all rows."""
    groups = Counter(each.split(": ", 1)[1] for row in rows for each in row.get("disagreements", ()))
    return {
        "seconds": seconds,
        "counts": counts(rows),
        "disagreements": {
            "types": sum(bool(row.get("disagreements")) for row in rows),
            "tensors": sum(groups.values()),
            "open": sum(len(row.get("open", ())) for row in rows),
            "groups": dict(groups.most_common()),
        },
        "types": rows,
    }


def line(row: Mapping[str, Any]) -> str:
    """One type."""
    start = f"{row['type']:28} {row['status']:9} {row['seconds']:6.1f} s"
    if "groups" not in row:
        return f"{start}  {row.get('why', '')[:140]}"
    errors = " ".join(f"{error:.0e}" for error in row.get("errors", ()))
    stops = ", ".join(f"{name} ({why})" for name, why in row["stopped_by"].items())
    missed = f"missed {len(row['missed'])}/{row['checked']}" if "missed" in row else row.get("why", "")
    roles = " -> ".join(f"{share:.0%}" for share in row.get("without_role", ()))
    return f"{start}  {row['permutable']:3}/{row['groups']:3} groups  {errors}  {missed}  no role {roles}  {stops}"


if __name__ == "__main__":
    # Imported before the forks.
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    main()
