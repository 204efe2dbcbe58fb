"""Unpacks the Samba that usmbd is measured beside, and prints where it is; `./dev bench files` calls it.

Exit status: 0 it is there, 3 it could not be had.
"""

import sys

from packages import Unavailable
from samba import SUITE, unpacked

# The modules of the second are in the first in newer releases; both are asked for, so either is good.
PACKAGES = ["samba", "samba-vfs-modules"]

if __name__ == "__main__":
    try:
        print(unpacked(f"{SUITE}-smbd", PACKAGES, "--refresh" in sys.argv))
    except Unavailable as reason:
        print(f"bench: no Samba: {reason}", file=sys.stderr)
        sys.exit(3)
