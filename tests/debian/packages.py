"""Debian packages of another suite, downloaded and unpacked without being installed.

They come from the mirror that this machine's apt uses, or from DEBIAN_MIRROR.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

MIRROR_VARIABLE = "DEBIAN_MIRROR"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Unavailable(Exception):
    """It cannot be had on this machine now."""


def cache(name: str) -> Path:
    """Where things are kept for the next time: $XDG_CACHE_HOME/ringway-NAME (~/.cache without it)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / f"ringway-{name}"


def need_commands(*commands: str) -> None:
    missing = [command for command in commands if not shutil.which(command)]
    if missing:
        raise Unavailable(f"there is no {' and no '.join(missing)} here")


def with_dependencies(suite: str, packages: list[str], scratch: Path) -> list[Path]:
    """The newest of `packages`, and all that they depend on, from the first mirror that has the suite."""

    def download(apt: list[str]) -> list[Path]:
        run("apt-get", *apt, "--download-only", "--no-install-recommends", "-y", "install", *packages)
        return sorted((scratch / "cache/archives").glob("*.deb"))

    return from_a_mirror(suite, scratch, download)


def from_a_mirror(suite: str, scratch: Path, download) -> list[Path]:
    """What `download` gets by apt's options for the suite, from the first mirror where it does."""
    reasons = []
    for mirror in mirrors():
        apt = private_apt(suite, mirror, scratch)
        try:
            run("apt-get", *apt, "--error-on=any", "update")
            return download(apt)
        except Unavailable as reason:
            reasons.append(str(reason))
    raise Unavailable("; ".join(reasons) or f"apt names no mirror; {MIRROR_VARIABLE} can")


def mirrors() -> list[str]:
    """Where to look: what the environment says, or each archive in apt's own sources but the security ones."""
    if named := os.environ.get(MIRROR_VARIABLE):
        return [named]
    indexes = run("apt-get", "update", "--print-uris")
    found = re.findall(r"^'(\S+)/dists/\S+/InRelease'", indexes, re.MULTILINE)
    return [mirror for mirror in dict.fromkeys(found) if not mirror.endswith("-security")]


def private_apt(suite: str, mirror: str, scratch: Path) -> list[str]:
    """Options with which apt knows this suite alone and writes below `scratch`. The machine's proxies still hold."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True, exist_ok=True)
    signed = f" signed-by={KEYRING}" if KEYRING.exists() else ""
    (scratch / "sources.list").write_text(f"deb [arch=amd64 target=Packages{signed}] {mirror} {suite} main\n")
    options = {
        "Dir::Etc::SourceList": scratch / "sources.list",
        "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": scratch / "lists",
        "Dir::State::Status": "/dev/null",
        "Dir::Cache": scratch / "cache",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "",
        # An old suite is not signed anew every week any more.
        "Acquire::Check-Valid-Until": "false",
        "Acquire::http::Timeout": 20,
        "Acquire::https::Timeout": 20,
    }
    return ["-q", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]


def run(*command: object, cwd: Path | None = None) -> str:
    """What `command` printed; the first line of its complaint if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        complaint = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise Unavailable(f"{words[0]}: {complaint[0]}")
    return done.stdout
