"""What is run in a guest, by name: which programs, and what they need there."""

from dataclasses import dataclass
from pathlib import Path

import programs


@dataclass(frozen=True)
class Suite:
    """Test programs with their surroundings."""

    name: str
    # What makes the programs, as words for cargo.
    builds: tuple[str, ...]
    # Their sources as programs.py names them; a folder stands for all that is in it.
    sources: tuple[str, ...]
    # Beyond those that the disk takes. Some kernels lack some, and have some built in.
    modules: tuple[str, ...] = ()
    # Of this machine, taken along where it has them.
    commands: tuple[str, ...] = ()
    # Folders of the source tree that the programs look into, where they were built.
    folders: tuple[str, ...] = ()
    # How long one program may take.
    seconds: int = 600
    # Whether each test is worth a line as it ends.
    each: bool = False

    def has(self, program: str) -> bool:
        return any(program == source or program.startswith(source + "/") for source in self.sources)


@dataclass(frozen=True)
class Load:
    """What one guest gets: test programs by name, the server if they start one, and which of their tests to run."""

    suite: Suite
    tests: dict[str, Path]
    server: Path | None
    match: str = ""

    def programs(self) -> list[Path]:
        return [*self.tests.values(), *([self.server] if self.server else [])]


BUILD_USMBD = "build -p usmbd --bin usmbd"
# What cifs asks for by name when it needs it, with what that asks for.
CIPHERS = ("aes_generic", "ctr", "ghash-generic", "ccm", "gcm", "cmac", "hmac", "ecb", "md4", "md5", "sha256_generic")
CIPHERS += ("sha512_generic",)

ALL = [
    Suite(
        "runtime",
        # The programs of ./dev test, which may just have run.
        builds=("test --workspace --no-run",),
        sources=("runtime src", "runtime tests", "runtime/driver src", "hybrid-epoll src", "hybrid-epoll tests")
        + programs.PRINTERS,
        modules=("loop", "dummy", "veth", "tun", "tls", "vmxnet3"),
    ),
    # What is left out has nothing to do with the kernel.
    Suite(
        "usmbd",
        builds=(BUILD_USMBD, "test -p house --tests --no-run"),
        sources=tuple(
            f"house tests/{name}"
            for name in ("backends", "blocks", "concurrency", "direct", "eas", "files", "kept", "links", "locks")
            + ("named_pipes", "notify", "oplocks", "process", "rights", "routes", "stable", "versions")
        ),
        modules=("loop", "btrfs"),
        commands=("smbclient", "mkfs.btrfs"),
        folders=("smb-server/tests/captures",),
    ),
    Suite(
        "client",
        builds=(BUILD_USMBD, "test -p house --test mounts --no-run"),
        sources=("house tests/mounts",),
        modules=(*CIPHERS, "nls_utf8", "cifs", "loop", "btrfs"),
        commands=("mkfs.btrfs",),
        seconds=1800,
        each=True,
    ),
]
SUITES = {suite.name: suite for suite in ALL}
