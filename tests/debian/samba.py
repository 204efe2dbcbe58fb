"""Samba of Debian's next release, unpacked into a tree of its own, and how its programs run there."""

import os
import shutil
import tempfile
from pathlib import Path

from packages import cache, need_commands, run, with_dependencies

SUITE = "forky"
KEPT = cache("samba")
# What a command of the tree sees of this machine. Gone when it ends: the mounts are of a namespace of its own.
ENTER = 'for m in proc sys dev; do mount --rbind "/$m" "$0/$m"; done; exec chroot "$0" "$@"'


def unpacked(name: str, packages: list[str], refresh: bool = False) -> Path:
    """The tree called `name`, with these packages and what they depend on; made where it is not there yet."""
    need_commands("apt-get", "dpkg", "unshare", "chroot")
    tree = KEPT / name
    if refresh or not tree.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        # Beside its later place, so that it gets there whole or not at all.
        with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
            new = Path(scratch, "tree")
            for package in with_dependencies(SUITE, packages, Path(scratch)):
                run("dpkg", "-x", package, new)
            complete(new)
            shutil.rmtree(tree, ignore_errors=True)
            new.rename(tree)
    return tree


def command(tree: Path, *words: str) -> list[str]:
    """What runs `words` in the tree."""
    namespace = ["unshare", "--mount"]
    if os.geteuid() != 0:
        namespace += ["--user", "--map-root-user"]
    return [*namespace, "sh", "-c", ENTER, str(tree), *words]


def complete(tree: Path) -> None:
    """What the packages' scripts would have done, and Samba cannot do without."""
    # Debian's base system has them; no package depends on it.
    for folder in "bin", "sbin", "lib", "lib64":
        if not (tree / folder).exists():
            (tree / folder).symlink_to(f"usr/{folder}")
    (tree / "etc/samba").mkdir(parents=True, exist_ok=True)
    (tree / "etc/samba/smb.conf").write_text("[global]\n")
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\n")
    (tree / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost\n")
    for folder in "proc", "sys", "dev", "tmp", "root", "run", "var/lib/samba/private", "var/cache/samba", "run/samba":
        (tree / folder).mkdir(parents=True, exist_ok=True)
