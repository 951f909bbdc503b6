"""Files of Debian packages, fetched and unpacked into the user's cache; nothing is installed."""

from __future__ import annotations

import gzip
import os
import subprocess
import tempfile
from pathlib import Path

from se_deploy.errors import SeDeployError


def cache() -> Path:
    """Where what this benchmark fetches, renders, trains and installs is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "se-deploy" / "int8"


def unpacked(package: str) -> Path:
    """The folder that a package's files lie in, as under /.

    Raises:
        SeDeployError: apt cannot fetch it.
    """
    folder = cache() / "debian" / package
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        done = subprocess.run(["apt-get", "download", "-q", package], cwd=beside, capture_output=True, text=True, check=False)
        fetched = sorted(Path(beside).glob("*.deb"))
        if not fetched:
            raise SeDeployError(f"Debian's package {package} cannot be fetched: {_last(done.stderr)}", "apt-get update, and try again")
        subprocess.run(["dpkg-deb", "-x", str(fetched[0]), str(Path(beside) / "files")], check=True)
        (Path(beside) / "files").rename(folder)
    return folder


def document(package: str, name: str) -> bytes:
    """A file of a package, `.gz` taken off."""
    content = (unpacked(package) / name).read_bytes()
    return gzip.decompress(content) if name.endswith(".gz") else content


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["no word why"])[-1]
