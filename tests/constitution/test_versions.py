"""A published version never changes."""

import subprocess
from pathlib import Path

import pytest

from constitution import InputError, load
from constitution.library import checksums, published, shipped
from constitution.versions import publish, verify
from tests.constitution.samples import principle, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for version in ("1.0.0", "1.1.0"):
        publish(write(tmp_path, version=version), tmp_path / "root")
    return tmp_path / "root"


def faults(root: Path) -> dict[str, str]:
    return {fault.file: fault.problem for fault in verify(root)}


def test_publish_copies_the_bytes_and_lists_them(tmp_path: Path, root: Path) -> None:
    source = write(tmp_path, version="2.0.0")
    target = publish(source, root)
    assert target == root / "demo" / "2.0.0.yaml"
    assert target.read_bytes() == source.read_bytes()
    assert list(checksums(root)) == ["demo/1.0.0.yaml", "demo/1.1.0.yaml", "demo/2.0.0.yaml"]
    assert published(root) == {"demo": ["1.0.0", "1.1.0", "2.0.0"]}
    assert verify(root) == ()


def test_checksums_are_those_of_sha256sum(root: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "CHECKSUMS"], cwd=root, check=True, capture_output=True)


def test_publishing_the_same_again_changes_nothing(tmp_path: Path, root: Path) -> None:
    before = (root / "CHECKSUMS").read_bytes()
    publish(write(tmp_path, version="1.0.0"), root)
    assert (root / "CHECKSUMS").read_bytes() == before


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_other_content_under_a_published_version_is_refused(tmp_path: Path, root: Path, version: str) -> None:
    with pytest.raises(InputError, match=f"demo@{version} is published already, with other content"):
        publish(write(tmp_path, version=version, title="Other"), root)
    assert verify(root) == ()


def test_a_version_below_the_newest_is_refused(tmp_path: Path, root: Path) -> None:
    with pytest.raises(InputError, match=r"demo@1.0.9 is older than the published 1.1.0"):
        publish(write(tmp_path, version="1.0.9"), root)


def test_a_file_that_does_not_load_is_not_published(tmp_path: Path, root: Path) -> None:
    with pytest.raises(InputError, match="version"):
        publish(write(tmp_path, version="2.0"), root)
    with pytest.raises(InputError, match=r"no version '7\.0\.0' of demo"):
        publish(write(tmp_path, name="top", includes=["demo@7.0.0"], principles=[]), root)
    assert published(root) == {"demo": ["1.0.0", "1.1.0"]}


def test_a_publication_that_was_cut_short_is_completed(tmp_path: Path, root: Path) -> None:
    """The file was written, its line in CHECKSUMS was not."""
    lines = (root / "CHECKSUMS").read_text().splitlines(keepends=True)
    (root / "CHECKSUMS").write_text(lines[0])
    publish(write(tmp_path, version="1.1.0"), root)
    assert verify(root) == ()


def test_verify_names_every_file_that_is_not_as_published(tmp_path: Path, root: Path) -> None:
    publish(write(tmp_path, version="1.2.0"), root)
    (root / "demo/1.0.0.yaml").unlink()
    (root / "demo/1.1.0.yaml").write_text("other")
    write(root, "demo/3.0.0.yaml", version="3.0.0")
    write(root, "demo/draft.yaml")
    write(root, "demo/4.0.0.yml")
    assert faults(root) == {
        "demo/1.0.0.yaml": "missing",
        "demo/1.1.0.yaml": "changed since it was published",
        "demo/3.0.0.yaml": "not listed in CHECKSUMS",
        "demo/4.0.0.yml": "not named NAME/VERSION.yaml",
        "demo/draft.yaml": "not named NAME/VERSION.yaml",
    }


def test_verify_needs_readable_checksums(tmp_path: Path, root: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        verify(tmp_path)
    with (root / "CHECKSUMS").open("a") as file:
        file.write("not a line\n")
    with pytest.raises(InputError, match="CHECKSUMS:3: not a checksum line"):
        verify(root)


# --- what ships -----------------------------------------------------------------------------------------------------


def test_the_shipped_files_are_as_published() -> None:
    assert verify(shipped()) == ()


def test_the_shipped_constitutions_have_their_sizes() -> None:
    sizes = {name: len(load(name).principles) for name in published(shipped())}
    assert sizes == {"harmlessness": 12, "helpfulness": 16, "honesty": 10, "hhh": 38}
    assert published(shipped())["harmlessness"] == ["1.0.0", "1.1.0"]


def test_hhh_decides_by_harm_then_honesty_then_help() -> None:
    classes = [p.priority for p in load("hhh").principles]
    assert classes == [1] * 12 + [2] * 10 + [3] * 16


def test_a_published_change_of_one_character_is_noticed(tmp_path: Path) -> None:
    file = publish(write(tmp_path, principles=[principle()]), tmp_path / "root")
    file.write_bytes(file.read_bytes() + b"\n")
    assert list(faults(tmp_path / "root")) == ["demo/1.0.0.yaml"]
