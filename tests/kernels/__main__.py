"""Runs tests in guests with other kernels; `./dev kernels` and `./dev client` are the ways to call it.

A guest is a stock Debian kernel under qemu's software emulation: archive.py gets the kernel, suites.py says what is to
run in it, programs.py gets the test binaries, guest.py boots the one with the others (init is its first process),
report.py reads what comes back.

Exit status: 0 every program passed in every guest, 1 something failed, 2 wrong usage, 3 a guest could not be made.
"""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import archive
import guest
import programs
import report
from suites import SUITES, Load

ROOT = Path(__file__).resolve().parents[2]
LOGS = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "kernels"
DOCS = ROOT / "runtime/docs/kernels.md"
# Several times what a guest takes on an idle core; the machine may have other work.
LIMIT_SECONDS = 2400
# A guest has a gigabyte of memory.
GUESTS_MAX = 4

FAILED, NOT_RUN = 1, 3


def main() -> int:
    chosen = arguments()
    load = made(chosen)
    if not load.tests:
        sys.exit(f"kernels: no program has '{chosen.only}' in its name")
    verdicts, printed = set(), {}
    # qemu keeps one processor busy for a guest.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, GUESTS_MAX)) as threads:
        runs = threads.map(lambda release: run(release, load, chosen), chosen.releases)
        for kernel, outcomes in runs:
            if kernel is None:
                verdicts.add(NOT_RUN)
                continue
            printed[kernel] = "\n".join(o.text() for o in outcomes if o.program in programs.PRINTERS)
            if len(outcomes) < len(load.tests) or not all(outcome.ok() for outcome in outcomes):
                verdicts.add(FAILED)
    if chosen.write_docs and not verdicts:
        DOCS.write_text(report.document(printed))
    return FAILED if FAILED in verdicts else max(verdicts, default=0)


def made(chosen: argparse.Namespace) -> Load:
    """The programs of the suite, those that were chosen."""
    suite = SUITES[chosen.suite]
    built = programs.build(ROOT, suite.builds)
    names = [name for name in built if suite.has(name) and chosen.only in name]
    if chosen.without:
        names = [name for name in names if chosen.without not in name]
    return Load(suite, {name: built[name] for name in names}, built.get(programs.USMBD), chosen.match)


def run(
    release: archive.Release, load: Load, chosen: argparse.Namespace
) -> tuple[archive.Kernel | None, list[report.Outcome]]:
    """Gets a kernel and runs it; no kernel if there can be no guest with it."""
    try:
        kernel = archive.kernel(release, chosen.refresh)
        return kernel, follow(kernel, load, chosen.limit)
    except archive.Unavailable as reason:
        print(f"kernels: NOT RUN: {release.name}: {reason}", flush=True)
        return None, []


def follow(kernel: archive.Kernel, load: Load, limit: float) -> list[report.Outcome]:
    """Boots `kernel`, and tells of each program when it has ended."""
    logs = LOGS / load.suite.name / kernel.version
    outcomes = []
    try:
        lines = guest.boot(kernel, load, logs, limit)
        for outcome in report.outcomes(report.echoed(lines) if load.suite.each else lines):
            outcomes.append(outcome)
            print(f"{kernel.version}  {outcome.headline() if load.suite.each else outcome}", flush=True)
    except guest.Lost as reason:
        print(f"{kernel.version}  LOST in {[*load.tests, 'the end'][len(outcomes)]}: {reason}", flush=True)
    total = report.total(outcomes, len(load.tests))
    print(f"{kernel.version}  {total}; everything it said is in {os.path.relpath(logs)}", flush=True)
    return outcomes


def arguments() -> argparse.Namespace:
    names = [release.name for release in archive.RELEASES]
    parser = argparse.ArgumentParser(prog="./dev kernels", description="Run tests on other kernels.")
    parser.add_argument("releases", nargs="*", metavar="KERNEL", help=f"of {', '.join(names)}; all of them without one")
    parser.add_argument("--suite", default="runtime", choices=SUITES, help="what to run: the runtime's tests without it")
    parser.add_argument("--match", default="", metavar="WORDS", help="only tests with WORDS in their names")
    parser.add_argument("--only", default="", metavar="WORD", help="only programs with WORD in their names")
    parser.add_argument("--without", metavar="WORD", help="no programs with WORD in their names")
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, metavar="SECONDS", help="for one guest")
    parser.add_argument("--refresh", action="store_true", help="look for newer packages than those kept")
    parser.add_argument("--write-docs", action="store_true", help=f"write {DOCS.relative_to(ROOT)} if all passes")
    chosen = parser.parse_args()
    for name in chosen.releases:
        if name not in names:
            parser.error(f"there is no kernel '{name}'; there are {', '.join(names)}")
    if chosen.write_docs and (chosen.releases or chosen.only or chosen.without or chosen.suite != "runtime"):
        parser.error("--write-docs tells of all kernels, so it runs everything in all of them")
    chosen.releases = [r for r in archive.RELEASES if not chosen.releases or r.name in chosen.releases]
    return chosen


if __name__ == "__main__":
    sys.exit(main())
