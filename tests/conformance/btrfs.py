"""A btrfs to run the tests on, for what the usual file systems cannot do; in an image, which nobody else sees mounted."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from packages import Unavailable, need_commands, run

SIZE = 1 << 30
LIST = Path(__file__).with_name("expected-btrfs.tsv")
# Gone when the command ends, loop device and all: the mount is of a namespace of its own.
INSIDE = ["unshare", "--mount", "sh", "-c", 'mount -o loop "$0" "$1" && shift && exec "$@"']


def run_inside(program: str, arguments: list[str]) -> int:
    """Runs the program again with the file system below its shares; its exit status."""
    need_commands("mkfs.btrfs", "unshare", "mount")
    if os.geteuid() != 0:
        raise Unavailable("mounting takes root")
    with tempfile.TemporaryDirectory(prefix="usmbd-btrfs-") as scratch:
        Path(scratch).chmod(0o755)
        image, folder = Path(scratch, "image"), Path(scratch, "mounted")
        folder.mkdir()
        with image.open("wb") as file:
            file.truncate(SIZE)
        run("mkfs.btrfs", "-q", image)
        # Once for nothing, to tell a kernel that cannot from tests that fail.
        run(*INSIDE, image, folder, "true")
        again = [sys.executable, "-B", program, *arguments, "--below", folder, "--list", LIST]
        return subprocess.run([*INSIDE, image, folder, *again], check=False).returncode
