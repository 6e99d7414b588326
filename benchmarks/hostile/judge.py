"""Judge one hostile input in a process of its own: what came of it, how long it took and what it did."""

import contextlib
import json
import os
import sys
import tempfile
import time
import traceback
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.hostile.kinds import KINDS
from benchmarks.hostile.limits import SECONDS, SPARE_MIB, Hung, limit_memory, limited, peak_mib, reset_peak, watched
from benchmarks.hostile.place import Place, Wrong

__all__ = ["judge"]


def judge(kind: str, seed: int, number: int) -> dict[str, Any]:
    """What came of input `number` of a kind: `verdict` and, where it is a failure, `reason`."""
    # By its name: a kind that is added leaves the inputs of the others as they were.
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), number])
    with tempfile.TemporaryDirectory(prefix="hostile-", ignore_cleanup_errors=True) as name:
        place = Place(root=Path(name))
        place.model.mkdir()
        place.here.mkdir()
        try:
            trial = KINDS[kind].make(place, rng)
        except Exception as error:  # The generator's own fault.
            reason = "".join(traceback.format_exception(error))[-3000:]
            return {"kind": kind, "number": number, "verdict": "unmade", "reason": reason, "s": 0.0, "mib": 0.0}
        size, listed = _size(place.model), _names(place)
        reset_peak()
        before, start = peak_mib(), time.monotonic()
        with watched(place.home, Path(f"/proc/{os.getpid()}")) as seen:
            with contextlib.chdir(place.here):
                verdict, reason = _outcome(trial)
        seconds, grown = time.monotonic() - start, peak_mib() - before
        if verdict in ("answered", "refused"):
            if seen.found:
                verdict, reason = "escaped", "; ".join(seen.found)
            elif _names(place) != listed:
                verdict, reason = "escaped", "a file was written beside the home"
            elif grown > SPARE_MIB + 2 * size / 2**20:
                verdict, reason = "memory", f"{grown:.0f} MiB for {size:,} bytes"
    return {"kind": kind, "number": number, "verdict": verdict, "reason": reason, "s": seconds, "mib": grown}


def _outcome(trial: Any) -> tuple[str, str]:
    try:
        with limited(SECONDS):
            return trial(), ""
    except Hung:
        return "hung", ""
    except Wrong as error:
        return error.verdict, error.reason
    except MemoryError:
        return "memory", "the system refused it"
    except BaseException as error:
        return "crashed", "".join(traceback.format_exception(error))[-3000:]


def _names(place: Place) -> set[str]:
    """What there is beside the home: nothing may come to it."""
    others = (each for each in place.root.iterdir() if each != place.home)
    return {str(path) for each in others for path in (each, *each.rglob("*"))}


def _size(folder: Path) -> int:
    """Bytes on the disk: of a file that is a hole, none."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Read kinds and numbers from stdin, a line each, and say what came of them."""
    limit_memory()
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What a library says by itself is no verdict.
    for line in sys.stdin:
        print(json.dumps(judge(*json.loads(line))), file=told, flush=True)


if __name__ == "__main__":
    main()
