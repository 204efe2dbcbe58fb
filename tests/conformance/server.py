"""usmbd as smbtorture needs it: a share on a folder of its own, two users, a free port, what a test asks for."""

import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from settings import Settings

USERS = {"alice": "secret1", "bob": "secret2"}
SHARE = "torture"
START_LIMIT = 30


class Server:
    """A running one; a context that ends it and removes its folder."""

    def __init__(self, binary: Path, backend: str, log: Path, below: Path | None, settings: Settings) -> None:
        # The names that it prints are below this one, so it is not a hidden one.
        self.folder = Path(tempfile.mkdtemp(prefix="usmbd-conformance-", dir=below))
        self.folder.chmod(0o755)
        (self.folder / SHARE).mkdir(mode=0o777)
        (self.folder / SHARE).chmod(0o777)
        self.log = log.open("w")
        users = [word for user, password in USERS.items() for word in ("--user", f"{user}:{password}")]
        command = [binary, "serve", "--listen", "127.0.0.1:0", "--backend", backend]
        share = ",".join([f"{SHARE}={self.folder / SHARE}", *settings.share])
        command += ["--share", share, *users, *settings.server]
        if settings.prepare:
            settings.prepare(self.folder / SHARE)
        if settings.other:
            name, *words = settings.other
            (self.folder / name).mkdir(mode=0o777)
            command += ["--share", ",".join([f"{name}={self.folder / name}", *words])]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, env=os.environ | {"NO_COLOR": "1"}
        )
        try:
            self.port = self.read_port()
        except BaseException:
            self.end()
            raise

    def read_port(self) -> int:
        """From the banner."""
        said, start = "", time.monotonic()
        while time.monotonic() - start < START_LIMIT:
            if select.select([self.process.stdout], [], [], 0.2)[0]:
                piece = os.read(self.process.stdout.fileno(), 65536).decode(errors="replace")
                said += piece
                if found := re.search(r"127\.0\.0\.1:(\d+)", said):
                    return int(found[1])
                if not piece:
                    break
        raise RuntimeError(f"usmbd does not start; see {self.log.name}")

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def unc(self) -> str:
        return f"//127.0.0.1/{SHARE}"

    def options(self) -> list[str]:
        user, password = next(iter(USERS.items()))
        return ["-p", str(self.port), "-U", f"{user}%{password}"]

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        if self.is_alive():
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
