"""URLs with passwords, in hundreds of spellings: no part of a password is ever said, kept or logged."""

import string
from pathlib import Path
from urllib.parse import quote

import numpy as np

from benchmarks.hostile.kinds.models import tensors, write
from benchmarks.hostile.place import Place, Trial, Wrong
from benchmarks.hostile.product import Said, checked, command
from benchmarks.hostile.sound import OPTIONS
from benchmarks.hostile.strange import pick

__all__ = ["passwords", "passwords_kept"]

Rng = np.random.Generator
HOSTS = ("127.0.0.1:1", "localhost:1", "[::1]:1", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x", "")
SCHEMES = (
    "postgresql",
    "postgres",
    "postgresql+psycopg",
    "postgresql+psycopg2",
    "postgresql+none",
    "mysql",
    "sqlite",
    "sqlite+none",
    "jdbc:postgresql",
    "POSTGRESQL",
    "postgresql ",
    "http",
    "https",
    "ftp",
    "s3",
    "mongodb",
    "redis",
    "",
    "postgresql+",
    "1postgresql",
)
SIGNS = (
    "@",
    "/",
    "#",
    ":",
    "?",
    "&",
    "=",
    "%",
    ";",
    " ",
    "'",
    '"',
    "\\",
    "+",
    "%40",
    "%2F",
    "@@",
    "://",
    "é",
    "\t",
    "*",
    "|",
    ",",
)
NAMES = (
    "password",
    "pwd",
    "passwd",
    "PASSWORD",
    "sslpassword",
    "passfile",
    "secret",
    "token",
    "api_key",
    "key",
    "access_token",
    "sslkey",
    "Pass_Word",
    "auth",
    "credentials",
    "pass%77ord",
    "passphrase",
    "AccountKey",
    "sig",
)


def _secret(rng: Rng) -> tuple[str, tuple[str, ...]]:
    """A password of parts with signs between them that cut URLs in two, and its parts."""
    letters = np.array(list(string.ascii_letters + string.digits))
    parts = tuple("Zq" + "".join(rng.choice(letters, size=8)) for _ in range(rng.integers(1, 4)))
    return "".join(
        part + (pick(rng, SIGNS) if number < len(parts) - 1 else "") for number, part in enumerate(parts)
    ), parts


def _spelling(rng: Rng, secret: str) -> str:
    """The password somewhere in what may be meant as a URL."""
    scheme, host, name = pick(rng, SCHEMES), pick(rng, HOSTS), pick(rng, NAMES)
    user = pick(rng, ("me", "me%40x", "", "me:x", "m e", "postgres"))
    tail = pick(rng, ("/d", "/d?sslmode=require", "", "/", "/d?connect_timeout=2", "/d#x", "?host=/nowhere"))
    one = pick(rng, (quote(secret, safe=""), quote(secret), secret, secret, secret))
    spellings = (
        f"{scheme}://{user}:{one}@{host}{tail}",
        f"{scheme}://{user}:{one}@{host}{tail}",
        f"{scheme}:/{user}:{one}@{host}{tail}",
        f"{scheme}:{user}:{one}@{host}{tail}",
        f"{scheme}:///{user}:{one}@{host}{tail}",
        f"{user}:{one}@{host}{tail}",
        f"{scheme}://:{one}@{host}{tail}",
        f"{scheme}://{host}/d?user={user}&{name}={one}",
        f"{scheme}://{host}/d;{name}={one};user={user}",
        f"{scheme}://{host}/d?{name}={one}",
        f"{scheme}://{host}?{name}={one}#x",
        f"{scheme}://{host}/d#{name}={one}",
        f"host={host} user={user} {name}={one} dbname=d",
        f"host={host} {name} = '{one}'",
        f"Server={host};Database=d;{name}={one}",
        # Written as it is, what stands behind an @ in it would be a host to anybody.
        f"{scheme}://{user}:{quote(secret, safe='')}",
        f"{scheme}//{user}:{one}@{host}{tail}",
        f" {scheme}://{user}:{one}@{host}{tail} ",
        f"'{scheme}://{user}:{one}@{host}{tail}'",
        f"{scheme}://{user}:{one}@{host},{host}{tail}",
        f"{scheme}://{user}:x@{host}/d?options=-c%20{name}%3D{one}",
        f"{scheme}:///?host={host}&{name}={one}",
        f"{scheme}\\\\{user}:{one}@{host}{tail}",
    )
    return str(pick(rng, spellings))


def _hidden(said: Said, parts: tuple[str, ...], url: str, home: Path) -> Said:
    """Raise `Wrong` where a part of the password was said, or stands in a file of the home."""
    for text, where in ((said.out, "stdout"), (said.err, "stderr")):
        if any(part.lower() in text.lower() for part in parts):
            raise Wrong("told", f"{url!r} on {where}: {text[-1500:]}")
    for path in (each for each in home.rglob("*") if each.is_file()):
        content = path.read_bytes().lower()
        if any(part.lower().encode() in content for part in parts):
            raise Wrong("told", f"{url!r} in {path.name}")
    return said


def passwords(place: Place, rng: Rng) -> Trial:
    """A database, a hub or a store of artifacts at such a URL, with and without `--debug`."""
    secret, parts = _secret(rng)
    url = _spelling(rng, secret)
    debug = ("--debug",) if rng.integers(2) else ()
    write(place.model, tensors(rng))
    mine = ("mine", "--local", str(place.model), "--name", "m", *OPTIONS)
    far = url if url.startswith("-") is False else f"x{url}"
    ways: tuple[tuple[tuple[str, ...], dict[str, str]], ...] = (
        (("show", "x", "--db", far), {}),
        (("models", "--db", far), {}),
        (("models", f"--db={far}"), {}),
        (("show", "x"), {"DNA_ZOO_DB": url}),
        (("db", "upgrade", "--db", far), {}),
        (("db", "check", "--db", far), {}),
        (("db", "copy", far, f"sqlite:///{place.home}/x.db"), {}),
        (("db", "copy", f"sqlite:///{place.home}/x.db", far), {}),
        (("db", "backup", str(place.home / "x"), "--db", far), {}),
        ((*mine, "--db", far), {}),
        ((*mine, "--artifacts", far), {}),
        ((*mine, "--on", f"ray://{url}", "--dry-run"), {}),
        (("fetch", "org/model"), {"HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0"}),
        (("fetch", far), {}),
        (("mine", far), {}),
        (("fetch", "org/model"), {"HF_ENDPOINT": "http://127.0.0.1:1", "HF_TOKEN": secret, "HF_HUB_OFFLINE": "0"}),
    )
    words, environment = pick(rng, ways)
    environment = {name: value.replace("\x00", "") for name, value in environment.items()}

    def trial() -> str:
        from patterndb.connection.retry import Patience  # noqa: F401  # Loaded before the clock runs.

        said = _hidden(command(place.home, *debug, *words, **environment), parts, url, place.home)
        if not debug:
            checked(said)
        return "refused" if said.code else "answered"

    return trial


def passwords_kept(place: Place, rng: Rng) -> Trial:
    """Texts of others in which a URL stands: what masks them, and what the log and the run keep of a command line."""
    from dna_zoo.text import without_secrets
    from patterndb.connection.engine import without_password

    found = []
    for _ in range(20):
        secret, parts = _secret(rng)
        found.append((_spelling(rng, secret), parts))

    def trial() -> str:
        for url, parts in found:
            for said in (without_password(url), without_secrets(f"connection to {url} failed")):
                # A word behind a space belongs to no URL of its own: whole URLs are masked by who has them.
                known = parts if said.startswith(without_password(url)) else parts[:1]
                if any(part in said for part in known):
                    raise Wrong("told", f"{url!r} is shown as {said!r}")
        return "answered"

    return trial
