"""scripts/release sums, sign and verify: with files of every kind, and with keys of every kind."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

from tree import VERSION, Tree

SPEC = """Name: natha
Version: %{version_of_it}
Release: 1
Summary: a test
License: none
AutoReqProv: no
%description
A test.
%files
"""


def run(*arguments, **options):
    return subprocess.run(arguments, check=True, capture_output=True, text=True, **options).stdout


def make_deb(directory, version, architecture):
    with tempfile.TemporaryDirectory() as work:
        control = pathlib.Path(work, "DEBIAN/control")
        control.parent.mkdir()
        control.write_text(
            f"Package: natha\nVersion: {version}-1\nArchitecture: {architecture}\n"
            "Maintainer: a <a@example.com>\nDescription: a test\n"
        )
        target = pathlib.Path(directory, f"natha_{VERSION}-1_{architecture}.deb")
        run("dpkg-deb", "--root-owner-group", "--build", work, target)


def make_rpm(directory, version, architecture):
    with tempfile.TemporaryDirectory() as work:
        spec = pathlib.Path(work, "natha.spec")
        spec.write_text(SPEC)
        defines = ["--define", f"_topdir {work}", "--define", f"version_of_it {version}"]
        run("rpmbuild", "-bb", "--target", f"{architecture}-linux", *defines, spec)
        made = pathlib.Path(work, "RPMS", architecture, f"natha-{version}-1.{architecture}.rpm")
        shutil.move(made, pathlib.Path(directory, f"natha-{VERSION}-1.{architecture}.rpm"))


def make_list(directory, version, architecture):
    path = pathlib.Path(directory, f"natha-{VERSION}.{architecture}.cdx.json")
    path.write_text(f'{{"metadata": {{"component": {{"version": "{version}"}}}}}}\n')


def make_release(directory):
    """Small files of the kinds that scripts/package makes."""
    for architecture, debian in (("x86_64", "amd64"), ("aarch64", "arm64")):
        pathlib.Path(directory, f"natha-{VERSION}.{architecture}").write_text(architecture)
        make_list(directory, VERSION, architecture)
        make_deb(directory, VERSION, debian)
        make_rpm(directory, VERSION, architecture)


class Keys:
    """gpg with a home of its own. The directory's name must be short: sockets are made in it."""

    def __init__(self):
        self.home = tempfile.mkdtemp()
        self.environment = os.environ | {"GNUPGHOME": self.home}

    def close(self):
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=self.environment, check=False)
        shutil.rmtree(self.home)

    def gpg(self, *arguments, passphrase="", **options):
        quiet = ["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", passphrase]
        return subprocess.run(
            ["gpg", *quiet, *arguments],
            check=True,
            capture_output=True,
            env=self.environment,
            timeout=60,
            **options,
        ).stdout

    def make(self, name, usage="cert", passphrase="", subkey="2y"):
        """A key as docs/release.md makes it: a primary one, and a subkey that signs."""
        self.gpg("--quick-generate-key", name, "ed25519", usage, "5y", passphrase=passphrase)
        fingerprint = next(line[9] for line in self.listed("=" + name) if line[0] == "fpr")
        if subkey:
            arguments = [fingerprint, "ed25519", "sign", subkey]
            self.gpg("--quick-add-key", *arguments, passphrase=passphrase)
        return fingerprint

    def listed(self, fingerprint):
        told = self.gpg("--list-keys", "--with-colons", fingerprint).decode()
        return [line.split(":") for line in told.splitlines()]

    def subkey(self, fingerprint):
        return [line[9] for line in self.listed(fingerprint) if line[0] == "fpr"][1]

    def expire(self, fingerprint):
        """Ends the subkey's validity within a second, by gpg's own clock, and waits for it."""
        self.gpg("--quick-set-expire", fingerprint, "seconds=1", self.subkey(fingerprint))
        for _ in range(200):
            if any(line[:2] == ["sub", "e"] for line in self.listed(fingerprint)):
                return
            time.sleep(0.05)
        raise AssertionError("the key does not expire")

    def export(self, fingerprint, directory, passphrase=""):
        """The files of the public key, and of the secret subkeys alone."""
        public = pathlib.Path(directory, fingerprint + ".gpg")
        public.write_bytes(self.gpg("--export", fingerprint))
        secret = pathlib.Path(directory, fingerprint + ".secret")
        told = self.gpg("--armor", "--export-secret-subkeys", fingerprint, passphrase=passphrase)
        secret.write_bytes(told)
        return public, secret


class Case(unittest.TestCase):
    """With files of a release, copied for each test, and two keys."""

    @classmethod
    def setUpClass(cls):
        cls.tree = Tree()
        cls.addClassCleanup(cls.tree.close)
        base = tempfile.TemporaryDirectory()
        cls.addClassCleanup(base.cleanup)
        cls.base = pathlib.Path(base.name)
        cls.made = cls.base / "made"
        cls.made.mkdir()
        make_release(cls.made)
        cls.keys = Keys()
        cls.addClassCleanup(cls.keys.close)
        cls.fingerprint = cls.keys.make("natha releases")
        cls.public, cls.secret = cls.keys.export(cls.fingerprint, cls.base)
        cls.other_public, cls.other_secret = cls.keys.export(cls.keys.make("another"), cls.base)

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name, "dist")
        shutil.copytree(self.made, self.directory)

    def release(self, command, *arguments, **options):
        return self.tree.release(command, self.directory, *arguments, **options)

    def works(self, command, *arguments, **options):
        status, out, err = self.release(command, *arguments, **options)
        self.assertEqual((status, out), (0, ""), err)
        return err

    def fails(self, message, command, *arguments, **options):
        status, out, err = self.release(command, *arguments, **options)
        self.assertEqual((status, out), (1, ""), err)
        self.assertIn(message, err)

    def sign(self):
        self.works("sums")
        return self.works("sign", "--key", self.secret, "--public", self.public)

    def file(self, pattern):
        (found,) = self.directory.glob(pattern)
        return found

    def is_signed(self):
        return (self.directory / "SHA256SUMS.asc").exists()


class Sums(Case):
    def test_they_are_of_all_files(self):
        self.assertIn("SHA256SUMS has 8 files of 1.2.3", self.works("sums"))
        told = run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=self.directory)
        self.assertEqual(told.count(": OK"), 8)

    def test_a_file_that_is_missing(self):
        for pattern in ("*.x86_64", "*.aarch64.cdx.json", "*_arm64.deb", "*.x86_64.rpm"):
            with self.subTest(pattern):
                file = self.file(pattern)
                content = file.read_bytes()
                file.unlink()
                self.fails("has no natha", "sums")
                self.assertFalse((self.directory / "SHA256SUMS").exists())
                file.write_bytes(content)

    def test_a_file_too_many(self):
        (self.directory / "natha-1.2.2.x86_64").write_text("x")
        self.fails("natha-1.2.2.x86_64 is not part of a release of 1.2.3", "sums")

    def test_two_revisions_of_a_package(self):
        file = self.file("*_arm64.deb")
        shutil.copy(file, file.with_name(file.name.replace("-1_", "-2_")))
        self.fails("has several of natha_1.2.3-*_arm64.deb", "sums")

    def test_a_package_of_another_version_inside(self):
        makers = [
            (make_deb, "arm64", "natha_1.2.3-1_arm64.deb"),
            (make_rpm, "aarch64", "natha-1.2.3-1.aarch64.rpm"),
            (make_list, "x86_64", "natha-1.2.3.x86_64.cdx.json"),
        ]
        for make, architecture, name in makers:
            with self.subTest(name):
                make(self.directory, "1.2.4", architecture)
                self.fails(f"{name} is of version 1.2.4 inside", "sums")
                make(self.directory, VERSION, architecture)
        self.works("sums")

    def test_a_package_that_is_cut_short(self):
        file = self.file("*_amd64.deb")
        file.write_bytes(file.read_bytes()[:50])
        self.fails("_amd64.deb is of version unreadable inside", "sums")

    def test_no_directory(self):
        shutil.rmtree(self.directory)
        self.fails("is no directory", "sums")


class Sign(Case):
    def test_it_names_the_key(self):
        self.assertIn(f"is signed by {self.fingerprint}", self.sign())

    def test_a_key_on_standard_input(self):
        self.works("sums")
        key = self.secret.read_text()
        self.works("sign", "--key", "-", "--public", self.public, input=key)
        self.works("verify", "--public", self.public)

    def test_the_public_key_of_the_repository_is_the_default(self):
        target = self.tree.path / "packaging/release-key.gpg"
        before = target.read_bytes()
        self.addCleanup(target.write_bytes, before)
        shutil.copy(self.public, target)
        self.works("sums")
        self.works("sign", "--key", self.secret)
        self.works("verify")

    def test_a_key_that_is_not_the_published_one(self):
        self.works("sums")
        for public in (self.other_public, self.base / "missing"):
            arguments = ["--key", self.secret, "--public", public]
            self.fails("the signature was removed", "sign", *arguments)
            self.assertFalse(self.is_signed())

    def test_a_key_that_cannot_sign(self):
        self.works("sums")
        (self.base / "no-key").write_text("nothing\n")
        for key in (self.public, self.base / "no-key", self.base / "missing"):
            self.fails("--key: ", "sign", "--key", key, "--public", self.public)
            self.assertFalse(self.is_signed())

    def test_a_key_with_a_passphrase_or_that_has_expired(self):
        self.works("sums")
        locked = self.keys.make("locked", passphrase="secret")
        public, secret = self.keys.export(locked, self.base, passphrase="secret")
        self.fails("gpg did not sign", "sign", "--key", secret, "--public", public)
        fingerprint = self.keys.make("expired")
        self.keys.expire(fingerprint)
        public, secret = self.keys.export(fingerprint, self.base)
        self.fails("gpg did not sign", "sign", "--key", secret, "--public", public)
        self.assertFalse(self.is_signed())

    def test_files_that_are_not_those_of_the_sums(self):
        arguments = ["--key", self.secret, "--public", self.public]
        self.fails("there is no", "sign", *arguments)
        self.works("sums")
        with self.file("*_arm64.deb").open("ab") as file:
            file.write(b"x")
        self.fails("has changed since its SHA256SUMS was made", "sign", *arguments)
        self.assertFalse(self.is_signed())

    def test_nothing_of_the_key_is_left(self):
        self.works("sums")
        with tempfile.TemporaryDirectory() as work:
            environment = os.environ | {"TMPDIR": work}
            arguments = ["--key", self.secret, "--public", self.public]
            self.works("sign", *arguments, env=environment)
            self.assertEqual(list(pathlib.Path(work).iterdir()), [])
            arguments = ["--key", self.public, "--public", self.public]
            self.fails("--key: ", "sign", *arguments, env=environment)
            self.assertEqual(list(pathlib.Path(work).iterdir()), [])


class Verify(Case):
    def verifies(self):
        return self.works("verify", "--public", self.public)

    def refuses(self, message):
        self.fails(message, "verify", "--public", self.public)

    def test_what_was_signed(self):
        self.sign()
        self.assertIn(f"are signed by {self.fingerprint}", self.verifies())

    def test_what_docs_release_has_for_users(self):
        """The two commands that need nothing of this repository."""
        self.sign()
        gpgv = ["gpgv", "--keyring", self.public, "SHA256SUMS.asc", "SHA256SUMS"]
        check = ["sha256sum", "--check", "--ignore-missing", "SHA256SUMS"]
        self.file("*_arm64.deb").unlink()
        run(*gpgv, cwd=self.directory)
        self.assertEqual(run(*check, cwd=self.directory).count(": OK"), 7)
        with (self.directory / "SHA256SUMS").open("a") as file:
            file.write("\n")
        with self.assertRaises(subprocess.CalledProcessError):
            run(*gpgv, cwd=self.directory)

    def test_a_file_that_was_changed(self):
        self.sign()
        self.file("*.x86_64").write_text("another program")
        self.refuses("has changed since its SHA256SUMS was made")

    def test_a_file_and_its_sum_that_were_changed(self):
        self.sign()
        self.file("*.x86_64").write_text("another program")
        self.works("sums")
        self.refuses("SHA256SUMS is not signed by the key in")

    def test_a_file_that_was_added_or_removed(self):
        self.sign()
        added = self.directory / "natha-1.2.3.riscv64"
        added.write_text("x")
        self.refuses("not listed: natha-1.2.3.riscv64")
        added.unlink()
        self.file("*_arm64.deb").unlink()
        self.refuses("missing:    natha_1.2.3-1_arm64.deb")

    def test_another_key(self):
        self.works("sums")
        self.works("sign", "--key", self.other_secret, "--public", self.other_public)
        self.refuses("SHA256SUMS is not signed by the key in")

    def test_no_signature_and_no_key(self):
        self.works("sums")
        self.refuses("not signed")
        self.fails("there is no public key in", "verify", "--public", self.base / "missing")

    def test_a_key_that_has_expired_since_and_is_renewed(self):
        fingerprint = self.keys.make("to renew")
        public, secret = self.keys.export(fingerprint, self.base)
        self.works("sums")
        self.works("sign", "--key", secret, "--public", public)
        self.keys.expire(fingerprint)
        public, _ = self.keys.export(fingerprint, self.base)
        self.fails("has expired: get the renewed one", "verify", "--public", public)
        self.keys.gpg("--quick-set-expire", fingerprint, "2y", self.keys.subkey(fingerprint))
        public, _ = self.keys.export(fingerprint, self.base)
        self.works("verify", "--public", public)

    def test_a_key_that_was_revoked(self):
        """As docs/release.md does it when someone else has the subkey."""
        self.works("sums")
        fingerprint = self.keys.make("to revoke")
        public, secret = self.keys.export(fingerprint, self.base)
        self.works("sign", "--key", secret, "--public", public)
        self.works("verify", "--public", public)
        commands = b"key 1\nrevkey\ny\n1\n\ny\nsave\n"
        self.keys.gpg("--command-fd", "0", "--edit-key", fingerprint, input=commands)
        public, _ = self.keys.export(fingerprint, self.base)
        self.fails("SHA256SUMS is not signed by the key in", "verify", "--public", public)
