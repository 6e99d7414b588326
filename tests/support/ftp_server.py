"""A small FTP server (RFC 959) of one folder, for tests of artifacts on a disk elsewhere: passive mode, no login."""

import contextlib
import shutil
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path


class _Session(socketserver.StreamRequestHandler):
    """One client."""

    def handle(self) -> None:
        self.root: Path = self.server.root  # type: ignore[attr-defined]
        self.data: socket.socket | None = None
        self.origin = Path()
        self.start = 0
        self.say("220 ready")
        for line in self.rfile:
            word, _, argument = line.decode().strip().partition(" ")
            answer = getattr(self, f"do_{word.lower()}", None)
            try:
                self.say(answer(argument) if answer else "502 no such command")
            except (FileNotFoundError, NotADirectoryError):
                self.say("550 not found")
            except FileExistsError:
                self.say("550 exists")

    def finish(self) -> None:
        super().finish()
        if self.data:
            self.data.close()

    def say(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self.wfile.write(line.encode() + b"\r\n")

    def at(self, name: str) -> Path:
        return self.root / name.strip("/")

    def do_user(self, name: str) -> str:
        return "230 welcome"

    def do_type(self, kind: str) -> str:
        return "200 binary"

    def do_cwd(self, name: str) -> str:
        return "250 there" if self.at(name).is_dir() else "550 not found"

    def do_pwd(self, _: str) -> str:
        return '257 "/"'

    def do_mkd(self, name: str) -> str:
        self.at(name).mkdir()
        return f'257 "{name}"'

    def do_size(self, name: str) -> str:
        return f"213 {self.at(name).stat().st_size}"

    def do_rnfr(self, name: str) -> str:
        self.origin = self.at(name)
        return "350 to what"

    def do_rnto(self, name: str) -> str:
        self.origin.replace(self.at(name))
        return "250 renamed"

    def do_dele(self, name: str) -> str:
        self.at(name).unlink()
        return "250 gone"

    def do_rest(self, offset: str) -> str:
        self.start = int(offset)
        return "350 from there"

    def do_epsv(self, _: str) -> str:
        return "502 use PASV"

    def do_pasv(self, _: str) -> str:
        if self.data:
            self.data.close()
        self.data = socket.create_server(("127.0.0.1", 0))
        port = self.data.getsockname()[1]
        return f"227 here (127,0,0,1,{port // 256},{port % 256})"

    def do_mlsd(self, name: str) -> str:
        found = sorted(self.at(name).iterdir())
        lines = [f"type={'dir' if each.is_dir() else 'file'};size={each.stat().st_size}; {each.name}" for each in found]
        with self.transfer() as client:
            client.sendall("".join(f"{line}\r\n" for line in lines).encode())
        return "226 done"

    def do_retr(self, name: str) -> str:
        with self.at(name).open("rb") as file, self.transfer() as client, contextlib.suppress(OSError):
            file.seek(self.start)
            while chunk := file.read(2**16):
                client.sendall(chunk)
        self.start = 0
        return "226 done"

    def do_stor(self, name: str) -> str:
        mode = "r+b" if self.start else "wb"
        with self.transfer() as client, client.makefile("rb") as source, self.at(name).open(mode) as file:
            file.seek(self.start)
            shutil.copyfileobj(source, file)
        self.start = 0
        return "226 done"

    def do_quit(self, _: str) -> str:
        return "221 bye"

    @contextlib.contextmanager
    def transfer(self) -> Iterator[socket.socket]:
        assert self.data is not None
        self.say("150 coming")
        with self.data as listening:
            client, _ = listening.accept()
            with client:
                yield client


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextlib.contextmanager
def ftp_server(root: Path) -> Iterator[int]:
    """Serve the folder on this machine; gives the port."""
    with _Server(("127.0.0.1", 0), _Session) as server:
        server.root = root  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
