"""`build_archive`: what gets into an image, what cannot, and what is left on the disk."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from containers.building import archive
from containers.building.archive import BuiltArchive, ImageContent, build_archive
from containers.building.errors import BuildError
from containers.building.layout import architecture
from containers.building.python_packages import packages_layer
from containers.image.origin import FoundImage
from containers.layers.unpack import Unpacker
from containers.registry.ranges import FileSource
from containers.store.archive import find_in_archive

PACKAGE = {
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    '[project]\nname = "greeter"\nversion = "1.0"\n',
    "backend.py": """
import zipfile
FILES = {
    "greeter.py": "def main():\\n    print('hello from a package')\\n",
    "greeter-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: greeter\\nVersion: 1.0\\n",
    "greeter-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "greeter-1.0.dist-info/entry_points.txt": "[console_scripts]\\ngreet = greeter:main\\n",
}
def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "greeter-1.0-py3-none-any.whl"
    record = "".join(f"{name},,\\n" for name in [*FILES, "greeter-1.0.dist-info/RECORD"])
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        for path, content in {**FILES, "greeter-1.0.dist-info/RECORD": record}.items():
            wheel.writestr(path, content)
    return name
""",
}
"""A Python package that builds itself: pip needs no network for it."""

as_root = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("chroot"), reason="chroot is for root alone"
)


def built(tmp_path: Path, content: ImageContent, name: str = "image.tar") -> BuiltArchive:
    return build_archive(content, tmp_path / name, lambda _: None)


def opened(file: Path) -> FoundImage:
    """The image as a deployment finds it."""
    return find_in_archive(FileSource(os.open(file, os.O_RDONLY)), architecture(), "the archive")


def unpacked(file: Path, root: Path) -> Path:
    root.mkdir()
    unpacker = Unpacker(root, charge=lambda _: None, what="image test")
    for layer in opened(file).layers:
        unpacker.apply(layer)
    unpacker.finish()
    return root


def run_in(root: Path, *command: str) -> str:
    done = subprocess.run(
        [shutil.which("chroot") or "chroot", str(root), *command],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(folder: Path, contents: Mapping[str, str]) -> Path:
    for name, text in contents.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if text.startswith("#!"):
            file.chmod(0o700)
    return folder


def test_files_of_the_folder_are_in_the_image_and_the_base_system_stays_whole(tmp_path: Path) -> None:
    folder = files(
        tmp_path / "image",
        {"bin/greet": "#!/bin/sh\necho hi\n", "etc/greet.conf": "x", "tmp/seed": "1", "lib/data/a": "2"},
    )
    (folder / "bin" / "welcome").symlink_to("greet")
    (folder / "opt").mkdir()
    (folder / "opt" / "config").symlink_to("/etc/greet.conf")
    (folder / "empty").mkdir()
    root = unpacked(built(tmp_path, ImageContent(folder)).path, tmp_path / "root")
    assert (root / "bin").readlink() == Path("usr/bin")
    assert (root / "usr" / "bin" / "greet").stat().st_mode & 0o777 == 0o755
    assert (root / "usr" / "lib" / "data" / "a").read_text() == "2"
    assert (root / "etc" / "greet.conf").stat().st_mode & 0o777 == 0o644
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (root / "opt" / "config").readlink() == Path("/etc/greet.conf")
    assert (root / "empty").is_dir()
    assert (root / "bin" / "sh").exists()


@as_root
def test_programs_of_the_folder_run_with_the_libraries_of_the_host(tmp_path: Path) -> None:
    program = shutil.which("dpkg-query") or shutil.which("git") or shutil.which("curl")
    if program is None:
        pytest.skip("no dynamically linked program of another package")
    folder = tmp_path / "with space"
    (folder / "usr" / "bin").mkdir(parents=True)
    shutil.copy(program, folder / "usr" / "bin" / "tool")
    root = unpacked(built(tmp_path, ImageContent(folder)).path, tmp_path / "root")
    assert "version" in run_in(
        root, "/bin/sh", "-c", "tool --version | head -n 1; echo a b | awk '{print $2}'"
    )


@as_root
def test_a_python_package_runs_by_its_script_and_as_a_module(tmp_path: Path) -> None:
    source = files(tmp_path / "source", PACKAGE)
    folder = files(
        tmp_path / "image", {"usr/bin/report": "#!/usr/bin/env python3\nimport greeter; greeter.main()\n"}
    )
    content = ImageContent(folder, packages=[str(source)], entrypoint=["greet"])
    made = built(tmp_path, content)
    assert opened(made.path).load_config().entrypoint == ("greet",)
    root = unpacked(made.path, tmp_path / "root")
    assert run_in(root, "greet") == "hello from a package\n"
    assert run_in(root, "/usr/bin/report") == "hello from a package\n"
    assert run_in(root, "python3", "-c", "import json, ssl, sqlite3; print(json.dumps(1))") == "1\n"
    # A Python that does not search its `site-packages`, as that of Debian and Ubuntu.
    assert run_in(root, "python3", "-S", "-c", "import sitecustomize, greeter; greeter.main()").startswith(
        "hello"
    )
    (tmp_path / "again").mkdir()
    again = packages_layer([str(source)], [], "/opt/python/bin/python3", tmp_path / "again")
    for path, entry in again.entries.items():
        expected = entry.source.read_bytes() if entry.source else entry.content
        assert (root / path).read_bytes() == expected, path
    assert str(tmp_path).encode() not in b"".join(
        file.read_bytes() for file in root.rglob("*") if file.is_file() and "greeter" in str(file)
    )


def test_same_content_gives_the_same_bytes_whenever_and_wherever_it_was_written(tmp_path: Path) -> None:
    for name in ("first", "second"):
        files(tmp_path / name / "image", {"usr/bin/greet": "#!/bin/sh\necho hi\n", "data": "x"})
    os.utime(tmp_path / "second" / "image" / "data", (1, 1))
    (tmp_path / "second" / "image" / "data").chmod(0o600)
    first, second = (
        built(tmp_path / name, ImageContent(tmp_path / name / "image")) for name in ("first", "second")
    )
    assert first.path.read_bytes() == second.path.read_bytes()


def test_settings_are_in_the_configuration(tmp_path: Path) -> None:
    content = ImageContent(environment={"LEVEL": "3"}, command=["ls", "-l"], working_dir="/data/work")
    made = built(tmp_path, content)
    config = opened(made.path).load_config()
    assert config.env == ("LANG=C.UTF-8", "LEVEL=3", "PATH=/usr/local/bin:/usr/bin:/bin")
    assert (config.cmd, config.entrypoint, config.working_dir) == (("ls", "-l"), (), "/data/work")
    assert (unpacked(made.path, tmp_path / "root") / "data" / "work").is_dir()
    plain = opened(built(tmp_path, ImageContent()).path).load_config()
    assert (plain.cmd, plain.working_dir) == (("/bin/sh",), "")
    assert made.size_bytes == made.path.stat().st_size


def refused(tmp_path: Path, folder: Path) -> BuildError:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BuildError) as caught:
        built(tmp_path, ImageContent(folder))
    assert sorted(tmp_path.iterdir()) == before
    return caught.value


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("new\nline", "characters that are not printable UTF-8"),
        ("escape\x1b[2J", "characters that are not printable UTF-8"),
        (b"latin-\xe9", "characters that are not printable UTF-8"),
        (".wh.passwd", "delete files in images"),
        (".scar", "reserved for the runner"),
        ("tmp", "would replace the folder /tmp"),
        ("bin", "would replace the folder /bin"),
    ],
)
def test_names_that_cannot_be_in_an_image_are_refused(name: str | bytes, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "image"
    folder.mkdir()
    (folder / os.fsdecode(name)).touch()
    error = refused(tmp_path, folder)
    assert said in error.cause
    assert "\x1b" not in str(error) or said.startswith("characters")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("../outside", "points outside the folder"),
        ("a/../../outside", "points outside the folder"),
        ("/etc/hostname", "leads to /etc/hostname, which is not in the image"),
        ("nothing", "leads to nothing, which is not in the image"),
        ("link", "leads to link, which is not in the image"),
    ],
)
def test_links_that_lead_to_nothing_in_the_image_are_refused(target: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "outside").touch()
    folder = tmp_path / "image"
    folder.mkdir()
    (folder / "link").symlink_to(target)
    assert said in refused(tmp_path, folder).cause


def test_links_of_a_moved_folder_still_lead_where_they_led(tmp_path: Path) -> None:
    folder = files(tmp_path / "image", {"usr/share/tool": "x", "bin/own": "y"})
    (folder / "bin" / "tool").symlink_to("../usr/share/tool")
    (folder / "dev").mkdir()
    (folder / "log").symlink_to("/dev/stdout")
    root = unpacked(built(tmp_path, ImageContent(folder)).path, tmp_path / "root")
    assert (root / "usr" / "bin" / "tool").readlink() == Path("/usr/share/tool")
    assert (root / "log").readlink() == Path("/dev/stdout")


def test_what_is_neither_file_nor_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "image"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    assert "pipe is neither a file, a folder nor a link" in refused(tmp_path, folder).cause
    (folder / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(folder / "socket"))
        assert "socket is neither a file, a folder nor a link" in refused(tmp_path, folder).cause


def test_an_unreadable_file_is_named(tmp_path: Path, modes_count: None) -> None:
    folder = files(tmp_path / "image", {"a": "x", "b/c": "y"})
    (folder / "a").chmod(0)
    assert f"{folder / 'a'} cannot be read: Permission denied" in refused(tmp_path, folder).cause
    (folder / "a").chmod(0o600)
    (folder / "b").chmod(0)
    assert f"the folder {folder / 'b'} cannot be read: Permission denied" in refused(tmp_path, folder).cause
    (folder / "b").chmod(0o700)


def test_a_script_without_its_interpreter_is_refused(tmp_path: Path) -> None:
    folder = files(tmp_path / "image", {"usr/bin/report": "#!/usr/bin/env python3\n"})
    error = refused(tmp_path, folder)
    assert error.cause == f"the script {folder}/usr/bin/report needs python3, which is not in the image"
    assert "--python" in error.advice
    files(folder, {"usr/bin/report": "#!/usr/bin/perl -w\n"})
    assert "needs /usr/bin/perl, which is not in the image" in refused(tmp_path, folder).cause


def test_an_entry_point_that_the_image_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="the image has no program ffmpeg"):
        built(tmp_path, ImageContent(entrypoint=["ffmpeg", "-i", "x"]))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed")
    (tmp_path / "lib.c").write_text("int f(void) { return 0; }\n")
    (tmp_path / "main.c").write_text("int f(void); int main(void) { return f(); }\n")
    folder = tmp_path / "image"
    (folder / "usr" / "lib").mkdir(parents=True)
    library = folder / "usr" / "lib" / "libown.so"
    subprocess.run([compiler, "-shared", "-o", library, tmp_path / "lib.c"], check=True)
    subprocess.run(
        [compiler, "-o", folder / "tool", tmp_path / "main.c", "-L", library.parent, "-lown"], check=True
    )
    built(tmp_path, ImageContent(folder))  # the folder's own library
    library.unlink()
    (tmp_path / "image.tar").unlink()
    assert f"{folder}/tool needs libown.so, which is not installed" in refused(tmp_path, folder).cause
    for other in ("a-program", "z-program"):
        shutil.copy(compiler, folder / other)
    assert f"{folder}/tool needs libown.so, which is not installed" in refused(tmp_path, folder).cause


@pytest.mark.parametrize("package", ["--index-url=http://127.0.0.1:1", "no-such-package-of-anybody==9"])
def test_what_pip_cannot_install_is_told_in_one_sentence(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(BuildError) as caught:
        built(tmp_path, ImageContent(packages=[package]))
    assert package.partition("==")[0] in caught.value.cause
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_older_archive_stays_if_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "image.tar").write_text("older")

    def full(layout: Path, archive: Path) -> None:
        archive.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "write_archive", full)
    with pytest.raises(OSError, match="No space left"):
        built(tmp_path, ImageContent())
    assert [file.name for file in tmp_path.iterdir()] == ["image.tar"]
    assert (tmp_path / "image.tar").read_text() == "older"


def test_the_archive_is_an_oci_layout_in_a_tar(tmp_path: Path) -> None:
    made = built(tmp_path, ImageContent())
    with tarfile.open(made.path, "r:") as tar:
        names = tar.getnames()
        index = json.loads(tar.extractfile("index.json").read())  # type: ignore[union-attr]
    assert {"oci-layout", "index.json", "blobs", "blobs/sha256"} < set(names)
    assert [entry["digest"] for entry in index["manifests"]] == [made.digest]
