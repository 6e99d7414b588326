"""What stands in the card of a model that surgery has made."""

from dna_zoo.text import markdown
from library.surgery.combination import Combination
from library.surgery.tasks import Score
from library.surgery.transplantation import Transplant

__all__ = ["combination_card", "transplant_card"]


def combination_card(found: Combination) -> str:
    """Markdown: the models, the shares, and the losses along both lines."""
    a, b = markdown(found.a), markdown(found.b)
    rows = zip(found.aligned.shares, found.aligned.scores, found.unaligned.scores, strict=True)
    table = [f"| {share:g} | {_score(one)} | {_score(two)} |" for share, one, two in rows]
    return "\n".join(
        [
            f"# {1 - found.share:g} of {a}, {found.share:g} of {b}",
            "",
            f"The weights of two models, averaged after {b} had been aligned with {a} (`dna-zoo combine`).",
            "",
            f"Held-out loss on {found.task.name}: {_score(found.score)}. Along the line between the two:",
            "",
            "| share of the second | aligned | as they are |",
            "|---|---|---|",
            *table,
            "",
            f"Barrier: {found.aligned.barrier:.4f} aligned, {found.unaligned.barrier:.4f} as they are (nats).",
            "",
        ]
    )


def transplant_card(found: Transplant) -> str:
    """Markdown: which layers are whose, and what they are worth beside others in the same places."""
    donor, host = markdown(found.donor), markdown(found.host)
    pairs = ", ".join(f"layer {one} of {donor} as layer {other}" for one, other in found.pairs)
    table = [f"| {each.layers} | {_score(each.before)} | {_score(each.after)} |" for each in found.variants]
    changed = f" {len(found.resampled)} tensors were resampled." if found.resampled else ""
    how = "aligned with the host first" if found.alignment is not None else "as they are"
    tuned = f"fine-tuned for {found.steps} steps" if found.steps else "not trained any further"
    return "\n".join(
        [
            f"# {host} with layers of {donor}",
            "",
            f"{pairs[:1].upper()}{pairs[1:]}, {how} (`dna-zoo transplant`); {tuned}.{changed}",
            "",
            f"Held-out loss on {found.task.name}, with these and with other layers in the same places:",
            "",
            f"| layers | before | after {found.steps} steps |",
            "|---|---|---|",
            *table,
            "",
        ]
    )


def _score(score: Score) -> str:
    accuracy = "" if score.accuracy is None else f" (accuracy {score.accuracy:.3f})"
    return f"{score.loss:.4f}{accuracy}"
