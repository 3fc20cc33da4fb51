"""SHA256SUMS files: readable by `sha256sum`, and checked against changed files."""

import hashlib
import os
import subprocess

import pytest

from msmm.core import checksums
from msmm.core.errors import UserError


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(range(256)) * 5000)
    (tmp_path / "ü b.txt").write_text("text")
    (tmp_path / "README.md").write_text("for people")
    checksums.write(tmp_path, ["a.bin", "ü b.txt"])
    return tmp_path


def test_written_checksums_equal_those_of_sha256sum(directory):
    names = sorted(["a.bin", "ü b.txt"])
    lines = [f"{hashlib.sha256((directory / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    assert (directory / "SHA256SUMS").read_text(encoding="utf-8") == "".join(lines)
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=directory, check=True)


def test_a_changed_file_is_reported_with_the_advice(directory):
    checksums.check_directory(directory, "fetch it again")
    (directory / "README.md").write_text("of no matter")
    data = bytearray((directory / "a.bin").read_bytes())
    data[700_000] ^= 1
    (directory / "a.bin").write_bytes(data)
    with pytest.raises(
        UserError, match=r"a\.bin is damaged, it differs from its checksum in SHA256SUMS: fetch it again"
    ):
        checksums.check_file(directory / "a.bin", "fetch it again")
    checksums.check_file(directory / "ü b.txt", "fetch it again")


def test_a_missing_or_unlisted_file_is_an_error(directory):
    (directory / "ü b.txt").unlink()
    with pytest.raises(UserError, match=r"cannot read .*ü b\.txt"):
        checksums.check_directory(directory, "fetch it again")
    with pytest.raises(UserError, match=r"SHA256SUMS is damaged, it does not name README\.md"):
        checksums.check_file(directory / "README.md", "fetch it again")


@pytest.mark.parametrize("text", ["", "garbage\n", f"{'0' * 64}  ../a.bin\n", f"{'0' * 64}  a\0.bin\n"])
def test_a_damaged_checksum_file_is_an_error(directory, text):
    (directory / "SHA256SUMS").write_text(text)
    with pytest.raises(UserError, match="SHA256SUMS"):
        checksums.check_directory(directory, "fetch it again")


def test_a_directory_without_checksums_is_accepted(directory):
    (directory / "SHA256SUMS").unlink()
    (directory / "a.bin").write_bytes(b"")
    checksums.check_directory(directory, "")
    checksums.check_file(directory / "a.bin", "")


def test_a_file_is_hashed_again_only_after_a_change(directory, monkeypatch):
    hashed = []
    sha256 = checksums.sha256
    monkeypatch.setattr(checksums, "sha256", lambda path: hashed.append(path.name) or sha256(path))
    for _ in range(3):
        checksums.check_directory(directory, "")
    assert sorted(hashed) == ["a.bin", "ü b.txt"]
    os.utime(directory / "a.bin", (1, 1))
    checksums.check_directory(directory, "")
    assert hashed.count("a.bin") == 2
