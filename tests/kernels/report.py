"""What a guest's report says: an outcome for each program, and a page about all kernels."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from archive import Kernel
from programs import PRINTERS

SUMMARY = re.compile(r"test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored")
FAILED = re.compile(r"test (\S+) .*\.\.\. FAILED")
SLOW = re.compile(r"test (\S+) has been running for over")
ENDED = re.compile(r"test (\S+) .*\.\.\. ")
# What the harness repeats of a test when all have run, and what a test that cannot run here says in it.
OUTPUT_OF = re.compile(r"^---- (\S+) stdout ----$", re.MULTILINE)
SKIPPED = re.compile(r"^SKIPPED.*", re.MULTILINE)
# Why the harness of trials did not run one.
IGNORED = re.compile(r"^test .* \.\.\. ignored, (.+)", re.MULTILINE)
KILLED = 137


@dataclass
class Outcome:
    """How one program went: its exit status, how long it took, and what it printed."""

    program: str
    status: int = -1
    seconds: int = 0
    lines: list[str] = field(default_factory=list)

    def ok(self) -> bool:
        return self.status == 0 and (self.program in PRINTERS or SUMMARY.search(self.text()) is not None)

    def text(self) -> str:
        return "\n".join(self.lines).strip()

    def counts(self) -> Counter[str]:
        """Tests that passed, failed, were ignored by the harness, or said SKIPPED and count as passed there."""
        counted = Counter(skipped=len(self.skipped()))
        for passed, failed, ignored in SUMMARY.findall(self.text()):
            counted.update(passed=int(passed), failed=int(failed), ignored=int(ignored))
        counted["passed"] -= counted["skipped"]
        return counted

    def skipped(self) -> dict[str, str]:
        """Why a test was skipped, by its name."""
        outputs = OUTPUT_OF.split("\n".join(self.lines))
        said = zip(outputs[1::2], outputs[2::2])
        return {name: skip[0] for name, output in said if (skip := SKIPPED.search(output))}

    def __str__(self) -> str:
        return "\n    ".join([self.headline(), *self.details()])

    def headline(self) -> str:
        summed = SUMMARY.search(self.text())
        told = tell(self.counts()) if summed else "ran" if self.ok() else f"ended with status {self.status}"
        if self.status == KILLED and not summed:
            told = f"HUNG and was killed, in {', '.join(self.unfinished()) or 'no test that it named'}"
        return f"{self.program}: {told} ({self.seconds} s)"

    def unfinished(self) -> list[str]:
        ended = {name for line in self.lines for name in ENDED.findall(line)}
        return [name for line in self.lines for name in SLOW.findall(line) if name not in ended]

    def details(self) -> list[str]:
        """The reasons why tests were skipped, and the output of what failed."""
        skips = Counter([*self.skipped().values(), *IGNORED.findall(self.text())])
        details = [f"{line} ({count})" for line, count in skips.items()]
        if not self.ok():
            details += [line for line in self.lines if FAILED.match(line)]
            details += self.text().partition("\nfailures:\n")[2].partition("\nfailures:\n")[0].splitlines()
        return details


def echoed(lines: Iterator[str]) -> Iterator[str]:
    """The same lines, printed as they come."""
    for line in lines:
        if not line.startswith("@@"):
            print(line, flush=True)
        yield line


def outcomes(lines: Iterator[str]) -> Iterator[Outcome]:
    """Each program's outcome, when its end has been reported."""
    current = None
    for line in lines:
        if line.startswith("@@BEGIN "):
            current = Outcome(line.removeprefix("@@BEGIN "))
        elif current and line.startswith("@@END "):
            current.status, current.seconds = (int(word) for word in line.split()[1:3])
            yield current
            current = None
        elif current:
            current.lines.append(line)


def total(done: list[Outcome], planned: int) -> str:
    """All programs in one line."""
    counts = sum((outcome.counts() for outcome in done), Counter())
    bad = [outcome.program for outcome in done if not outcome.ok()]
    return f"{tell(counts)} in {len(done)} of {planned} programs" + (f"; FAILED: {', '.join(bad)}" if bad else "")


def tell(counts: Counter[str]) -> str:
    kinds = ("failed", "skipped", "ignored")
    return ", ".join([f"{counts['passed']} passed", *(f"{counts[kind]} {kind}" for kind in kinds if counts[kind])])


def document(printed: dict[Kernel, str]) -> str:
    """The page that shows side by side what the runtime finds in each kernel."""
    columns = [kernel.version for kernel in printed]
    found = [{("Kernel", "Debian"): kernel.suite, **entries(text)} for kernel, text in printed.items()]
    keys = dict.fromkeys(key for entry in found for key in entry)
    page = HEAD
    for section in dict.fromkeys(section for section, _ in keys):
        page += f"\n## {section}\n\n" + row("", columns) + row("---", ["---"] * len(columns))
        names = [name for of, name in keys if of == section]
        page += "".join(row(name, [entry.get((section, name), "") for entry in found]) for name in names)
    return page


def entries(printed: str) -> dict[tuple[str, str], str]:
    """The lines `name: value` of what the examples print; indented ones belong to the name before them."""
    found, section = {}, ""
    for line in printed.splitlines():
        name, _, value = line.strip().partition(":")
        if not line.startswith(" "):
            section = name.capitalize()
        if value:
            found[(section if line.startswith(" ") else "Kernel", name)] = value.strip()
    return found


def row(name: str, cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in [name, *cells]) + " |\n"


HEAD = """\
# Kernels

What the runtime finds and chooses in stock kernels of Debian, and what it falls back from: the output of
`cargo run -p ringway --example features` there. All of the runtime's tests pass on each of them, but for those that
said that they were skipped. This page is written by `./dev kernels --write-docs`.

The last two tables are the output of `cargo run -p ringway --example zerocopy`: sends per second, which mean nothing in
an emulated guest, and how many of them the kernel copied by its own word, which is what they are here for. The dummy
device copies nothing. The guest's network card (vmxnet3) has its driver copy packets of up to 128 bytes, such as what
the peer's window may leave of a send; and a send beyond the limit on a socket's notifications (`net.core.optmem_max`)
is a plain one.

Linux 5.10 took over the io_uring of 5.15 with 5.10.162, so nothing here shows an older ring.
"""
