"""Text from strangers."""

import json
import shlex
import time

import pytest

from dna_zoo.text import is_printable, plain_address, printable, printable_json, shell_word, without_secrets

UNSAFE = ["\x1b[31m", "a\x00", "\x9b2J", "two\nlines", "\r", "\u202eabc", "\u2028", "\ud800"]


@pytest.mark.parametrize("text", UNSAFE)
def test_what_steers_a_terminal_is_escaped(text: str) -> None:
    assert not is_printable(text)
    safe = printable(text)
    assert is_printable(safe) and safe.encode() and "\\" in safe


@pytest.mark.parametrize("text", ["encoder.layer.0", "Größe", "模型", "עברית", "naïve ∞", "a\\b", "[x]", ""])
def test_what_people_write_stays(text: str) -> None:
    assert is_printable(text) and printable(text) == text


@pytest.mark.parametrize("name", ["a; rm -rf ~", "$(id)", "`id`", "a b", "it's", "*", "\x1b[31m", ""])
def test_a_name_in_a_command_is_one_word_of_it(name: str) -> None:
    assert shlex.split(f"dna-zoo show {shell_word(name)}") == ["dna-zoo", "show", printable(name)]
    assert shell_word("org/model-1.5") == "org/model-1.5"


def test_a_long_text_is_cut() -> None:
    assert printable("x" * 100, longest=10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    "text",
    [
        'could not connect to "postgresql://me:hunter2@h/d"',
        "postgresql://me:hu/nt@er2@h/d failed",
        "host=h password=hunter2 user=me",
        "password='hunter2 with spaces' host=h",
        "sslpassword=hunter2;PWD=hunter2&token=hunter2",
        "jdbc:postgresql://h/d?user=me&pwd=hunter2 failed",
        "postgresql:/me:hunter2@h/d",
        "me:hunter2 nt@er2@h/d",
        "postgresql://me:hunter2",
        "mongodb://m e:hunter2:nt@er2 failed",
        "postgresql://h/d?sslmode=require&options=-c%20sig%3Dhunter2",
        "Server=h;Credentials = 'hunter2 nt@er2'",
    ],
)
def test_no_secret_is_left(text: str) -> None:
    shown = without_secrets(text)
    assert "unter2" not in shown and "nt@er2" not in shown and "***" in shown
    assert without_secrets("connection to host h, port 5432 failed") == "connection to host h, port 5432 failed"


@pytest.mark.parametrize(
    "text",
    [
        'connection to server at "127.0.0.1", port 1 failed: Connection refused',
        "https://huggingface.co cannot be reached.",
        "http://localhost:8080 answered HTTP 500",
        "http://[::1]:80/x: no",
        "postgresql://h/d?sslmode=require&connect_timeout=2",
        "minilm-l6=./model.safetensors",
        "sqlite:////home/me/zoo.db is busy: database is locked",
    ],
)
def test_a_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize("piece", ["/", "//", ":", "a-", "key-", "a:", "&a", " ", "pass="])
def test_a_long_text_costs_no_square_of_its_length(piece: str) -> None:
    started = time.process_time()
    without_secrets(piece * (20_000 // len(piece)))
    assert time.process_time() - started < 5


@pytest.mark.parametrize("url", ["https://huggingface.co", "http://127.0.0.1:8080/hub", "http://[::1]:80"])
def test_an_address_that_can_hold_no_password_is_shown(url: str) -> None:
    assert plain_address(url) == url


@pytest.mark.parametrize(
    "url", ["https://me:hunter2@h", "https://h/?token=hunter2", "https://h/#hunter2", "me:hunter2@h"]
)
def test_any_other_address_is_hidden(url: str) -> None:
    assert "hunter2" not in plain_address(url)


@pytest.mark.parametrize("text", UNSAFE)
def test_json_says_the_same_without_what_steers_a_terminal(text: str) -> None:
    shown = printable_json(json.dumps({"a": text}, ensure_ascii=False, indent=2))
    assert json.loads(shown) == {"a": text} and is_printable(shown.replace("\n", ""))
