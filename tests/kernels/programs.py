"""What runs in a guest: the runtime's test binaries and some examples, as cargo has built them, and their libraries."""

import json
import re
import subprocess
import sys
from pathlib import Path

# Packages below these folders are the runtime; the rest of the house is not tested here.
FOLDERS = ("runtime", "hybrid-epoll")
# What only prints: lines for the page about kernels.
PRINTERS = ("runtime examples/features", "runtime examples/zerocopy")


def build(root: Path, only: str, without: str | None = None) -> dict[str, Path]:
    """Executables by name, such as `runtime tests/tcp`; those of `cargo test --workspace`, which may just have run."""
    command = ["cargo", "test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(1)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    found = {
        name: Path(message["executable"])
        for message in messages
        if message["reason"] == "compiler-artifact" and message["executable"] and (name := wanted(message, root))
    }
    return {name: found[name] for name in sorted(found) if only in name and not (without and without in name)}


def wanted(message: dict, root: Path) -> str | None:
    """The name of an artifact that is run in a guest."""
    package = Path(message["manifest_path"]).parent.relative_to(root)
    if package.parts[:1] not in [(folder,) for folder in FOLDERS]:
        return None
    source = Path(message["target"]["src_path"]).relative_to(root / package).with_suffix("")
    name = f"{package} {source}"
    return name if message["profile"]["test"] or name in PRINTERS else None


def libraries(programs: list[Path]) -> set[Path]:
    """The loader and the shared libraries that `programs` need, by the paths they look for."""
    listed = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    return {Path(path) for path in re.findall(r"^\s+(?:\S+ => )?(/\S+) \(0x", listed, re.MULTILINE)}
