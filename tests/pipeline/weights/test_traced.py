"""Checkpoints whose names tell no role: traced in a process of their own, whatever happens to it."""

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CohereConfig, CohereForCausalLM, CTRLConfig, CTRLLMHeadModel

from pipeline.weights import traced
from pipeline.weights.files import WeightFiles, read_config
from pipeline.weights.inventory import NAMES, TRACED, extract
from pipeline.weights.traced import Tracer
from tests.support.mining import database_of, mine_into, request
from tests.support.tiny_models import make_tiny_checkpoint
from tests.support.weight_files import files_of
from zoo.tensors import Axis, Role
from zoo.tracing import of_config, shipped
from zoo.tracing.derive import Derivation, derive
from zoo.tracing.of_config import trace_config
from zoo.tracing.traced import TracedWiring

SIZES: dict[str, int] = {"vocab_size": 90, "n_positions": 24, "n_embd": 24, "dff": 40, "n_layer": 3, "n_head": 4}
INSIDE = "transformer.h.2"


def save_ctrl(folder: Path) -> WeightFiles:
    """A tiny CTRL, whose names no rule knows."""
    torch.manual_seed(0)
    model = CTRLLMHeadModel(CTRLConfig(**SIZES))
    model.save_pretrained(folder)
    return files_of(folder / "model.safetensors", config=model.config.to_dict())


class InThisProcess(Tracer):
    """Traces without a process of its own."""

    def wiring(self, config: Mapping[str, Any]) -> TracedWiring:
        return trace_config(config)


class Never(Tracer):
    """Must not be asked."""

    def wiring(self, config: Mapping[str, Any]) -> TracedWiring:
        raise AssertionError("names suffice")


def test_roles_and_axes_come_from_the_code(tmp_path: Path) -> None:
    inventory = extract(save_ctrl(tmp_path), tracer=InThisProcess())
    roles = {spec.name: (spec.role, spec.row_axis, spec.col_axis) for spec in inventory.specs if spec.is_matrix}
    assert inventory.wiring_source == TRACED and len(roles) == 19
    assert roles["transformer.w.weight"] == (Role.TOKEN_EMBEDDING, Axis.VOCABULARY, Axis.RESIDUAL)
    assert roles[f"{INSIDE}.multi_head_attention.Wq.weight"] == (Role.ATTENTION_QUERY, Axis.ATTENTION, Axis.RESIDUAL)
    assert roles[f"{INSIDE}.multi_head_attention.Wk.weight"][0] is Role.ATTENTION_KEY
    assert roles[f"{INSIDE}.multi_head_attention.Wv.weight"][0] is Role.ATTENTION_VALUE
    assert roles[f"{INSIDE}.multi_head_attention.dense.weight"][1:] == (Axis.RESIDUAL, Axis.ATTENTION)
    assert roles[f"{INSIDE}.ffn.0.weight"] == (Role.FFN_IN, Axis.HIDDEN, Axis.RESIDUAL)
    assert roles[f"{INSIDE}.ffn.2.weight"] == (Role.FFN_OUT, Axis.RESIDUAL, Axis.HIDDEN)
    assert any("traced from the code of CTRLLMHeadModel" in note for note in inventory.notes)


def test_names_that_suffice_ask_nothing(tmp_path: Path) -> None:
    files = files_of(make_tiny_checkpoint("minilm-l6", tmp_path, 0), config={"model_type": "bert"})
    assert extract(files, tracer=Never()).wiring_source == NAMES


def test_a_type_whose_names_may_say_otherwise_is_asked_though_they_suffice(tmp_path: Path) -> None:
    sizes = {"vocab_size": 90, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 4}  # fmt: skip
    model = CohereForCausalLM(CohereConfig(**sizes))
    model.save_pretrained(tmp_path)
    files = files_of(tmp_path / "model.safetensors", config=model.config.to_dict())
    name = "model.layers.1.self_attn.o_proj.weight"
    inventory = extract(files, tracer=InThisProcess())
    by_names, asked = ({spec.name: spec for spec in found.specs}[name] for found in (extract(files), inventory))
    # Its norms have no shift and subtract the mean: names take them as free, which costs odd moments.
    assert by_names.free_row_signs and not asked.free_row_signs
    assert inventory.wiring_source == TRACED
    assert any(
        note.startswith("Names of the type 'cohere' may say otherwise than its code: ") for note in inventory.notes
    )


def test_a_fused_projection_of_unknown_layout_stays_whole_and_says_so(tmp_path: Path) -> None:
    torch.save(
        {"h.0.attn.query_key_value.weight": torch.randn(96, 32), "n.weight": torch.randn(32)}, tmp_path / "a.bin"
    )
    inventory = extract(files_of(tmp_path / "a.bin"), tracer=Tracer())
    (whole,) = inventory.matrices
    assert (whole.role, whole.rows, whole.row_slice) == (Role.OTHER, 96, None)
    assert "are in 1 matrix of no role that is known, such as 'h.0.attn.query_key_value.weight'" in inventory.notes[-1]


def test_a_stack_of_experts_under_names_of_its_own_stays_whole_and_says_so(tmp_path: Path) -> None:
    torch.save({"h.0.specialists.w": torch.randn(4, 12, 10), "n.weight": torch.randn(32)}, tmp_path / "a.bin")
    inventory = extract(files_of(tmp_path / "a.bin"), tracer=Tracer())
    (whole,) = inventory.matrices
    assert (whole.role, whole.rows, whole.cols) == (Role.OTHER, 4, 120)
    assert "no role that is known, such as 'h.0.specialists.w'" in inventory.notes[-1]


def test_without_a_configuration_the_rest_is_named(tmp_path: Path) -> None:
    save_ctrl(tmp_path)
    inventory = extract(files_of(tmp_path / "model.safetensors"), tracer=Tracer())
    assert inventory.wiring_source == NAMES
    assert "and the code of the architecture could not be traced: no config.json says which" in inventory.notes[-2]
    assert inventory.notes[-1].startswith("83% of the weights are in 16 matrices of no role")


def test_a_process_that_takes_too_long_leaves_the_names(tmp_path: Path) -> None:
    inventory = extract(save_ctrl(tmp_path), tracer=Tracer(home=tmp_path, seconds=0.05))
    assert inventory.wiring_source == NAMES
    assert "it took more than 0 s" in inventory.notes[-2]


def no_process(*_: object, **__: object) -> None:
    raise AssertionError("it was tried again")


def failure_of(tracer: Tracer, config: Mapping[str, Any]) -> str:
    with pytest.raises(ValueError) as failure:
        tracer.wiring(config)
    return str(failure.value)


@pytest.mark.slow
def test_a_trace_that_failed_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"model_type": "a-type-that-nobody-has"}
    first = failure_of(Tracer(home=tmp_path), config)
    assert "transformers has no model type 'a-type-that-nobody-has'" in first
    monkeypatch.setattr(subprocess, "run", no_process)
    assert failure_of(Tracer(home=tmp_path), config) == first
    monkeypatch.setattr(shipped, "TRACING_VERSION", "another")
    with pytest.raises(AssertionError, match="tried again"):
        Tracer(home=tmp_path).wiring(config)


def test_a_trace_without_time_is_tried_again_with_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"model_type": "ctrl"}
    first = failure_of(Tracer(home=tmp_path, seconds=0.05), config)
    monkeypatch.setattr(subprocess, "run", no_process)
    assert failure_of(Tracer(home=tmp_path, seconds=0.05), config) == first
    with pytest.raises(AssertionError, match="tried again"):
        Tracer(home=tmp_path, seconds=1.0).wiring(config)


def test_a_process_that_crashes_leaves_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traced.sys, "executable", "/bin/false")
    inventory = extract(save_ctrl(tmp_path), tracer=Tracer(home=tmp_path))
    assert inventory.wiring_source == NAMES and "ended without an answer" in inventory.notes[-2]


def test_what_does_not_hold_when_it_is_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_more(*args: Any) -> Derivation:
        found = derive(*args)
        return replace(found, groups=tuple(replace(group, can_permute=True) for group in found.groups))

    monkeypatch.setattr(of_config, "derive", one_more)
    with pytest.raises(ValueError, match="does not hold when it is run"):
        trace_config({"model_type": "ctrl", "architectures": ["CTRLLMHeadModel"], **SIZES})


def test_names_that_the_code_does_not_have_are_said(tmp_path: Path) -> None:
    files = save_ctrl(tmp_path)
    tracer = InThisProcess()
    state = {f"vex.q{i}": torch.randn(12, 9 + i) for i in range(4)}
    torch.save(state, tmp_path / "other.bin")
    inventory = extract(files_of(tmp_path / "other.bin", config=dict(files.config)), tracer=tracer)
    assert "CTRLLMHeadModel of transformers has no tensors of such names" in inventory.notes[-2]


@pytest.mark.slow
def test_mining_traces_in_a_process_and_keeps_the_wiring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_ctrl(tmp_path / "model")
    (tmp_path / "model" / "transformers.py").write_text("raise SystemExit('code of the model was run')")
    monkeypatch.chdir(tmp_path / "model")
    home = tmp_path / "home"
    mine_into(home, [request(tmp_path / "model")])
    with database_of(home) as database:
        pattern = database.load_pattern("tiny")
    assert pattern.model.wiring_source == TRACED
    assert {Role.ATTENTION_QUERY, Role.FFN_IN, Role.FFN_OUT} <= {role.role for role in pattern.roles}
    # What is kept needs no process.
    monkeypatch.setattr(traced.sys, "executable", "/bin/false")
    assert Tracer(home=home).wiring(read_config(tmp_path / "model" / "config.json")).heads == 4
