"""Who may ask the dashboard, what a browser may load, what can be downloaded, and that nothing is written."""

import hashlib
import re
import socket
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from dna_zoo.errors import OutputError, SettingsError
from explorer.dashboard.board import Board, Request
from explorer.dashboard.run import save_dashboard
from explorer.dashboard.saved import saved_page
from explorer.dashboard.serving import listening, make_server_app
from explorer.dashboard.state import TABS, State
from tests.explorer.dashboard.conftest import MADE, MakeBoard, made
from tests.support import scene_figure

HOST = {"Host": "127.0.0.1:8050"}


@pytest.fixture
def client(board: Board) -> FlaskClient:
    return make_server_app(board, host="127.0.0.1").test_client()


def test_only_what_this_server_sends_may_be_loaded(client: FlaskClient) -> None:
    answer = client.get("/", headers=HOST)
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'self'" and policy["frame-ancestors"] == "'none'"
    assert re.fullmatch(r"'self'( 'sha256-[\w+/=]+')+", policy["script-src"])
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    addresses = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert addresses and all(address.startswith("/") and not address.startswith("//") for address in addresses)


@pytest.mark.parametrize("name", ["evil.example", "evil.example:8050", "127.0.0.1.evil.example", "10.0.0.1"])
def test_a_foreign_name_for_this_machine_is_refused(name: str, client: FlaskClient) -> None:
    assert client.get("/", headers={"Host": name}).status_code == 403


@pytest.mark.parametrize("name", ["127.0.0.1:8050", "localhost:8050", "[::1]:8050"])
def test_this_machine_is_answered_by_its_own_names(name: str, client: FlaskClient) -> None:
    assert client.get("/", headers={"Host": name}).status_code == 200


def test_a_dashboard_for_all_machines_answers_to_any_name(board: Board) -> None:
    client = make_server_app(board, host="0.0.0.0").test_client()
    assert client.get("/", headers={"Host": "my-machine.example"}).status_code == 200


def test_a_page_of_another_site_is_refused(client: FlaskClient) -> None:
    question = {"Host": "127.0.0.1:8050", "Origin": "https://evil.example"}
    assert client.post("/_dash-update-component", headers=question, json={}).status_code == 403
    assert client.get("/table/models.csv", headers=question).status_code == 403


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_nothing_can_be_sent_but_questions(method: str, client: FlaskClient) -> None:
    assert getattr(client, method)("/", headers=HOST).status_code == 405


def test_a_table_is_downloaded_as_it_is_in_view(client: FlaskClient) -> None:
    state = State(modalities=("vision",), sorts=(("models", "-model"),))
    answer = client.get(f"/table/models.csv?{state.to_hash()}", headers=HOST)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="dna-zoo-models.csv"'
    assert [line.split(",")[0] for line in answer.text.splitlines()] == ["model", "gamma", "delta"]
    assert client.get("/table/nothing.csv", headers=HOST).status_code == 404


def test_the_numbers_of_a_picture_are_downloaded(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    scene_figure.install(monkeypatch)
    name = Request(kind=scene_figure.NAME, models=("alpha",)).name
    answer = client.get("/picture.csv", query_string={"picture": name}, headers=HOST)
    assert answer.text.splitlines()[:2] == ["x,y,z", "0.0,1.0,2.0"]
    assert client.get("/picture.csv?picture=nothing", headers=HOST).status_code == 404


def test_points_of_models_without_weights_are_a_sentence(client: FlaskClient) -> None:
    answer = client.get("/points.html?model=alpha", headers=HOST)
    assert answer.status_code == 404 and "alpha" in answer.text and "<" not in answer.text


class Tags(HTMLParser):
    """Every element with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("tab", TABS)
def test_a_saved_page_holds_all_it_needs_and_leads_nowhere(tab: str, client: FlaskClient) -> None:
    answer = client.get(f"/export.html?tab={tab}&model=alpha&model=beta", headers=HOST)
    assert answer.status_code == 200 and "attachment" in answer.headers["Content-Disposition"]
    tags = Tags(answer.text).found
    assert not [tag for tag, attributes in tags if "src" in attributes or "href" in attributes]
    assert not [tag for tag, _ in tags if tag in ("link", "iframe", "img", "input", "a")]
    assert f"tab={tab}&amp;model=alpha" in answer.text or tab == "overview"


def test_names_from_outside_are_text_in_a_saved_page(board_of: MakeBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    scene_figure.install(monkeypatch)
    key = "<img src=x onerror=alert(1)>"
    state = State(tab="models", models=(key,), kind=scene_figure.NAME)
    page = saved_page(state, board_of(made(key, 0)), "light")
    assert "&lt;img src=x" in page and "<img" not in page.split("<script>")[0]
    assert page.count("Plotly.newPlot(") == 1 and 'id="figure-0"' in page


def test_saving_does_not_replace_a_file_unless_told(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    save_dashboard(board.source, path, state="tab=models", theme="dark")
    assert 'data-theme="dark"' in path.read_text() and list(tmp_path.iterdir()) == [path]
    with pytest.raises(SettingsError, match="there already"):
        save_dashboard(board.source, path)
    save_dashboard(board.source, path, state="tab=taxonomy", force=True)
    assert "Taxonomy" in path.read_text()
    with pytest.raises(OutputError):
        save_dashboard(board.source, tmp_path / "nowhere" / "page.html")


def test_looking_writes_nothing(own_board: Board) -> None:
    path = own_board.source.home / "dna-zoo.db"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    client = make_server_app(own_board, host="127.0.0.1").test_client()
    for tab in TABS:
        assert client.get(f"/export.html?tab={tab}&model={MADE[0]}", headers=HOST).status_code == 200
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert sorted(each.name for each in path.parent.iterdir() if not each.name.endswith(("-shm", "-wal"))) == [
        "dna-zoo.db"
    ]


def test_a_port_in_use_is_two_sentences(board: Board) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(SettingsError, match="cannot listen") as caught,
            listening(board, host="127.0.0.1", port=taken.getsockname()[1]),
        ):
            pass
    assert "--port" in caught.value.hint


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", 0), ("127.0.0.1", 70_000), ("192.0.2.1", 0)])
def test_a_place_that_is_none_is_two_sentences(host: str, port: int, board: Board) -> None:
    with pytest.raises(SettingsError) as caught, listening(board, host=host, port=port):
        pass
    assert caught.value.hint
