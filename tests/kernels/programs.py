"""What runs in a guest: test binaries and some examples, as cargo has built them, and their libraries."""

import json
import re
import subprocess
import sys
from pathlib import Path

# What only prints: lines for the page about kernels.
PRINTERS = ("runtime examples/features", "runtime examples/zerocopy")
# The server, which other programs start.
USMBD = "smb-server src/main"


def build(root: Path, commands: tuple[str, ...]) -> dict[str, Path]:
    """What these commands of cargo make: executables by name, such as `runtime tests/tcp`."""
    messages = []
    for words in commands:
        command = ["cargo", *words.split(), "--message-format=json-render-diagnostics"]
        done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            sys.exit(1)
        messages += [json.loads(line) for line in done.stdout.splitlines()]
    artifacts = [message for message in messages if message["reason"] == "compiler-artifact" and message["executable"]]
    found = {named(artifact, root): Path(artifact["executable"]) for artifact in artifacts if runs(artifact, root)}
    return {name: found[name] for name in sorted(found)}


def runs(artifact: dict, root: Path) -> bool:
    """Whether it is a test, or something else that is run in a guest. Of a program there are two, one its own tests."""
    return artifact["profile"]["test"] or named(artifact, root) in (*PRINTERS, USMBD)


def named(artifact: dict, root: Path) -> str:
    folder = Path(artifact["manifest_path"]).parent
    source = Path(artifact["target"]["src_path"]).relative_to(folder).with_suffix("")
    name = f"{folder.relative_to(root) if folder != root else 'house'} {source}"
    return f"{name} tests" if name == USMBD and artifact["profile"]["test"] else name


def libraries(programs: list[Path]) -> set[Path]:
    """The loader and the shared libraries that `programs` need, by the paths they look for."""
    listed = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    return {Path(path) for path in re.findall(r"^\s+(?:\S+ => )?(/\S+) \(0x", listed, re.MULTILINE)}
