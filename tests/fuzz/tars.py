"""Tar files as strangers write them: every header field is free, checksums are right unless told."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.mutation import EDITS, edited
from tests.fuzz.sandbox import OUTSIDE

LARGEST = 3 << 20
"""Bytes of content: a few of such members show work that grows with the square."""

_NAMES = [
    *"a b d d/a d/e/f link link/a d/link/a ./a a/ /a d//a d/. etc tmp dev etc/hosts é . .. / ../a".split(),
    *"../../outside/secret d/../../../outside/secret .wh.a d/.wh.e .wh.link .wh..wh.plnk".split(),
    *".wh..wh..opq d/.wh..wh..opq .wh. .wh.. .wh...".split(),
    *(
        "",
        f"{OUTSIDE}/secret",
        "a\0b",
        "\udcff",
        "x" * 99,
        "x" * 100,
        "y" * 255,
        "z" * 256,
        "/".join("n" * 60),
    ),
]
_FEW = st.sampled_from("a b d d/a link link/a d/link link/d/b d/link/a".split())
NAMES = st.one_of(
    _FEW,
    _FEW,
    st.sampled_from(_NAMES),
    st.lists(st.sampled_from(["a", "d", "e", "link", "..", ".", ""]), max_size=4).map("/".join),
)
_LINKS = st.one_of(
    NAMES,
    st.sampled_from(["/", "..", "../..", "../../outside", "link", "/etc/x"]),
    st.sampled_from([OUTSIDE, f"{OUTSIDE}/secret", f"{OUTSIDE}/folder"]),
)
_NUMBERS = st.one_of(
    st.integers(0, 4096),
    st.sampled_from([-1, 2**31, 2**33, 2**62, 2**63 - 1, 2**64, 10**18, -(2**40)]),
    st.sampled_from(
        [b"\xff" * 12, b"\x80" + b"\0" * 11, b"abc", b" 7 \0", b"", b"-7", b"0o7", b"\x80" + b"\xff" * 11]
    ),
)
_PAX = st.dictionaries(
    st.sampled_from(
        "path linkpath size uid gid mtime comment SCHILY.xattr.user.x GNU.sparse.major GNU.sparse.minor "
        "GNU.sparse.map GNU.sparse.name GNU.sparse.realsize GNU.sparse.size GNU.sparse.offset "
        "GNU.sparse.numbytes GNU.sparse.numblocks".split()
    ),
    st.one_of(
        NAMES,
        st.integers(-1, 2**70).map(str),
        st.sampled_from(["9" * 5000, *"0,1 0,1,1,1 5,5,0,1 0 1 1.5 -1 nan inf -inf 1e400 1_0 ٣".split()]),
    ),
    max_size=3,
)
_MORE = {
    "link": _LINKS,
    "mode": st.one_of(st.sampled_from([0o7777, 0o4755, 0, 0o1777, -1]), _NUMBERS),
    "uid": _NUMBERS,
    "gid": _NUMBERS,
    "mtime": _NUMBERS,
    "size": _NUMBERS,
    "content": st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [b"2\n0\n1\n5\n1\n", b"1\n0\n0\n", b"99999999\n", b"-1\n", b"1" * 600, b"0\n", b"x\n"]
        ),
    ),
    "times": st.sampled_from([1] * 20 + [513, 40_000, LARGEST]),
    "pax": _PAX,
    "shared": st.booleans(),
    "pax_bytes": st.sampled_from(
        [b"", b"0 a=b\n", b"5 a=\n", b"9999999999 a=b\n", b"6 ab\n\n\n", b"x", b"\0" * 100]
    ),
    "long_name": st.booleans(),
    "sparse": st.lists(_NUMBERS, max_size=9),
    "magic": st.sampled_from([b"ustar\000", b"ustar  \0", b"\0" * 8]),
    "prefix": NAMES,
    "bad_checksum": st.just(True),
}
_PAIRS = [st.tuples(st.just(key), values) for key, values in _MORE.items()]
MEMBERS = st.builds(
    lambda name, kind, link, more: {"name": name, "kind": kind, "link": link, **dict(more)},
    NAMES,
    st.sampled_from([*"000000222222115555", *"346789SgxLKVMND\0\xff"]),
    _LINKS,
    st.one_of(st.just([]), st.just([]), st.lists(st.one_of(_PAIRS), max_size=3)),
)
_FILE = st.fixed_dictionaries({"kind": st.sampled_from("0152"), "content": st.just(b"new"), "link": _LINKS})


def _through(name: str, link: str, below: str, file: dict[str, Any]) -> list[dict[str, Any]]:
    """A symlink, and something at a name that leads through it."""
    return [{"name": name, "kind": "2", "link": link}, {"name": f"{name}/{below}", **file}]


def _second_name(name: str, other: str, link: str, file: dict[str, Any]) -> list[dict[str, Any]]:
    """A symlink, another name for it, and something in its place."""
    return [
        {"name": name, "kind": "2", "link": link},
        {"name": other, "kind": "1", "link": name},
        {"name": other, **file},
    ]


_GROUPS = st.one_of(
    MEMBERS.map(lambda member: [member]),
    st.builds(
        _through,
        _FEW,
        _LINKS,
        st.sampled_from(["secret", "a", "folder/file", "../a", "outside/secret"]),
        _FILE,
    ),
    st.builds(_second_name, _FEW, _FEW, _LINKS, _FILE),
)
_DAMAGE = st.fixed_dictionaries(
    {},
    optional={
        "edits": EDITS,
        "packed_edits": EDITS,
        "end": st.sampled_from([*(["none", "zeros", "garbage"] * 10), "long"]),
    },
)
LAYERS = st.builds(
    lambda groups, packing, damage: {
        "members": [member for group in groups for member in group],
        "packing": packing,
        **damage,
    },
    st.lists(_GROUPS, max_size=5),
    st.sampled_from(["plain", "gzip", "zstd", "twice"]),
    st.one_of(st.just({}), st.just({}), _DAMAGE),
)


def layer_bytes(layer: Mapping[str, Any], outside: str) -> bytes:
    """The layer as it is stored."""
    content = b"".join(member_bytes(member, outside) for member in layer["members"])
    end = {"none": b"", "zeros": bytes(1024), "garbage": bytes(1024) + b"x" * 700, "long": bytes(5 << 20)}
    content = edited(content, layer.get("edits", ())) + end[layer.get("end", "zeros")]
    return edited(packed(content, layer["packing"]), layer.get("packed_edits", ()))


def packed(content: bytes, packing: str) -> bytes:
    """Compressed content; `twice` has two gzip members."""
    if packing == "gzip":
        return gzip.compress(content, 1, mtime=0)
    if packing == "twice":
        half = len(content) // 2
        return gzip.compress(content[:half], 1, mtime=0) + gzip.compress(content[half:], 1, mtime=0)
    if packing == "zstd":
        from backports import zstd

        return zstd.compress(content)
    return content


def member_bytes(member: Mapping[str, Any], outside: str) -> bytes:
    """One member with its extended headers."""
    name, link = (_name(member.get(key, ""), outside) for key in ("name", "link"))
    content: bytes = member.get("content", b"")
    content *= min(member.get("times", 1), LARGEST // max(1, len(content)))
    parts: list[bytes] = []
    if "pax" in member or "pax_bytes" in member:
        records = b"".join(
            _record(key, _name(value, outside)) for key, value in member.get("pax", {}).items()
        )
        records += member.get("pax_bytes", b"")
        kind = b"g" if member.get("shared") else b"x"
        parts += [_header(b"pax", kind, {"size": len(records)}), _padded(records)]
    if member.get("long_name"):
        parts += [_header(b"././@LongLink", b"L", {"size": len(name) + 1}), _padded(name + b"\0")]
    about = {"size": len(content), **member, "link": link, "prefix": _name(member.get("prefix", ""), outside)}
    parts += [_header(name, member["kind"].encode("latin-1")[:1], about), _padded(content)]
    return b"".join(parts)


def _name(text: str, outside: str) -> bytes:
    return text.replace(OUTSIDE, outside).encode(
        "utf-8", "surrogatepass" if "\ud83d" in text else "surrogateescape"
    )


def _record(key: str, value: bytes) -> bytes:
    rest = b" " + key.encode() + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    return str(len(rest) + len(str(length))).encode() + rest


def _header(name: bytes, kind: bytes, about: Mapping[str, Any]) -> bytes:
    block = bytearray(
        struct.pack(
            "100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x",
            name,
            _number(about.get("mode", 0o644), 8),
            _number(about.get("uid", 0), 8),
            _number(about.get("gid", 0), 8),
            _number(about.get("size", 0), 12),
            _number(about.get("mtime", 0), 12),
            b" " * 8,
            kind,
            about.get("link", b""),
            about.get("magic", b"ustar\x0000"),
            *(b"", b"", b"", b""),
            about.get("prefix", b""),
        )
    )
    if sparse := about.get("sparse"):
        fields = [_number(number, 12) for number in sparse[:9]]
        block[386 : 386 + 12 * min(8, len(fields))] = b"".join(fields[:8])
        block[482] = len(sparse) > 8
        block[483:495] = fields[-1]
    checksum = sum(block) + (1 if about.get("bad_checksum") else 0)
    block[148:156] = b"%06o\0 " % checksum
    return bytes(block)


def _number(value: Any, width: int) -> bytes:
    if isinstance(value, bytes):
        return bytes(value[:width]).ljust(width, b"\0")
    number = int(value)
    if 0 <= number < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, number)
    sign = b"\x80" if number >= 0 else b"\xff"
    return sign + (number % (1 << 8 * (width - 1))).to_bytes(width - 1, "big")


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def members_of(files: Sequence[tuple[str, bytes]]) -> list[dict[str, Any]]:
    """Plain files as members."""
    return [{"name": name, "kind": "0", "content": content} for name, content in files]
