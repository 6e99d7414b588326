"""Text to train on that every machine with Python has: the standard library's source, licence texts, SciPy's manual.

A text is a one-dimensional int64 tensor of character ids: `ALPHABET` in order, then UNKNOWN, then MASK. The texts are
those of the running interpreter and of the installed packages, so another version trains on slightly different ones.
"""

import ast
import importlib.metadata
import importlib.util
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

__all__ = [
    "ALPHABET",
    "MASK",
    "UNKNOWN",
    "Corpus",
    "encode",
    "licence_texts",
    "python_source",
    "scipy_docstrings",
    "unigram_loss",
]

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
UNKNOWN = len(ALPHABET)
MASK = UNKNOWN + 1

# Long modules of plain Python that are in every version since 3.11, as a file or as a package.
TRAINING_MODULES = (
    "argparse ast bdb calendar cmd codeop collections configparser contextlib copy csv dataclasses datetime dis"
    " doctest enum filecmp fileinput fractions ftplib functools gettext glob gzip hashlib heapq html http imaplib"
    " inspect ipaddress json logging lzma mailbox mimetypes modulefinder netrc numbers operator optparse pdb pickle"
    " pickletools pkgutil platform plistlib poplib pprint profile pstats pydoc queue random reprlib sched selectors"
    " shelve shlex shutil smtplib socket socketserver ssl statistics string subprocess symtable sysconfig tarfile"
    " tempfile threading timeit trace traceback turtle typing unittest uuid warnings wave weakref zipfile"
).split()
HELD_OUT_MODULES = ["difflib", "tokenize", "textwrap", "urllib", "webbrowser"]

# The public parts of SciPy (BSD licence) whose manual stands in the source; one is held out whole.
SCIPY_PACKAGES = (
    "cluster constants datasets differentiate fft fftpack integrate interpolate io linalg odr optimize signal sparse"
    " spatial special stats"
).split()
HELD_OUT_SCIPY_PACKAGES = ["ndimage"]

_HELD_OUT_SHARE = 10
"""Of each licence text, one part in this many, at its end, is held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A text to learn from and one to be judged by; int64, one-dimensional."""

    train: torch.Tensor
    held_out: torch.Tensor


def encode(text: str) -> torch.Tensor:
    """The ids of the characters of `text`, int64, shape (len(text),)."""
    ids = {character: index for index, character in enumerate(ALPHABET)}
    return torch.tensor([ids.get(character, UNKNOWN) for character in text], dtype=torch.int64)


def python_source() -> Corpus:
    """The source of the standard library's modules named above, whole modules held out."""
    return Corpus(train=encode(_read_modules(TRAINING_MODULES)), held_out=encode(_read_modules(HELD_OUT_MODULES)))


def licence_texts() -> Corpus:
    """The licences of this project (Apache-2.0), of Python and of NumPy (BSD, GPL and others); their ends held out."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in _licence_files()]
    cuts = [len(text) - len(text) // _HELD_OUT_SHARE for text in texts]
    train = "\n".join(text[:cut] for text, cut in zip(texts, cuts, strict=True))
    held_out = "\n".join(text[cut:] for text, cut in zip(texts, cuts, strict=True))
    return Corpus(train=encode(train), held_out=encode(held_out))


def scipy_docstrings() -> Corpus:
    """The docstrings of the installed SciPy, its manual in English with formulas and examples; `ndimage` held out.

    Each docstring stands once, and none that is held out is in the text to learn from.
    """
    learnt = dict.fromkeys(_docstrings(SCIPY_PACKAGES))
    held_out = [text for text in dict.fromkeys(_docstrings(HELD_OUT_SCIPY_PACKAGES)) if text not in learnt]
    return Corpus(train=encode("\n\n".join(learnt)), held_out=encode("\n\n".join(held_out)))


def unigram_loss(corpus: Corpus) -> float:
    """Nats a character on the held-out text for who knows only how often each character occurs in training."""
    counts = torch.bincount(corpus.train, minlength=MASK + 1).double() + 1
    return float(-(counts / counts.sum()).log()[corpus.held_out].mean())


def _read_modules(names: list[str]) -> str:
    library = Path(sysconfig.get_paths()["stdlib"])
    paths = [next(p for p in (library / f"{n}.py", library / n / "__init__.py") if p.is_file()) for n in names]
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in paths)


def _docstrings(packages: Sequence[str]) -> Iterator[str]:
    """Of all modules, classes and functions in these packages of SciPy but their tests, by path, as they are shown."""
    spec = importlib.util.find_spec("scipy")
    assert spec is not None and spec.origin is not None
    for package in packages:
        folder = Path(spec.origin).parent / package
        for path in sorted(folder.rglob("*.py"), key=lambda each: each.relative_to(folder).parts):
            if "tests" not in path.parts:
                yield from _docstrings_of(path.read_text(encoding="utf-8"))


def _docstrings_of(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            found = ast.get_docstring(node)
            if found:
                yield found


def _licence_files() -> list[Path]:
    own = Path(__file__).parents[2] / "LICENSE"
    library = Path(sysconfig.get_paths()["stdlib"])
    # Builds from source keep it in the library, installers for Windows beside it.
    python = next(p for p in (library / "LICENSE.txt", library.parent / "LICENSE.txt") if p.is_file())
    files = importlib.metadata.files("numpy") or []
    numpy = [Path(str(file.locate())) for file in files if file.name == "LICENSE.txt" and file.parts[-2] == "licenses"]
    return [own, python, *numpy]
