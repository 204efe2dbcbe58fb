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


WANTED = [
    (r"\.ACCESSBASED$", Settings(other=("hideunread", "hide-unreadable"))),
    (r"^smb2\.create_no_streams\.", Settings(share=("no-streams",))),
    (r"^smb2\.session-require-signing\.", Settings(server=("--require-signing",))),
]


def settings_of(test: str) -> Settings:
    return next((settings for pattern, settings in WANTED if re.search(pattern, test)), Settings())
