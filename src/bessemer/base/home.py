"""The home: one folder with everything that one Bessemer knows and runs."""

from dataclasses import dataclass
from pathlib import Path

#: Raised when a newer program changes the home so that an older one would harm it.
HOME_VERSION = 1


@dataclass(frozen=True)
class Home:
    """The paths of a home; nothing here touches the disk.

    Attributes:
        root: an absolute path without symbolic links.
    """

    root: Path

    @property
    def version_file(self) -> Path:
        """HOME_VERSION of the program that last changed the home's form."""
        return self.root / "version"

    @property
    def lock(self) -> Path:
        """Held (flock) by the control plane while it runs; its text is the holder's pid."""
        return self.root / "lock"

    @property
    def config(self) -> Path:
        """JSON: the ports and the loopback network, kept across restarts."""
        return self.root / "config.json"

    @property
    def kubeconfig(self) -> Path:
        """For kubectl and every client: server, CA, admin token. Mode 0600."""
        return self.root / "kubeconfig"

    @property
    def keys(self) -> Path:
        """CA, server certificate, token signing key, admin token, secrets key. Mode 0700."""
        return self.root / "keys"

    @property
    def objects(self) -> Path:
        """The SQLite file of the API server's objects."""
        return self.root / "objects.db"

    @property
    def reserve(self) -> Path:
        """Room on the disk for deletions and starts on a full one."""
        return self.root / "reserve"

    @property
    def history(self) -> Path:
        """The SQLite file of what has a long history: runs, tasks, artifacts."""
        return self.root / "history.db"

    @property
    def pods(self) -> Path:
        """``<uid>/containers/<name>/<attempt>/`` and ``<uid>/volumes/<volume>/``."""
        return self.root / "pods"

    @property
    def spares(self) -> Path:
        """Folders as those of pods, made ahead."""
        return self.root / "spares"

    @property
    def volumes(self) -> Path:
        """``<namespace>/<claim>``: links to the claims' folders, and those folders."""
        return self.root / "volumes"

    @property
    def claims(self) -> Path:
        """``<uid>/``: what PersistentVolumeClaims are on one machine. No namespace has a dot."""
        return self.volumes / ".claims"

    @property
    def environments(self) -> Path:
        """``<key>/``: virtual environments, one a (Python, package set)."""
        return self.root / "environments"

    @property
    def cache(self) -> Path:
        """What can be deleted at any time without loss: uv's downloads."""
        return self.root / "cache"

    @property
    def run(self) -> Path:
        """Sockets and pid files of the programs now running."""
        return self.root / "run"

    def claim(self, namespace: str, name: str) -> Path:
        """A link to a PersistentVolumeClaim's folder: artifacts' URIs begin with it."""
        return self.volumes / namespace / name

    def claim_folder(self, uid: str) -> Path:
        """The folder behind the PersistentVolumeClaim of that uid, and of no other ever."""
        return self.claims / uid
