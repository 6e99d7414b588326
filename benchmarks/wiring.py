"""The wiring of every architecture that the installed `transformers` has code for: derived from the code, and proven.

    python -m benchmarks.wiring                        # all of them
    python -m benchmarks.wiring --types bert gpt2 vit
    python -m benchmarks.wiring --only zoo --out wiring-zoo
    python -m benchmarks.wiring --go-on                # what the same code and transformers have proven stays

A tiny model of each type is built from its configuration with random float64 weights, and traced. *Proven*: all
permutations, signs and scales that the derivation allows, applied at random, leave the outputs (relative error up to
1e-9), no operation was met that is not known, and the run reads nearly all parameters (*partly*: it does not, since
an input was not given; *derived*: an operation is not known, and fixes what it touches). *Missed*: permutations of
single axes that the derivation forbids and that change nothing. *No role*: the share of the weights that names give no
role, and what is left of it with the tracing. Each type is tried in a process of its own, with a
limit on time.

Prints the table and writes it to `benchmarks/results/OUT.json`.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import resource
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.parts.scaffold import make_parser, read_results, write_results

SECONDS = 40
MOST_UNUSED = 0.1
"""Share of the parameters that a run may leave aside."""
BYTES = 6 << 30
"""Of address space, for one type."""
ZOO = ("albert", "bert", "deberta-v2", "distilbert", "electra", "gpt2", "mobilebert", "mobilenet_v2", "mobilevit",
       "roberta", "vit", "whisper")  # fmt: skip
"""Types of the fifteen models of the zoo."""


def main() -> None:
    """One type after the other; what is done is printed and kept at once."""
    options = parse()
    code = version()
    kept = read_results(options.out) if options.go_on else {}
    rows = {row["type"]: row for row in kept.get("types", ())}
    tried("bert")  # Imports what the forks need.
    for model_type in chosen(options):
        known = rows.get(model_type, {})
        if known.get("status") == "proven" and known.get("code") == code:
            continue
        rows[model_type] = {**in_process(model_type, options.seconds), "code": code}
        print(line(rows[model_type]), flush=True)
        done = [rows[name] for name in sorted(rows)]
        write_results(options.out, {"seconds": options.seconds, "counts": counts(done), "types": done})
    print(json.dumps(counts(list(rows.values()))))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="wiring")
    parser.add_argument("--types", nargs="+", metavar="TYPE")
    parser.add_argument("--only", choices=["zoo"])
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), metavar=("I", "N"), help="every Nth type, from I")
    parser.add_argument("--seconds", type=int, default=SECONDS)
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


def chosen(options: argparse.Namespace) -> Sequence[str]:
    """The types that are asked for."""
    from zoo.tracing.build import model_types

    start, step = options.part
    return options.types or (ZOO if options.only else model_types()[start::step])


def in_process(model_type: str, seconds: int) -> dict[str, Any]:
    """Try one type in a fork of this process, so that nothing is imported twice."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(model_type, there))
    started = time.perf_counter()
    process.start()
    there.close()
    row: dict[str, Any] = {"status": "no time" if not here.poll(seconds) else "crashed"}
    if row["status"] == "crashed":
        try:
            row = here.recv()
        except EOFError:
            pass
    process.kill()
    process.join()
    return {"type": model_type, **row, "seconds": round(time.perf_counter() - started, 1)}


def _send(model_type: str, connection: Connection) -> None:
    warnings.simplefilter("ignore")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    connection.send(tried(model_type))


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
            "unused": sum(not order for order in used(found)) / max(1, len(found.parameters)),
            "kinds": Counter(group.kind.value for group in found.groups if group.can_permute),
            "stopped_by": found.stopped_by,
        }
        proof = prove(found, tiny.model, tiny.run, tokens=tiny.tokens, rng=np.random.default_rng(0))
    except Exception as error:
        return {"status": "failed", "why": f"{type(error).__name__}: {error}"[:300], **known}
    known |= held_against_names(tiny, found)
    known |= {
        "errors": [proof.error, proof.sign_error, proof.scale_error],
        "checked": proof.checked,
        "missed": proof.missed,
    }
    if not proof.holds:
        return {"status": "failed", **known}
    is_whole = known["unused"] <= MOST_UNUSED
    return {"status": "derived" if found.stopped_by else "proven" if is_whole else "partly", **known}


def used(found: Any) -> list[bool]:
    """Whether the run has read each parameter at all: inputs that were not given leave towers aside."""
    lone = {m.parameter for group in found.groups if group.kind.value == "unused" for m in group.members}
    return [name not in lone for name in found.parameters]


def held_against_names(tiny: Any, found: Any) -> dict[str, Any]:
    """What names say otherwise than the tracing, but for what is explained; and the weights without a role."""
    from pipeline.weights.traced import share_without_role
    from zoo.roles import describe_tensors
    from zoo.tensors import TensorHeader
    from zoo.tracing.agreement import disagreements, heads_disagree
    from zoo.tracing.roles import read_wiring

    wiring = read_wiring(found, tiny.model, vocabulary=tiny.vocabulary)
    state = {name: tuple(tensor.shape) for name, tensor in tiny.model.state_dict().items() if name in found.parameters}
    headers = [TensorHeader(name=name, shape=shape, dtype="F32") for name, shape in state.items()]
    config = tiny.model.config.to_dict()
    by_names = describe_tensors(headers, config)
    differ = disagreements(by_names, wiring.find(headers))
    heads = heads_disagree(config, wiring)
    both = (by_names, describe_tensors(headers, config, wiring=wiring))
    return {
        "disagreements": [*(str(each) for each in differ if not each.explanation), *([heads] if heads else [])],
        "without_role": [round(share_without_role(specs), 4) for specs in both],
    }


def counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many types ended how."""
    return dict(Counter(row["status"] for row in rows))


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
