"""Runs smbtorture against usmbd, one test at a time, and compares with the list; `./dev conformance` calls it.

One at a time, since on one share tests disturb each other. torture.py has the program, server.py usmbd,
settings.py what some tests need of it, expectations.py the list, btrfs.py another file system.

Exit status: 0 everything as expected, 1 not, 2 wrong usage, 3 smbtorture could not be had.
"""

import argparse
import os
import re
import sys
from collections import Counter
from pathlib import Path

import btrfs
from expectations import LIST, Expectations
from packages import Unavailable
from server import Server
from settings import settings_of
from torture import Result, Torture

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
LOGS = TARGET / "conformance"
LIMIT_SECONDS = 300


def main() -> int:
    chosen = arguments()
    expected = Expectations(chosen.list)
    try:
        if chosen.btrfs:
            return btrfs.run_inside(sys.argv[0], [word for word in sys.argv[1:] if word != "--btrfs"])
        torture = Torture(chosen.refresh)
        tests = [test for test in torture.tests() if re.search(chosen.match, test)]
        print(f"smbtorture {torture.version()}, {len(tests)} tests", flush=True)
    except Unavailable as reason:
        print(f"conformance: NOT RUN: {reason}")
        return 3
    left = {"left"} if not chosen.quick else {"left", "fail", "skip", "timeout"}
    if chosen.list != LIST:
        # It has those only that come to something else there.
        left.add("")
    tests = [test for test in tests if chosen.all or expected.verdict(test) not in left]
    complaints = [
        complaint for backend in chosen.backend for complaint in run(torture, tests, backend, chosen, expected)
    ]
    for complaint in complaints:
        print(f"UNEXPECTED  {complaint}")
    return 1 if complaints else 0


def run(torture: Torture, tests: list[str], backend: str, chosen, expected: Expectations) -> list[str]:
    """All of `tests` on one backend; what is not as expected."""
    logs = LOGS / chosen.list.stem.removeprefix(LIST.stem).strip("-") / backend
    logs.mkdir(parents=True, exist_ok=True)
    results, complaints = [], []
    for test in tests:
        settings = settings_of(test)
        log = logs / f"{test}.server.log"
        # A server each, and a folder: what a test leaves behind is nobody else's.
        with Server(chosen.binary, backend, log, chosen.below, settings) as server:
            options = server.options() + [f"--option={option}" for option in [*settings.torture, *chosen.option]]
            result, said = torture.run(test, server.unc(), options, chosen.limit)
            (logs / f"{test}.log").write_text(said)
            alive = server.is_alive()
        results.append(result)
        wrong = expected.complaint(result)
        if not alive:
            wrong = "usmbd has ended"
        if wrong:
            complaints.append(f"{backend}  {test}: {wrong}")
        print(f"{backend}  {result.verdict:7} {result.seconds:5.1f} s  {test}  {result.why}", flush=True)
    write(logs / "results.tsv", results)
    counted = Counter(result.verdict for result in results)
    print(f"{backend}  {', '.join(f'{count} {verdict}' for verdict, count in counted.most_common())}", flush=True)
    return complaints


def write(path: Path, results: list[Result]) -> None:
    lines = (f"{r.test}\t{r.verdict}\t{r.seconds:.1f}\t{r.why}\n" for r in results)
    path.write_text("".join(lines))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev conformance", description=__doc__.split("\n", 1)[0])
    parser.add_argument("match", nargs="?", default="", metavar="REGEX", help="the tests with this in their name")
    parser.add_argument("--backend", action="append", choices=["uring", "hybrid", "epoll"], help="uring and epoll")
    parser.add_argument("--quick", action="store_true", help="those only that are to pass")
    parser.add_argument("--all", action="store_true", help="also those that the list leaves out")
    parser.add_argument("--option", action="append", default=[], metavar="K=V", help="one of smbtorture's")
    parser.add_argument("--below", type=Path, metavar="DIR", help="make the share's folder there")
    parser.add_argument("--list", type=Path, default=LIST, metavar="FILE", help="another list than expected.tsv")
    parser.add_argument("--btrfs", action="store_true", help="on a btrfs, the tests of expected-btrfs.tsv; takes root")
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, metavar="SECONDS", help="for each test")
    parser.add_argument("--refresh", action="store_true", help="get the newest smbtorture")
    parser.add_argument("--binary", type=Path, default=TARGET / "debug/usmbd", help="another usmbd")
    chosen = parser.parse_args()
    chosen.backend = chosen.backend or ["uring", "epoll"]
    return chosen


sys.exit(main())
