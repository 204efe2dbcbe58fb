"""What some tests want set, of the server or of smbtorture itself."""

import re
from dataclasses import dataclass


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
    # An empty file in the share.
    file: str = ""


# Another person also to the kernel, where usmbd is root: with an account of every unix.
SECOND_USER = Settings(
    server=("--user", "daemon:secret3"),
    torture=("torture:user2name=daemon", "torture:user2password=secret3"),
)
FILE = "testfile"

WANTED = [
    (r"\.set-sparse-ioctl$", Settings(torture=(f"torture:filename={FILE}",))),
    (
        r"\.zero-data-ioctl$",
        Settings(
            file=FILE,
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
