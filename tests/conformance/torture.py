"""smbtorture of Debian's Samba: how it is had, and what one of its tests says."""

import re
import subprocess
import time
from dataclasses import dataclass

from packages import run
from samba import SUITE, command, unpacked

PACKAGES = ["samba-testsuite", "smbclient"]

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
        self.tree = unpacked(SUITE, PACKAGES, refresh)

    def command(self, *words: str) -> list[str]:
        return command(self.tree, *words)

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
