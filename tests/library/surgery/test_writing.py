"""The folder of a joined model."""

from pathlib import Path

from transformers import BertConfig, BertModel

from library.surgery.writing import write_model


def test_all_files_that_make_inputs_and_outputs_come_along(tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "joined"
    source.mkdir()
    kept = ("spiece.model", "chat_template.jinja", "tokenizer.json")
    for name in (*kept, "modeling.py", "pytorch_model.bin"):
        (source / name).write_text("x")
    config = BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    write_model(folder, BertModel(config), source=source, card="# Joined")
    names = {path.name for path in folder.iterdir()}
    assert names == {*kept, "README.md", "config.json", "model.safetensors"}
