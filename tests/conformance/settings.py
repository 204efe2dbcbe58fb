"""What some tests want set, of the server or of smbtorture itself."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Beyond what all tests have."""

    # Words behind the share's folder.
    share: tuple[str, ...] = ()
    # Another share: its name, and its words.
    other: tuple[str, ...] = ()
    # More of usmbd's command line.
    server: tuple[str, ...] = ()
    # Options of smbtorture, K=V.
    torture: tuple[str, ...] = ()
    # What has to be in the share's folder.
    prepare: Callable[[Path], None] | None = None


# Another person also to the kernel, where usmbd is root: with an account of every unix.
SECOND_USER = Settings(
    server=("--user", "daemon:secret3"),
    torture=("torture:user2name=daemon", "torture:user2password=secret3"),
)
FILE = "testfile"

SNAPSHOT = "@GMT-2026.01.02-03.04.05"


def with_snapshot(share: Path) -> None:
    """A share with a snapshot of it: a file with a stream, and one with two names in a folder."""
    for root in share, share / ".snapshots" / SNAPSHOT:
        (root / "subdir").mkdir(parents=True)
        (root / "file").write_text("as it was")
        os.setxattr(root / "file", "user.DosStream.stream:$DATA", b"beside\0")
        os.link(root / "file", root / "subdir" / "hardlink")
    (share / "file").write_text("as it is")


PREVIOUS_VERSIONS = Settings(
    share=("snapshots=.snapshots",),
    prepare=with_snapshot,
    torture=(
        f"torture:twrp_snapshot={SNAPSHOT}",
        "torture:twrp_file=file",
        "torture:twrp_stream=stream",
        "torture:twrp_stream_size=6",
    ),
)

WANTED = [
    (r"^smb2\.twrp\.|\.shadow_copy$", PREVIOUS_VERSIONS),
    (r"\.set-sparse-ioctl$", Settings(torture=(f"torture:filename={FILE}",))),
    (
        r"\.zero-data-ioctl$",
        Settings(
            prepare=lambda share: (share / FILE).touch(),
            torture=(f"torture:filename={FILE}", "torture:offset=4096", "torture:beyond_final_zero=8192"),
        ),
    ),
    # What holds security descriptors where user attributes have to.
    (r"\.acl_xattr$", Settings(torture=("torture:acl_xattr_name=NTACL",))),
    (r"\.case-insensitive-bypass$", SECOND_USER),
    (r"\.bug14788\.VALIDATE", Settings(other=("noperm",))),
    (r"\.ACCESSBASED$", Settings(other=("hideunread", "hide-unreadable"))),
    (r"^smb2\.create_no_streams\.", Settings(share=("no-streams",))),
    (r"^smb2\.session-require-signing\.", Settings(server=("--require-signing",))),
]


def settings_of(test: str) -> Settings:
    return next((settings for pattern, settings in WANTED if re.search(pattern, test)), Settings())
