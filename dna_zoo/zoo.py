"""The models that were mined, as they are in a database."""

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dna_zoo.home import DATABASE_NAME, database_url, home_folder, sqlite_url
from dna_zoo.pattern import Pattern
from patterndb.comparison import Comparison
from patterndb.connection.engine import without_password
from patterndb.similarity import Criterion
from patterndb.store import PatternDatabase

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from explorer.style import ThemeName
    from explorer.view import View
    from library.patterns.store import Library
    from pipeline.analyse.taxonomy import Taxonomy

__all__ = ["Zoo", "locate", "open"]


def open(path_or_url: str | Path | None = None, *, home: str | Path | None = None) -> "Zoo":
    """Open a database of mined models to read; it is never created here.

    - `path_or_url`: a SQLite file, a home folder with `dna-zoo.db` in it, or a URL (`sqlite:///PATH`,
      `postgresql://USER:PASSWORD@HOST/DATABASE`). Default: the database of the command line (DNA_ZOO_DB, else the one
      in the home folder).
    - `home`: where the files of the runs are. Default: the folder of a SQLite file that is named by its path, else
      DNA_ZOO_HOME, else the platform's folder for user data.

    Raises `StoreError` where there is no database, `SchemaVersionError` for one of another version.
    """
    url, folder = locate(path_or_url, home)
    return Zoo(PatternDatabase.open(url, create=False), folder, url)


def locate(path_or_url: str | Path | None, home: str | Path | None) -> tuple[str, Path]:
    """The URL of a database and the home folder, by the rules of `open`."""
    if path_or_url is None or "://" in str(path_or_url):
        folder = home_folder(home)
        return database_url(None if path_or_url is None else str(path_or_url), folder), folder
    path = Path(path_or_url).expanduser()
    if path.is_dir():
        path = path / DATABASE_NAME
    return sqlite_url(path), home_folder(home) if home else path.parent


class Zoo(Mapping[str, Pattern]):
    """Model keys -> patterns, the newest of each. A context manager that closes the database."""

    def __init__(self, database: PatternDatabase, home: Path, url: str) -> None:
        self.database, self.home, self._url = database, home, url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.database.close()

    @property
    def library(self) -> "Library":
        """The shared patterns of the home: `zoo.library.names`, `zoo.library.load(name)`."""
        from library.patterns.store import Library

        return Library(self.home)

    def __getitem__(self, key: str) -> Pattern:
        """Raises `NotMinedError`, naming near misses, for a model that was not mined."""
        return Pattern(
            record=self.database.load_pattern(key, with_tensors=False), database=self.database, home=self.home
        )

    def get(self, key: str, default: Any = None) -> Any:
        """The pattern of a model, or `default` where it was not mined."""
        return self[key] if key in self else default

    def __contains__(self, key: object) -> bool:
        return key in self.database.model_keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.database.model_keys())

    def __len__(self) -> int:
        return len(self.database.model_keys())

    def catalog(self, table: str = "catalog") -> "pd.DataFrame":
        """All models, a row each; also `tensors`, `roles`, `signatures` and `distances`, as `export` writes them."""
        return self.database.export_catalog(table)

    def compare(self, a: str, b: str) -> Comparison:
        """Two models by their patterns, as `dna-zoo compare A B --no-lineage` shows them."""
        return self.database.compare_patterns(a, b)

    def similar(self, key: str, top_k: int = 5, *, by: Criterion = "weights") -> "pd.DataFrame":
        """The models nearest to one, the nearest first: distances, and their percentiles among all pairs.

        Beyond 500 models percentiles are among a sample of pairs; `..._error` is their standard error then.
        """
        import pandas as pd

        numbers = tuple(
            f"{by}{part}" for by in ("weights", "kind") for part in ("", "_percentile", "_percentile_error")
        )
        columns = ["model", "is_same_file", *numbers]
        found = self.database.get_similar_models(key, top_k, by=by)
        frame = pd.DataFrame([{name: getattr(each, name) for name in columns} for each in found], columns=columns)
        return frame.astype(dict.fromkeys(numbers, "float64"))

    def taxonomy(self) -> "Taxonomy":
        """The tree of the models' cards, the tree of their signatures, and how well they agree."""
        from pipeline.analyse.representatives import classify_all

        return classify_all(self.database)

    def view(self, kind: str, *models: str, tensor: str | None = None, **settings: Any) -> "View":
        """The numbers of a figure, beside their null, with caption and alt text; `table()` is a frame of them.

        - `kind`: as `dna-zoo plot --list` names them. `tensor`: where it is about one; default: the matrix in which
          the DNA found most structure. `settings`: what else the kind takes, such as `by` or `seed`.

        Raises `SettingsError`, `NotMinedError`, `UnknownTensorError`, and `DnaFileError` or `FetchError` where files
        that it takes are gone.
        """
        from explorer.plotting import make_view
        from explorer.source import Source

        return make_view(Source(database=self.database, home=self.home), kind, models, tensor=tensor, **settings)

    def plot(
        self,
        kind: str,
        *models: str,
        tensor: str | None = None,
        axes: "Axes | None" = None,
        width: str = "screen",
        theme: "ThemeName" = "light",
        **settings: Any,
    ) -> "Axes":
        """The figure of `view`, on a new figure in our style, which a notebook shows; nothing here does.

        - `axes`: draw on these instead, in matplotlib's present settings.
        - `width`: a venue's name, as `dna-zoo plot --width` takes it.
        """
        from explorer.plotting import draw
        from explorer.style import drawing, width_of

        view = self.view(kind, *models, tensor=tensor, **settings)
        if axes is not None:
            return draw(view, axes=axes)
        with drawing(theme, width_of(width), backend=None):
            return draw(view)

    def __repr__(self) -> str:
        return f"<Zoo of {len(self)} models: {without_password(self._url)}>"

    def _repr_html_(self) -> str:
        shown = ["model", "modality", "architecture", "num_weights", "pattern_class", "fit_r2", "fit_means_null_r2"]
        table = self.catalog()[shown].to_html(index=False, max_rows=20, float_format=_three_digits, na_rep="-")
        return f"<p>{escape(repr(self)[1:-1])}</p>{table}"


def _three_digits(value: float) -> str:
    return f"{value:.3f}"
