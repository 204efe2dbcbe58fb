"""Debian's kernels, unpacked and kept in packages.cache("kernels"). Which version is current says the suite's own index."""

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from packages import Unavailable, cache, from_a_mirror, need_commands, run

# A meta package depends on the image of today; newer suites split that into image, binary and modules.
PARTS = re.compile(r"linux-(image|binary|modules)-\d")
KEPT = cache("kernels")


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
    tree = KEPT / release.suite
    if refresh or not tree.exists():
        need_commands("apt-get", "apt-cache", "dpkg", "dpkg-deb", "depmod")
        KEPT.mkdir(parents=True, exist_ok=True)
        # Beside its later place, so that it gets there whole or not at all.
        with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
            new = Path(scratch, "tree")
            unpack(download(release, Path(scratch)), new)
            shutil.rmtree(tree, ignore_errors=True)
            new.rename(tree)
    return Kernel((tree / "version").read_text(), release.suite, tree, modules_folder(tree))


def modules_folder(tree: Path) -> str:
    return next((tree / "lib/modules").iterdir()).name


def download(release: Release, scratch: Path) -> list[Path]:
    """The packages of the newest kernel of `release`."""

    def packages(apt: list[str]) -> list[Path]:
        depends = run("apt-cache", *apt, "depends", "--recurse", "--important", release.package)
        names = [line for line in depends.splitlines() if PARTS.match(line)]
        if not names:
            raise Unavailable(f"{release.package} depends on no image")
        run("apt-get", *apt, "download", *names, cwd=scratch)
        return sorted(scratch.glob("*.deb"))

    return from_a_mirror(release.suite, scratch, packages)


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
