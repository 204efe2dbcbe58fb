"""smbtorture of Debian's Samba: how it is had, and what one of its tests says."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from packages import cache, need_commands, run, with_dependencies

SUITE = "forky"
PACKAGES = ["samba-testsuite", "smbclient"]
KEPT = cache("samba")
# What a command of the tree sees of this machine. Gone when it ends: the mounts are of a namespace of its own.
ENTER = 'for m in proc sys dev; do mount --rbind "/$m" "$0/$m"; done; exec chroot "$0" "$@"'

# Measured by them, not by us; or written to be run by hand.
NEVER = re.compile(r"\.(hold-|bench\.|scan\.|maxfid)")


@dataclass(frozen=True)
class Result:
    """Of one test: pass, fail, skip, timeout or crash, and why it did not pass."""

    test: str
    verdict: str
    seconds: float
    why: str


class Torture:
    """The program, in a tree of its own."""

    def __init__(self, refresh: bool) -> None:
        need_commands("apt-get", "dpkg", "unshare", "chroot")
        self.tree = KEPT / SUITE
        if refresh or not self.tree.exists():
            KEPT.mkdir(parents=True, exist_ok=True)
            # Beside its later place, so that it gets there whole or not at all.
            with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
                new = Path(scratch, "tree")
                for package in with_dependencies(SUITE, PACKAGES, Path(scratch)):
                    run("dpkg", "-x", package, new)
                complete(new)
                shutil.rmtree(self.tree, ignore_errors=True)
                new.rename(self.tree)

    def command(self, *words: str) -> list[str]:
        namespace = ["unshare", "--mount"]
        if os.geteuid() != 0:
            namespace += ["--user", "--map-root-user"]
        return [*namespace, "sh", "-c", ENTER, str(self.tree), *words]

    def version(self) -> str:
        return run(*self.command("smbtorture", "--version")).split()[-1]

    def tests(self) -> list[str]:
        listed = (line.strip() for line in run(*self.command("smbtorture", "--list")).splitlines())
        return [test for test in listed if test.startswith("smb2.") and not NEVER.search(test)]

    def run(self, test: str, server: str, options: list[str], limit: float) -> tuple[Result, str]:
        """Runs one test; what came of it, and everything it said."""
        words = ["smbtorture", *options, "--target=samba3", server, test]
        start = time.monotonic()
        try:
            done = subprocess.run(
                self.command(*words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
            )
            said = done.stdout.decode(errors="replace")
            verdict = verdict_of(said, done.returncode)
        except subprocess.TimeoutExpired as late:
            said = (late.stdout or b"").decode(errors="replace")
            verdict = "timeout"
        why = "" if verdict == "pass" else last_word(said)
        return Result(test, verdict, time.monotonic() - start, why), said


def complete(tree: Path) -> None:
    """What the packages' scripts would have done, and smbtorture cannot do without."""
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


def verdict_of(said: str, status: int) -> str:
    if re.search(r"^(failure|error): ", said, re.MULTILINE):
        return "fail"
    if re.search(r"^success: ", said, re.MULTILINE):
        return "pass"
    if re.search(r"^skip: ", said, re.MULTILINE):
        return "skip"
    if status < 0:
        return "crash"
    return "fail" if status else "skip"


def last_word(said: str) -> str:
    """The reason that the test gives, in one line."""
    reasons = re.findall(r"^(?:failure|error|skip): .*?\n(.*)", said, re.MULTILINE)
    lines = reasons or said.strip().splitlines() or [""]
    return lines[-1].strip().replace("\t", " ")[:200]
