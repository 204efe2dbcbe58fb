"""Debian's kernels, downloaded and unpacked without being installed, and kept for the next time.

They come from the mirror that this machine's apt uses, or from RINGWAY_KERNELS_MIRROR, and are kept in
$XDG_CACHE_HOME/ringway-kernels (~/.cache without it). Which version is current says the suite's own index.
"""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

MIRROR_VARIABLE = "RINGWAY_KERNELS_MIRROR"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# A meta package depends on the image of today; newer suites split that into image, binary and modules.
PARTS = re.compile(r"linux-(image|binary|modules)-\d")


class Unavailable(Exception):
    """There is no such kernel, or nothing to run it with, on this machine now."""


@dataclass(frozen=True)
class Release:
    """A kernel by the name it is asked for."""

    name: str
    suite: str
    package: str


# Oldest first. The cloud images have all that is needed built in or as modules, at a fifth of the size.
RELEASES = [
    Release("5.10", "bullseye", "linux-image-cloud-amd64"),
    Release("6.1", "bookworm", "linux-image-cloud-amd64"),
    Release("6.12", "trixie", "linux-image-cloud-amd64"),
    Release("newest", "forky", "linux-image-amd64"),
]


@dataclass(frozen=True)
class Kernel:
    """An unpacked one: its version (5.10.223), where it is, and the name of its modules' folder."""

    version: str
    suite: str
    tree: Path
    modules: str

    @property
    def image(self) -> Path:
        older, newer = self.tree / f"boot/vmlinuz-{self.modules}", self.tree / f"lib/modules/{self.modules}/vmlinuz"
        return older if older.exists() else newer


def kernel(release: Release, refresh: bool) -> Kernel:
    """The kernel of `release`: the kept one, or the archive's."""
    tree = cache() / release.suite
    if refresh or not tree.exists():
        need_commands("apt-get", "apt-cache", "dpkg", "dpkg-deb", "depmod")
        cache().mkdir(parents=True, exist_ok=True)
        # Beside its later place, so that it gets there whole or not at all.
        with tempfile.TemporaryDirectory(dir=cache()) as scratch:
            new = Path(scratch, "tree")
            unpack(download(release, Path(scratch)), new)
            shutil.rmtree(tree, ignore_errors=True)
            new.rename(tree)
    return Kernel((tree / "version").read_text(), release.suite, tree, modules_folder(tree))


def modules_folder(tree: Path) -> str:
    return next((tree / "lib/modules").iterdir()).name


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ringway-kernels"


def need_commands(*commands: str) -> None:
    missing = [command for command in commands if not shutil.which(command)]
    if missing:
        raise Unavailable(f"there is no {' and no '.join(missing)} here")


def download(release: Release, scratch: Path) -> list[Path]:
    """The packages of the newest kernel of `release`, from the first mirror that has its suite."""
    reasons = []
    for mirror in mirrors():
        apt = private_apt(release.suite, mirror, scratch)
        try:
            run("apt-get", *apt, "--error-on=any", "update")
            depends = run("apt-cache", *apt, "depends", "--recurse", "--important", release.package)
            names = [line for line in depends.splitlines() if PARTS.match(line)]
            if not names:
                raise Unavailable(f"{release.package} depends on no image")
            run("apt-get", *apt, "download", *names, cwd=scratch)
            return sorted(scratch.glob("*.deb"))
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


def unpack(packages: list[Path], tree: Path) -> None:
    """Unpacks into `tree` and makes the modules' index, which installing would have made."""
    for package in packages:
        run("dpkg", "-x", package, tree)
    # Older suites keep modules in lib/, newer ones in usr/lib/; depmod knows only one, which is its own matter.
    for missing, present in ("lib", "usr/lib"), ("usr/lib", "../lib"):
        if not (tree / missing).exists():
            (tree / missing).symlink_to(present)
    run("depmod", "-b", tree, modules_folder(tree))
    version = run("dpkg-deb", "-f", packages[0], "Version").strip()
    (tree / "version").write_text(version.rsplit("-", 1)[0])


def run(*command: object, cwd: Path | None = None) -> str:
    """What `command` printed; the first line of its complaint if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        complaint = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise Unavailable(f"{words[0]}: {complaint[0]}")
    return done.stdout
