"""System files: created by operating systems, NAS boxes and programs beside people's files."""

import re
from functools import lru_cache

SYSTEM = "of a system folder"
SYSTEM_FILE = "a system file"

# Compared in lower case.
FOLDERS = frozenset(
    {
        # Synology, QNAP and others.
        "@eadir", "@tmp", "@recycle", "@recycled", "@recently-snapshot", "@snapshot", "@sharebin",
        "@synoresource",
        "@appstore", "@database", "@download", "#recycle", "#snapshot", "#recently-snapshot", ".@__thumb",
        "@__thumb", ".@__qini", ".@upload_cache", ".@qnap", ".webaxs", ".recycle", ".recycler",
        ".wdmc", ".zfs",
        ".snapshot", ".snapshots", ".snap", "~snapshot", "lost+found",
        # Windows.
        "$recycle.bin", "recycler", "system volume information", "$winreagent", "$extend",
        # macOS.
        "__macosx", ".trashes", ".trash", ".spotlight-v100", ".fseventsd", ".documentrevisions-v100",
        ".temporaryitems", "temporary items", "network trash folder", ".appledouble", ".appledb",
        ".appledesktop",
        ".pkinstallsandboxmanager", ".mobilebackups", ".vol",
        # Linux, and picture viewers and copy programs.
        ".thumbnails", ".thumbs", ".thumb", ".xvpics", ".picasaoriginals", ".cache", ".stversions",
        ".stfolder",
        ".sync", ".dropbox.cache", ".tmp.drivedownload", ".tmp.driveupload", ".owncloudsync",
        ".nextcloudsync",
        ".git", ".svn", ".hg", ".deleted", ".dtrash",
    }
)  # fmt: skip
FILES = frozenset(
    {
        "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", ".ds_store", ".localized", "icon\r",
        ".apdisk", ".volumeicon.icns", ".com.apple.timemachine.donotpresent", ".picasa.ini", "picasa.ini",
        ".directory", ".nomedia", ".syncinfo", ".bridgecache", ".bridgecachet", ".bridgelabelsandratings",
        ".gitignore", ".gitkeep", ".keep",
    }
)  # fmt: skip
# Trash folder of a user on a shared disk; macOS shadow of a file; lock and temporary files.
FOLDER = re.compile(r"\.trash-\d+|found\.\d{3}")
FILE = re.compile(
    r"\._.+|~\$.+|\.~lock\..+#|\.nfs[0-9a-f]{8,}|\.fuse_hidden.+|\.smbdelete.+|\.syncthing\..+\.tmp"
)


@lru_cache(maxsize=1024)
def is_system_folder(name: str) -> bool:
    """Whether a folder of that name holds system files only."""
    folded = name.lower()
    return folded in FOLDERS or bool(FOLDER.fullmatch(folded))


def is_system_file(name: str) -> bool:
    """Whether a file name, without its folder, is that of a system file."""
    folded = name.lower()
    return folded in FILES or bool(FILE.fullmatch(folded))


def system_reason(path: str) -> str | None:
    """Return the reason to skip the file at a path with slashes; None if it is no system file."""
    *folders, name = path.split("/")
    if any(map(is_system_folder, folders)):
        return SYSTEM
    return SYSTEM_FILE if is_system_file(name) else None
