"""What operating systems, NAS boxes and programs put beside people's files: thumbnails, bins, shadows."""

import re

SYSTEM = "of a system folder"
SYSTEM_FILE = "a system file"

# Compared without regard to letter case.
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
        # Linux, and programs that look at pictures or copy them.
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
# Trash of a user on a shared disk; a macOS shadow of a file; what programs keep open.
FOLDER = re.compile(r"\.trash-\d+|found\.\d{3}")
FILE = re.compile(
    r"\._.+|~\$.+|\.~lock\..+#|\.nfs[0-9a-f]{8,}|\.fuse_hidden.+|\.smbdelete.+|\.syncthing\..+\.tmp"
)


def is_system_folder(name: str) -> bool:
    """Whether a folder of that name holds nothing of its user's."""
    folded = name.lower()
    return folded in FOLDERS or bool(FOLDER.fullmatch(folded))


def is_system_file(name: str) -> bool:
    """The same of a file's name, without its folder."""
    folded = name.lower()
    return folded in FILES or bool(FILE.fullmatch(folded))


def system_reason(path: str) -> str | None:
    """Why the file at a path with slashes is not taken; None if it is no system's."""
    *folders, name = path.split("/")
    if any(map(is_system_folder, folders)):
        return SYSTEM
    return SYSTEM_FILE if is_system_file(name) else None
