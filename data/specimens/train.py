"""Make the specimens: `python data/specimens/train.py [--only NAME]... [--out DIR]`.

One thread, a few minutes; the same interpreter and the same libraries give the same weights.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

import training
from cards import Result, folder_bytes, table, write_card
from evaluation import blind_score, corpus, images, load_specimen, score
from models import model_class, new_model, shallow_copy
from permutation import permuted
from tokenizer import write_tokenizer
from tree import FAMILIES, SPECIMENS, Specimen

__all__ = ["main", "make"]

_STUDENT_LAYERS = (0, 2)
_NUM_LABELS = {"digits-parity": 2}


def main(arguments: list[str] | None = None) -> None:
    """Make the specimens asked for, parents from the same folder, and print their figures."""
    parser = argparse.ArgumentParser(description="Train the specimens of dna-zoo.")
    parser.add_argument("--only", metavar="NAME", action="append", choices=list(SPECIMENS), help="repeat for several")
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path(__file__).parent, help="default: beside this")
    parser.add_argument("--max-steps", metavar="N", type=int, help="stop each early, to try the script out")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    results = []
    for name in options.only or SPECIMENS:
        specimen = SPECIMENS[name]
        if options.max_steps is not None:
            specimen = replace(specimen, steps=min(specimen.steps, options.max_steps))
        result = make(specimen, options.out)
        results.append(result)
        print(f"{name}: {result.reached.name} {result.reached.value:.3f}, {result.seconds:.0f} s", flush=True)
    print("\n" + table(results))


def make(specimen: Specimen, out: Path) -> Result:
    """Train `specimen` and write it to `out / specimen.name`; its parent must lie in `out` already."""
    began = time.perf_counter()
    folder = out / specimen.name
    model = _ancestor(specimen, out)
    start = score(model, specimen.family, specimen.data)
    if specimen.steps:
        _train(model, specimen, out)
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    if FAMILIES[specimen.family].modality == "text":
        write_tokenizer(folder, with_mask=FAMILIES[specimen.family].objective == "masked-lm")
    result = Result(
        specimen=specimen,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        reached=score(model, specimen.family, specimen.data),
        start=start,
        blind=blind_score(specimen.family, specimen.data),
        seconds=time.perf_counter() - began,
    )
    write_card(folder, result)
    return replace(result, num_bytes=folder_bytes(folder))


def _ancestor(specimen: Specimen, out: Path) -> PreTrainedModel:
    """What training begins with: random weights, or what the relation makes of the parent."""
    if specimen.parent is None:
        return new_model(specimen.family, seed=specimen.seed)
    if specimen.data in _NUM_LABELS:
        return _with_new_head(out / specimen.parent, specimen)
    parent = load_specimen(out / specimen.parent)
    if specimen.relation == "distilled":
        return shallow_copy(parent, _STUDENT_LAYERS)
    if specimen.relation == "permuted":
        parent.load_state_dict(permuted(parent, generator=torch.Generator().manual_seed(specimen.seed)))
    return parent


def _train(model: PreTrainedModel, specimen: Specimen, out: Path) -> None:
    family = FAMILIES[specimen.family]
    if specimen.relation == "distilled":
        teacher = load_specimen(out / str(specimen.parent))
        loss = training.distillation_loss(model, teacher, corpus(specimen.data), family.batch_size)
    elif family.modality == "text":
        loss = training.text_loss(model, corpus(specimen.data), family.objective, family.batch_size)
    else:
        loss = training.image_loss(model, images(specimen.data, family.image_side), family.batch_size)
    training.train(
        model,
        loss,
        steps=specimen.steps,
        learning_rate=specimen.learning_rate,
        weight_decay=family.weight_decay,
        seed=specimen.seed,
    )


def _with_new_head(parent: Path, specimen: Specimen) -> PreTrainedModel:
    torch.manual_seed(specimen.seed)
    found: PreTrainedModel = model_class(specimen.family).from_pretrained(
        parent, num_labels=_NUM_LABELS[specimen.data], ignore_mismatched_sizes=True, local_files_only=True
    )
    return found.eval()


if __name__ == "__main__":
    main()
