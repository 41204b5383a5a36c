"""A small repository with what scripts/release reads, to release from."""

import datetime
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSION = "1.2.3"
TODAY = datetime.datetime.now(datetime.timezone.utc).date()

FILES = {
    "Cargo.toml": f"""[workspace]
members = ["."]

[workspace.package]
version = "{VERSION}"

[package]
name = "natha"
version.workspace = true
""",
    "Cargo.lock": f"""[[package]]
name = "anyhow"
version = "1.0.9"

[[package]]
name = "natha"
version = "{VERSION}"

[[package]]
name = "natha-lab"
version = "{VERSION}"
""",
    "CHANGELOG.md": f"""# Changelog

## Unreleased

## {VERSION} - {TODAY}

### Fixed

- A fault.

## 1.2.2 - 2024-02-29

- An older one.
""",
    "README.md": f"packer build -var version={VERSION} target/natha-{VERSION}.aarch64\n",
    "SECURITY.md": "# Security\n",
    "docs/packages.md": f"apt-get install ./natha_{VERSION}-1_arm64.deb\n",
    "docs/evidence/soak.md": "Run with natha-0.9.1.x86_64.\n",
    "ami/natha.pkr.hcl": f"# packer build -var version={VERSION}\n",
    "templates/terraform/README.md": f"source = git::https://example.com/natha?ref=v{VERSION}\n",
    "packaging/release-key.gpg": "a key\n",
    ".gitignore": "/target\n",
}


class Tree:
    """The repository, committed. Removed by close()."""

    def __init__(self):
        self._directory = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self._directory.name)
        for name, text in FILES.items():
            self.write(name, text)
        (self.path / "scripts").mkdir()
        for name in ("release", "lib.sh"):
            shutil.copy(ROOT / "scripts" / name, self.path / "scripts" / name)
        self.git("init", "--quiet")
        self.commit()

    def close(self):
        self._directory.cleanup()

    def write(self, name, text):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def change(self, name, old, new):
        """Replaces text, and commits."""
        text = (self.path / name).read_text()
        assert old in text, f"{name} has no {old}"
        self.write(name, text.replace(old, new))
        self.commit()

    def git(self, *arguments):
        name = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *name, *arguments], cwd=self.path, check=True, capture_output=True, text=True
        ).stdout

    def commit(self):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "x")

    def release(self, *arguments, **options):
        """Runs scripts/release: status, standard output, standard error."""
        done = subprocess.run(
            [self.path / "scripts/release", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )
        return done.returncode, done.stdout, done.stderr
