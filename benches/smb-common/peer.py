"""Unpacks Samba's server, or its test suite, and prints where it is; `./dev bench` calls it.

usage: peer.py smbd|smbtorture [--refresh]
Exit status: 0 it is there, 3 it could not be had.
"""

import sys

from packages import Unavailable
from samba import SUITE, unpacked

# Name of the tree, and what is in it. The server's modules are in its own package in newer releases; both are asked for,
# so either is good. The suite's tree is the one that `./dev conformance` has.
TREES = {
    "smbd": (f"{SUITE}-smbd", ["samba", "samba-vfs-modules"]),
    "smbtorture": (SUITE, ["samba-testsuite", "smbclient"]),
}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TREES:
        sys.exit(__doc__)
    name, packages = TREES[sys.argv[1]]
    try:
        print(unpacked(name, packages, "--refresh" in sys.argv))
    except Unavailable as reason:
        print(f"bench: no {sys.argv[1]}: {reason}", file=sys.stderr)
        sys.exit(3)
