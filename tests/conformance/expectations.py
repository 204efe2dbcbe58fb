"""expected.tsv and its like: what each test of smbtorture is expected to come to, and why if that is not a pass.

A line is a test, a verdict and, for any verdict but `pass`, the reason, with tabs between. A name that ends with `*`
means all tests that begin so and have no line of their own. The verdict `left` leaves tests out: there is nothing to
learn from them yet. Reasons are written by people; a test that is not in the list is something to be told. expected-btrfs.tsv has those tests
that come to something else on btrfs.
"""

from dataclasses import dataclass
from pathlib import Path

from torture import Result

LIST = Path(__file__).with_name("expected.tsv")
VERDICTS = {"pass", "fail", "skip", "timeout", "left"}


@dataclass(frozen=True)
class Expected:
    verdict: str
    reason: str


class Expectations:
    """The list. Ends the program with its line if one is malformed."""

    def __init__(self, file: Path) -> None:
        self.tests: dict[str, Expected] = {}
        self.groups: dict[str, Expected] = {}
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if not line or line.startswith("#"):
                continue
            name, verdict, reason = (line.split("\t") + ["", ""])[:3]
            kept = self.groups if name.endswith("*") else self.tests
            name = name.removesuffix("*")
            if verdict not in VERDICTS or (verdict != "pass" and not reason) or name in kept:
                raise SystemExit(f"{file.name}:{number}: a test once, its verdict, and a reason unless that is pass")
            kept[name] = Expected(verdict, reason)

    def of(self, test: str) -> Expected | None:
        if test in self.tests:
            return self.tests[test]
        groups = [name for name in self.groups if test.startswith(name)]
        return self.groups[max(groups, key=len)] if groups else None

    def verdict(self, test: str) -> str:
        expected = self.of(test)
        return expected.verdict if expected else ""

    def complaint(self, result: Result) -> str | None:
        """What is wrong with a result; nothing if it is as expected."""
        expected = self.of(result.test)
        if expected is None:
            return f"{result.verdict}, and the list does not know it: {result.why}"
        if result.verdict == expected.verdict:
            return None
        if result.verdict == "pass":
            return f"pass, and the list expects {expected.verdict}: {expected.reason}"
        return f"{result.verdict} in place of {expected.verdict}: {result.why}"
