from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers.errors import ExplainedError
from containers.image.origin import Layer
from containers.layers import tree
from containers.layers.tar_stream import TarStream
from containers.layers.unpack import Unpacker
from tests.oci_images import File, digest_of, directory, hard_link, symlink, tar_of


def unpack(root: Path, *layers: bytes, maximum_entries: int = 1000) -> Path:
    root.mkdir(exist_ok=True)
    unpacker = Unpacker(root, charge=lambda _: None, what="image test", maximum_entries=maximum_entries)
    for layer in layers:
        unpacker.apply(Layer(len(layer), lambda layer=layer: io.BytesIO(layer)))  # type: ignore[misc]
    unpacker.finish()
    return root


def refused(root: Path, *layers: bytes) -> ExplainedError:
    with pytest.raises(ExplainedError) as caught:
        unpack(root, *layers)
    return caught.value


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the root that no image may touch."""
    folder = tmp_path / "outside"
    folder.mkdir(mode=0o700)
    (folder / "secret").write_text("untouched")
    return folder


def assert_untouched(outside: Path) -> None:
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "untouched"
    assert (outside / "secret").stat().st_nlink == 1
    assert stat.S_IMODE(outside.stat().st_mode) == 0o700


# -- ordinary layers


def test_files_keep_content_mode_and_time(tmp_path: Path) -> None:
    layer = tar_of([directory("a", 0o750), File("a/b", b"content", 0o640, mtime=1_600_000_000)])
    root = unpack(tmp_path / "root", layer)
    status = (root / "a/b").stat()
    assert (root / "a/b").read_bytes() == b"content"
    assert (stat.S_IMODE(status.st_mode), int(status.st_mtime)) == (0o640, 1_600_000_000)
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o750


def test_gzip_with_several_members_is_one_stream(tmp_path: Path) -> None:
    layer = tar_of([File("a", b"x" * 5000), File("b", b"y" * 5000)])
    root = unpack(tmp_path / "root", gzip.compress(layer[:3000]) + gzip.compress(layer[3000:]))
    assert (root / "b").read_bytes() == b"y" * 5000


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_and_non_utf8_names(tmp_path: Path, format: int) -> None:
    long_name = "/".join(["d" * 100] * 4) + "/" + "f" * 200
    odd = os.fsdecode(b"\xff\xfe-name")
    layer = tar_of([File(long_name, b"1"), File(odd, b"2"), symlink("link", "t" * 300)], format)
    root = unpack(tmp_path / "root", layer)
    assert (root / long_name).read_bytes() == b"1"
    assert (root / odd).read_bytes() == b"2"
    assert (root / "link").readlink() == Path("t" * 300)


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_name_with_a_slash_where_the_header_cuts_it(tmp_path: Path, format: int) -> None:
    """The header's own name then looks like a directory's."""
    names = [f"{'d' * length}/{'e' * (98 - length)}/file" for length in (10, 97)]
    assert all(name[99] == "/" for name in names)
    root = unpack(tmp_path / "root", tar_of([File(name, b"content" * 100) for name in names], format))
    assert [(root / name).read_bytes() for name in names] == [b"content" * 100] * 2


@pytest.mark.parametrize("kind", [tarfile.AREGTYPE, tarfile.REGTYPE])
def test_directory_of_an_old_tar_is_a_file_with_a_slash(tmp_path: Path, kind: bytes) -> None:
    old = File("folder/", b"data that belongs to nothing", 0o750, kind)
    root = unpack(tmp_path / "root", tar_of([old, File("folder/file", b"content")]))
    assert (root / "folder/file").read_bytes() == b"content"
    assert stat.S_IMODE((root / "folder").stat().st_mode) == 0o750


def test_a_later_layer_replaces_files(tmp_path: Path) -> None:
    root = unpack(
        tmp_path / "root", tar_of([File("a", b"old"), hard_link("b", "a")]), tar_of([File("a", b"new")])
    )
    assert (root / "a").read_bytes() == b"new"
    assert (root / "b").read_bytes() == b"old"


def test_whiteout_removes_what_lower_layers_left(tmp_path: Path) -> None:
    lower = tar_of([directory("d"), File("d/a", b"1"), File("d/b", b"2"), directory("e"), File("e/x", b"3")])
    root = unpack(tmp_path / "root", lower, tar_of([File("d/.wh.a"), File(".wh.e")]))
    assert [path.name for path in (root / "d").iterdir()] == ["b"]
    assert not (root / "e").exists()


def test_opaque_directory_hides_lower_layers_but_not_its_own(tmp_path: Path) -> None:
    lower = tar_of([directory("d"), File("d/old"), directory("d/sub"), File("d/sub/old")])
    upper = tar_of(
        [directory("d"), directory("d/sub"), File("d/sub/new"), File("d/new"), File("d/.wh..wh..opq")]
    )
    root = unpack(tmp_path / "root", lower, upper)
    assert sorted(str(path.relative_to(root)) for path in (root / "d").rglob("*")) == [
        "d/new",
        "d/sub",
        "d/sub/new",
    ]


def test_hard_link_across_layers(tmp_path: Path) -> None:
    root = unpack(tmp_path / "root", tar_of([File("a", b"1")]), tar_of([hard_link("b/c", "a")]))
    assert (root / "a").samefile(root / "b/c")


def test_files_go_through_links_between_directories_of_the_image(tmp_path: Path) -> None:
    lower = tar_of(
        [directory("usr"), directory("usr/lib"), symlink("lib", "usr/lib"), symlink("abs", "/usr/lib")]
    )
    root = unpack(tmp_path / "root", lower, tar_of([File("lib/a", b"1"), File("abs/b", b"2")]))
    assert (root / "usr/lib/a").read_bytes() == b"1"
    assert (root / "usr/lib/b").read_bytes() == b"2"
    assert (root / "lib").is_symlink()


def test_an_absolute_link_in_a_folder_starts_at_the_root_of_the_image(tmp_path: Path) -> None:
    lower = tar_of([directory("lib"), directory("usr"), symlink("usr/lib", "/lib")])
    root = unpack(tmp_path / "root", lower, tar_of([File("usr/lib/a", b"1")]))
    assert (root / "lib/a").read_bytes() == b"1"


def test_directory_replaced_by_symlink_and_back(tmp_path: Path) -> None:
    first = tar_of([directory("d"), File("d/a", b"1"), directory("other")])
    second = tar_of([symlink("d", "other"), File("d/b", b"2")])
    root = unpack(tmp_path / "root", first, second)
    assert (root / "other/b").read_bytes() == b"2"
    assert not (root / "other/a").exists()
    root = unpack(tmp_path / "root2", first, second, tar_of([directory("d"), File("d/c", b"3")]))
    assert not (root / "d").is_symlink()
    assert (root / "d/c").read_bytes() == b"3"


def test_read_only_directories_can_be_filled(tmp_path: Path) -> None:
    layers = [tar_of([directory("d", 0o555), File("d/a", b"1")]), tar_of([File("d/b", b"2")])]
    root = unpack(tmp_path / "root", *layers)
    assert (root / "d/b").read_bytes() == b"2"
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o555


def test_set_uid_bits_and_devices_are_left_out(tmp_path: Path) -> None:
    layer = tar_of(
        [
            File("su", b"x", 0o6755),
            directory("tmp", 0o1777),
            File("disk", kind=tarfile.BLKTYPE),
            File("console", kind=tarfile.CHRTYPE),
        ]
    )
    root = unpack(tmp_path / "root", layer)
    assert stat.S_IMODE((root / "su").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "tmp").stat().st_mode) == 0o1777
    assert not (root / "disk").exists()
    assert not (root / "console").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owners_are_kept_as_root(tmp_path: Path) -> None:
    root = unpack(tmp_path / "root", tar_of([File("a", uid=12, gid=34), directory("d", uid=56, gid=78)]))
    assert ((root / "a").stat().st_uid, (root / "a").stat().st_gid) == (12, 34)
    assert ((root / "d").stat().st_uid, (root / "d").stat().st_gid) == (56, 78)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_later_layer_gives_things_back_to_root(tmp_path: Path) -> None:
    lower = tar_of([directory("d", uid=1000, gid=1000), File("f", uid=1000, gid=1000)])
    root = unpack(tmp_path / "root", lower, tar_of([directory("d"), File("f")]))
    assert [((root / name).stat().st_uid, (root / name).stat().st_gid) for name in "df"] == [(0, 0)] * 2


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        root = unpack(tmp_path / "root", tar_of([File("a", b"x", 0o664), directory("d", 0o775)]))
    finally:
        os.umask(before)
    assert [(root / name).stat().st_mode & 0o7777 for name in "ad"] == [0o664, 0o775]


def test_whiteouts_in_the_lowest_layer_hide_nothing(tmp_path: Path) -> None:
    layer = tar_of([directory("d"), File("d/a"), File("d/.wh.a"), File("d/.wh..wh..opq"), File(".wh.absent")])
    assert [path.name for path in (unpack(tmp_path / "root", layer) / "d").iterdir()] == ["a"]


@pytest.mark.parametrize(
    "version", ["--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0", "--format=gnu"]
)
def test_sparse_files_of_gnu_tar(tmp_path: Path, version: str) -> None:
    import subprocess

    source = tmp_path / "sparse"
    with source.open("wb") as file:
        for offset in range(0, 40 << 20, 4 << 20):
            file.seek(offset + 8192)
            file.write(b"data at %d" % offset)
        file.truncate(41 << 20)
    format = [] if version == "--format=gnu" else ["--format=pax"]
    subprocess.run(["tar", "-cSf", "t.tar", *format, version, "sparse"], cwd=tmp_path, check=True)
    root = unpack(tmp_path / "root", (tmp_path / "t.tar").read_bytes())
    assert (root / "sparse").read_bytes() == source.read_bytes()
    assert (root / "sparse").stat().st_blocks * 512 < 1 << 20


# -- hostile layers


def test_absolute_names_stay_inside(tmp_path: Path, outside: Path) -> None:
    root = unpack(tmp_path / "root", tar_of([File(f"{outside}/secret", b"overwritten")]))
    assert_untouched(outside)
    assert (root / str(outside)[1:] / "secret").read_bytes() == b"overwritten"


@pytest.mark.parametrize("name", ["../outside/secret", "a/../../outside/secret", "a/..", ".."])
def test_names_that_lead_up_are_refused(tmp_path: Path, outside: Path, name: str) -> None:
    assert refused(tmp_path / "root", tar_of([directory("a"), File(name, b"x")])).kind == "UnsafeImage"
    assert_untouched(outside)


@pytest.mark.parametrize("target", ["../outside", "{outside}", "/../../../../{outside}", "a/../../outside"])
def test_writing_through_a_symlink_to_outside_stays_inside(
    tmp_path: Path, outside: Path, target: str
) -> None:
    link = symlink("link", target.format(outside=outside))
    unpack(
        tmp_path / "root",
        tar_of([directory("a"), link]),
        tar_of([File("link/secret", b"x"), directory("link/d")]),
    )
    assert_untouched(outside)


@pytest.mark.parametrize("prefix", ["", "./", "/", ".//"])
def test_a_folder_that_gave_way_is_not_remembered(tmp_path: Path, outside: Path, prefix: str) -> None:
    """However its name is written: files of one folder come in a row, so that its path is looked up once."""
    other = [directory("other"), directory("other/d")]
    before = [File(f"{prefix}a/d/one", b"1"), File(f"{prefix}a/d/two", b"2")]
    swapped = [symlink(f"{prefix}a", "other"), File(f"{prefix}a/d/three", b"3")]
    escaping = [symlink(f"{prefix}a", str(outside)), File(f"{prefix}a/secret", b"x")]
    root = unpack(tmp_path / "root", tar_of([*other, *before, *swapped]))
    assert sorted(path.name for path in (root / "other/d").iterdir()) == ["three"]
    unpack(tmp_path / "second", tar_of([*other, *before]), tar_of([*swapped, *escaping]))
    assert_untouched(outside)


@pytest.mark.parametrize("name", ["a/x/..", "a/..", "a/x\0y"])
def test_odd_names_in_a_folder_that_is_known(tmp_path: Path, outside: Path, name: str) -> None:
    """(A null byte ends a name in a plain header, so it comes by an extended one.)"""
    odd = File("odd", b"x", pax={"path": name}) if "\0" in name else File(name, b"x")
    layer = tar_of([directory("a"), File("a/known"), odd])
    assert refused(tmp_path / "root", layer).kind in ("UnsafeImage", "BadImage")
    assert_untouched(outside)


def test_file_written_where_a_symlink_stands_replaces_the_link(tmp_path: Path, outside: Path) -> None:
    root = unpack(tmp_path / "root", tar_of([symlink("f", f"{outside}/secret"), File("f", b"x")]))
    assert_untouched(outside)
    assert (root / "f").read_bytes() == b"x"


@pytest.mark.parametrize("target", ["{outside}/secret", "../outside/secret", "link/secret"])
def test_hard_link_to_outside_is_refused(tmp_path: Path, outside: Path, target: str) -> None:
    layer = tar_of([symlink("link", str(outside)), hard_link("h", target.format(outside=outside))])
    assert refused(tmp_path / "root", layer).kind in ("UnsafeImage", "BadImage")
    assert_untouched(outside)


def test_hard_link_to_a_symlink_does_not_follow_it(tmp_path: Path, outside: Path) -> None:
    root = unpack(tmp_path / "root", tar_of([symlink("s", f"{outside}/secret"), hard_link("h", "s")]))
    assert (root / "h").is_symlink()
    assert_untouched(outside)


def test_writing_to_a_hard_link_does_not_write_to_its_target(tmp_path: Path) -> None:
    root = unpack(tmp_path / "root", tar_of([File("a", b"1"), hard_link("b", "a"), File("b", b"2")]))
    assert (root / "a").read_bytes() == b"1"


def test_directory_swapped_for_a_symlink_by_a_later_layer(tmp_path: Path, outside: Path) -> None:
    first = tar_of([directory("d"), directory("d/sub", 0o777), File("d/sub/x")])
    second = tar_of([symlink("d", str(outside)), directory("d/sub"), File("d/sub/y"), File("d/secret", b"x")])
    unpack(tmp_path / "root", first, second)
    assert_untouched(outside)


def test_modes_of_directories_are_not_set_through_a_swapped_parent(tmp_path: Path, outside: Path) -> None:
    (outside / "secret").unlink()
    (outside / "sub").mkdir(mode=0o700)
    first = tar_of([directory("d"), directory("d/sub", 0o777)])
    unpack(tmp_path / "root", first, tar_of([symlink("d", str(outside))]))
    assert stat.S_IMODE((outside / "sub").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", [".wh...", ".wh..", ".wh.", "d/.wh..."])
def test_whiteout_of_the_directory_above_is_refused(tmp_path: Path, outside: Path, name: str) -> None:
    assert refused(tmp_path / "root", tar_of([directory("d"), File(name)])).kind == "UnsafeImage"
    assert_untouched(outside)


def test_whiteout_through_a_symlink_stays_inside(tmp_path: Path, outside: Path) -> None:
    unpack(
        tmp_path / "root", tar_of([symlink("l", str(outside)), File("l/.wh.secret"), File("l/.wh..wh..opq")])
    )
    assert_untouched(outside)


def test_symlink_loop_is_refused(tmp_path: Path) -> None:
    layer = tar_of([symlink("a", "b"), symlink("b", "a"), File("a/x")])
    assert refused(tmp_path / "root", layer).kind == "UnsafeImage"


@pytest.mark.parametrize(("links", "followed"), [(40, True), (41, False)])
def test_as_many_links_are_followed_as_the_kernel_would(tmp_path: Path, links: int, followed: bool) -> None:
    chain = [directory("l0"), *(symlink(f"l{number}", f"l{number - 1}") for number in range(1, links + 1))]
    layer = tar_of([*chain, File(f"l{links}/x", b"1")])
    if followed:
        assert (unpack(tmp_path / "root", layer) / "l0/x").read_bytes() == b"1"
    else:
        assert refused(tmp_path / "root", layer).kind == "UnsafeImage"


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    layer = tar_of([File(f"f{n}") for n in range(20)])
    unpack(tmp_path / "root", layer, maximum_entries=20)
    with pytest.raises(ExplainedError) as caught:
        unpack(tmp_path / "refused", layer, maximum_entries=19)
    assert caught.value.kind == "UnsafeImage"


def test_data_that_belongs_to_no_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("containers.layers.unpack._MAXIMUM_SKIPPED", 1_000_000)
    header = tarfile.TarInfo("of another system")
    header.type, header.size = b"V", 400_000
    member = header.tobuf(tarfile.USTAR_FORMAT) + padded(bytes(header.size))
    unpack(tmp_path / "root", member * 2)
    error = refused(tmp_path / "refused", member * 3)
    assert error.kind == "UnsafeImage"
    assert "not part of a file" in error.cause


def test_hard_link_to_something_that_is_no_file_is_refused(tmp_path: Path) -> None:
    fifo = tarfile.TarInfo("pipe")
    fifo.type = tarfile.FIFOTYPE
    members = fifo.tobuf(tarfile.USTAR_FORMAT) + tar_of([hard_link("again", "pipe")], tarfile.USTAR_FORMAT)
    assert refused(tmp_path / "root", members).kind == "UnsafeImage"


def test_what_aufs_keeps_for_itself_is_no_whiteout(tmp_path: Path) -> None:
    lower = tar_of([directory("d"), File("d/.wh.plnk", b"1"), File("d/a", b"2")])
    upper = tar_of([File("d/.wh..wh.plnk"), File("d/.wh..wh.aufs"), File("d/.wh..wh..")])
    root = unpack(tmp_path / "root", lower, upper)
    assert (root / "d/a").read_bytes() == b"2"


def test_a_file_of_negative_size_is_a_clear_error(tmp_path: Path) -> None:
    header = tarfile.TarInfo("a")
    header.size = -512
    error = refused(tmp_path / "root", header.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    assert (error.kind, "negative size" in error.cause) == ("BadImage", True)


def test_a_damaged_header_is_a_clear_error(tmp_path: Path) -> None:
    layer = bytearray(tar_of([File("name", b"1")], tarfile.USTAR_FORMAT))
    layer[0] ^= 1
    error = refused(tmp_path / "root", bytes(layer))
    assert (error.kind, "checksum" in error.cause) == ("BadImage", True)


def test_segments_of_a_sparse_file_that_overlap_are_a_clear_error(tmp_path: Path) -> None:
    sparse = {"GNU.sparse.major": "0", "GNU.sparse.realsize": "20", "GNU.sparse.map": "0,10,5,10"}
    assert refused(tmp_path / "root", sparse_member(pax(**sparse), bytes(20))).kind == "BadImage"


def test_the_mode_of_a_directory_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        root = unpack(tmp_path / "root", tar_of([directory("d", 0o777)]))
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o777


def test_huge_extended_header_is_not_read_into_memory(tmp_path: Path) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 8 << 30
    layer = header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)
    error = refused(tmp_path / "root", layer)
    assert (error.kind, "header of 8589934592 bytes; the maximum" in error.cause) == ("BadImage", True)


def test_folders_are_found_again_when_too_many_were_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_PARENTS_REMEMBERED", 3)
    names = [f"{folder}/{number}" for number in range(3) for folder in ("a", "b", "b/c", "d/e/f", "link")]
    root = unpack(tmp_path / "root", tar_of([symlink("link", "d/e"), *(File(name, b"1") for name in names)]))
    assert all((root / name).read_bytes() == b"1" for name in names)


def test_folders_that_were_looked_up_are_not_remembered_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_PARENTS_REMEMBERED", 10)
    image = tree.Tree(tmp_path, "image test")
    for number in range(100):
        assert image.place(b"folder%d/file" % number) == (image.root + b"/folder%d" % number, b"file")
    assert len(image._parents) <= 10


def test_directories_whose_paths_fill_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_MAXIMUM_DIRECTORY_BYTES", 100_000)
    deep = "/".join(["d" * 200] * 5)
    again = [directory("small"), *(directory(deep) for _ in range(200))]  # each counts once
    assert (unpack(tmp_path / "root", tar_of(again)) / deep).is_dir()
    many = [directory(f"{deep}/{number}") for number in range(200)]
    error = refused(tmp_path / "refused", tar_of(many))
    assert error.kind == "UnsafeImage"
    assert "directories" in error.cause


# -- numbers that lie


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def sparse_member(records: bytes, data: bytes = b"", kind: bytes = tarfile.XHDTYPE) -> bytes:
    """A file whose pax header holds `records`, and `data` behind it."""
    extension = tarfile.TarInfo("pax")
    extension.type, extension.size = kind, len(records)
    file = tarfile.TarInfo("sparse")
    file.size = len(data)
    return (
        extension.tobuf(tarfile.USTAR_FORMAT)
        + padded(records)
        + file.tobuf(tarfile.USTAR_FORMAT)
        + padded(data)
    )


def pax(**values: object) -> bytes:
    """Records of a pax header; `_` in a name stands for a dot."""
    records = b""
    for name, value in values.items():
        body = f" {name.replace('_', '.')}={value}\n".encode()
        records += b"%d" % (len(body) + len(str(len(body) + 2))) + body
    return records


class Blocks:
    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks

    def read(self, _size: int, /) -> bytes:
        return next(self._blocks, b"")

    def close(self) -> None:
        pass


def bytes_read(root: Path, layer: bytes, piece: int = 4096) -> int:
    """How much of a refused layer is read before it is refused."""
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        for start in range(0, len(layer), piece):
            taken += piece
            yield layer[start : start + piece]

    with pytest.raises(ExplainedError) as caught:
        for entry in (tar := TarStream(Blocks(pieces()), "a layer")):
            with (root / "file").open("wb") as file:
                tar.copy_data(entry, file.fileno(), lambda _size: None)
    assert caught.value.kind == "BadImage"
    return taken


@pytest.mark.parametrize("digit", [b"9", b" ", b"0"])
def test_a_sparse_map_whose_number_does_not_end_is_refused_at_once(tmp_path: Path, digit: bytes) -> None:
    # 32 MB of it used to be copied once for each 512 bytes: a minute and a half of memory traffic.
    header = pax(GNU_sparse_major=1, GNU_sparse_minor=0, GNU_sparse_realsize=10)
    layer = sparse_member(header, digit * (1 << 20))
    assert bytes_read(tmp_path, layer) <= 8192


def test_a_sparse_map_of_too_many_segments_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = pax(GNU_sparse_major=1, GNU_sparse_minor=0, GNU_sparse_realsize=10)
    layer = sparse_member(header, b"100001\n" + b"0\n0\n" * 200_000)
    assert bytes_read(tmp_path, layer) <= 8192


def test_a_sparse_map_of_all_files_is_read_for_none_of_them(tmp_path: Path) -> None:
    # In a global header, one map of a megabyte would be parsed again for each of a million files.
    shared = pax(GNU_sparse_map=",".join(["0,0"] * 1000), GNU_sparse_size=0)
    layer = sparse_member(shared, b"content", tarfile.XGLTYPE)
    assert (unpack(tmp_path / "root", layer) / "sparse").read_bytes() == b"content"


@pytest.mark.parametrize("size", [2**63, 2**64, 10**30, -1, "9" * 5000])
@pytest.mark.parametrize("map", ["0,0", "0,7"])
def test_a_sparse_file_of_an_impossible_size_is_a_clear_error(
    tmp_path: Path, size: int | str, map: str
) -> None:
    layer = sparse_member(pax(GNU_sparse_size=size, GNU_sparse_map=map), b"content")
    error = refused(tmp_path / "root", layer)
    assert error.kind == "BadImage"
    assert len(str(error)) < 1000


@pytest.mark.parametrize("offset", [2**63 - 4, 2**63, 2**80])
def test_a_sparse_segment_behind_the_largest_offset_is_a_clear_error(tmp_path: Path, offset: int) -> None:
    layer = sparse_member(pax(GNU_sparse_size=offset + 7, GNU_sparse_map=f"{offset},7"), b"content")
    assert refused(tmp_path / "root", layer).kind == "BadImage"
    old = tarfile.TarInfo("sparse")
    old.type, old.size = tarfile.GNUTYPE_SPARSE, 7
    block = bytearray(old.tobuf(tarfile.GNU_FORMAT))
    for at, number in ((386, offset), (398, 7), (483, offset + 7)):
        block[at : at + 12] = b"\x80" + number.to_bytes(11, "big")
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    assert refused(tmp_path / "old", bytes(block) + padded(b"content")).kind == "BadImage"


@pytest.mark.parametrize("key", ["uid", "mtime", "size"])
def test_a_number_of_a_megabyte_in_an_extended_header_is_a_clear_error(tmp_path: Path, key: str) -> None:
    error = refused(tmp_path / "root", sparse_member(pax(**{key: "1" * 900_000}), b"content"))
    assert error.kind == "BadImage"


@pytest.mark.parametrize("claimed", [2**62, 2**80])
def test_only_bytes_that_came_are_charged_to_the_disk(tmp_path: Path, claimed: int) -> None:
    """What a header claims would evict other images."""
    header = tarfile.TarInfo("huge")
    header.size = claimed
    layer = header.tobuf(tarfile.GNU_FORMAT) + bytes(5 << 20)
    charged: list[int] = []
    root = tmp_path / "root"
    root.mkdir()
    unpacker = Unpacker(root, charge=charged.append, what="image test")
    with pytest.raises(ExplainedError) as caught:
        unpacker.apply(Layer(len(layer), lambda: io.BytesIO(layer)))
    assert caught.value.kind == "BadImage"
    assert 4 << 20 <= sum(charged) <= 6 << 20
    assert max(charged) <= 3 << 20


def test_what_is_charged_is_what_is_written(tmp_path: Path) -> None:
    charged: list[int] = []
    root = tmp_path / "root"
    root.mkdir()
    files = [File("small", b"1" * 1000), File("large", b"2" * (7 << 20)), directory("folder")]
    layer = tar_of(files, tarfile.USTAR_FORMAT)
    Unpacker(root, charge=charged.append, what="image test").apply(Layer(0, lambda: io.BytesIO(layer)))
    assert sum(charged) == 1000 + (7 << 20) + 3 * 4096


def zstd_frame(window_log: int, content: bytes) -> bytes:
    """One raw block, announced with a window of a certain size (RFC 8878, 3.1.1)."""
    block = (len(content) << 3 | 1).to_bytes(3, "little") + content
    return b"\x28\xb5\x2f\xfd\0" + bytes([(window_log - 10) << 3]) + block


def test_zstd_frame_that_wants_much_memory_is_refused(tmp_path: Path) -> None:
    layer = tar_of([File("a", b"1")])
    assert (unpack(tmp_path / "root", zstd_frame(25, layer)) / "a").read_bytes() == b"1"
    for number, window_log in enumerate((26, 27, 31, 41)):
        error = refused(tmp_path / f"refused{number}", zstd_frame(window_log, layer))
        assert error.kind == "UnsupportedImage"
        assert "window of more than 32 MiB" in str(error)


def test_later_zstd_frame_that_wants_much_memory_is_refused(tmp_path: Path) -> None:
    layer = tar_of([File("a", b"1")])
    assert refused(tmp_path / "root", zstd_frame(20, layer[:1000]) + zstd_frame(31, layer[1000:])).kind == (
        "UnsupportedImage"
    )


@pytest.mark.parametrize("cut", [100, 700, 5000])
def test_truncated_layer_is_a_clear_error(tmp_path: Path, cut: int) -> None:
    layer = tar_of([File("a", b"x" * 10_000)])
    assert refused(tmp_path / "root", layer[:cut]).kind == "BadImage"
    assert refused(tmp_path / "root2", gzip.compress(layer)[:-12]).kind == "BadImage"


def test_garbage_is_a_clear_error(tmp_path: Path) -> None:
    assert refused(tmp_path / "root", os.urandom(4096)).kind == "BadImage"
    assert refused(tmp_path / "root2", b"\x1f\x8b" + os.urandom(4096)).kind == "BadImage"


def test_what_follows_the_tar_is_not_decompressed(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(64 << 20), 9) * 200  # 12 GB of zeros after the end of the archive
    root = unpack(tmp_path / "root", gzip.compress(tar_of([File("a", b"1")])) + bomb)
    assert (root / "a").read_bytes() == b"1"


def test_what_follows_the_tar_is_bounded_where_its_digest_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("containers.layers.reader._MAXIMUM_TRAILER", 2 << 20)
    plain = tar_of([File("a", b"1")]) + bytes(16 << 20)
    layer = Layer(0, lambda: io.BytesIO(gzip.compress(plain, 1)), diff_id=digest_of(plain))
    (tmp_path / "root").mkdir()
    with pytest.raises(ExplainedError, match="bytes after its end"):
        Unpacker(tmp_path / "root", charge=lambda _: None, what="image test").apply(layer)


def test_where_a_layer_comes_from_is_closed_behind_it(tmp_path: Path) -> None:
    source = io.BytesIO(tar_of([File("a", b"1")]))
    (tmp_path / "root").mkdir()
    Unpacker(tmp_path / "root", charge=lambda _: None, what="image test").apply(Layer(0, lambda: source))
    assert source.closed


def test_file_in_the_way_of_a_directory_is_a_clear_error(tmp_path: Path) -> None:
    assert refused(tmp_path / "root", tar_of([File("a"), File("a/b")])).kind == "BadImage"
