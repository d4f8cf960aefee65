"""COPY and ADD, case by case: files, line, and what dockerd 26.1 makes of it by either door.

`{c}` stands for the folder of the case in the build context. An entry is path, kind, mode, owner, content,
and `kept` when it has its source's time. Kinds: f, d, l (link), h (hard link), 6 (FIFO). None: the door
refuses it.
"""

import gzip
import io
import tarfile
from dataclasses import dataclass
from typing import Any

Files = dict[str, Any]

SAME = "same"


@dataclass(frozen=True)
class Case:
    line: str
    files: Files
    tree: str | None
    classic: str | None = SAME

    def wanted(self, *, classic: bool) -> dict[str, str] | None:
        """What comes of it by a door: path, and what is there."""
        text = self.tree if not classic or self.classic == SAME else self.classic
        if text is None:
            return None
        return dict(entry.split(" ", 1) for entry in text.split("; ") if entry)


def packed() -> bytes:
    """An archive for ADD: a folder, a file, a link and a hard link, of 5:6."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, more in (
            ("d", tarfile.DIRTYPE, ""), ("d/f", tarfile.REGTYPE, "in tar"), ("l", tarfile.SYMTYPE, "d/f"),
            ("h", tarfile.LNKTYPE, "d/f"),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.uid, info.gid, info.mtime = kind, 5, 6, WHEN
            info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
            if kind == tarfile.REGTYPE:
                info.size = len(more)
            else:
                info.linkname = more
            tar.addfile(info, io.BytesIO(more.encode()))
    return buffer.getvalue()


WHEN = 1_500_000_000
TAR = packed()
D: Files = {
    "a": "A", "b.txt": "B", "c.txt": "C", "d": ("dir", 0o750), "d/one": "1",
    "d/deep/two": ("file", "2", 0o755), "d/l": ("link", "one"), "empty": None,
    "exec": ("file", "#!", 0o755), "inl": ("link", "d"),
    "abs": ("link", "/{c}/d"), "broken": ("link", "nope"), "setuid": ("file", "s", 0o4755),
}  # fmt: skip

CASES: dict[str, Case] = {
    "file_to_file": Case("COPY {c}/a /new", D, "new f 644 0:0 A kept"),
    "file_to_slash": Case("COPY {c}/a /new/", D, "new d 755 0:0; new/a f 644 0:0 A kept"),
    "file_to_dir": Case("COPY {c}/a /dir", D, "dir d 700 7:8; dir/a f 644 0:0 A kept"),
    "file_to_missing_deep": Case(
        "COPY {c}/a /x/y/z", D, "x d 755 0:0; x/y d 755 0:0; x/y/z f 644 0:0 A kept"
    ),
    "dir_contents": Case(
        "COPY {c}/d /new",
        D,
        (
            "new d 755 0:0 kept; new/deep d 755 0:0 kept; new/deep/two f 755 0:0 2 kept; new/l l 777 0:0 "
            "one kept; new/one f 644 0:0 1 kept"
        ),
        (
            "new d 755 0:0; new/deep d 755 0:0 kept; new/deep/two f 755 0:0 2 kept; new/l l 777 0:0 one "
            "kept; new/one f 644 0:0 1 kept"
        ),
    ),
    "dir_into_existing": Case(
        "COPY {c}/d /dir",
        D,
        (
            "dir d 700 7:8 kept; dir/deep d 755 0:0 kept; dir/deep/two f 755 0:0 2 kept; dir/l l 777 0:0 "
            "one kept; dir/one f 644 0:0 1 kept"
        ),
        (
            "dir d 700 7:8; dir/deep d 755 0:0 kept; dir/deep/two f 755 0:0 2 kept; dir/l l 777 0:0 one "
            "kept; dir/one f 644 0:0 1 kept"
        ),
    ),
    "whole": Case(
        "COPY {c} /w",
        {"a": "A", "d/one": "1"},
        "w d 755 0:0 kept; w/a f 644 0:0 A kept; w/d d 755 0:0 kept; w/d/one f 644 0:0 1 kept",
        "w d 755 0:0; w/a f 644 0:0 A kept; w/d d 755 0:0 kept; w/d/one f 644 0:0 1 kept",
    ),
    "whole_root": Case(
        "COPY {c} /", {"a": "A", "d/one": "1"}, "a f 644 0:0 A kept; d d 755 0:0 kept; d/one f 644 0:0 1 kept"
    ),
    "two_no_slash": Case("COPY {c}/a {c}/b.txt /new", D, "new f 644 0:0 B kept", None),
    "wild": Case(
        "COPY {c}/*.txt /new/", D, "new d 755 0:0; new/b.txt f 644 0:0 B kept; new/c.txt f 644 0:0 C kept"
    ),
    "wild_none_and_file": Case("COPY {c}/a {c}/*.nope /new/", D, "new d 755 0:0; new/a f 644 0:0 A kept"),
    "wild_dirs": Case(
        "COPY {c}/p/* /new/",
        {"p/x/1": "1", "p/y/2": "2", "p/f": "f"},
        "new d 755 0:0 kept; new/1 f 644 0:0 1 kept; new/2 f 644 0:0 2 kept; new/f f 644 0:0 f kept",
        "new d 755 0:0; new/1 f 644 0:0 1 kept; new/2 f 644 0:0 2 kept; new/f f 644 0:0 f kept",
    ),
    "wild_deep": Case(
        "COPY {c}/p/*/*.c /new/",
        {"p/x/1.c": "1", "p/y/2.c": "2", "p/f": "f"},
        "new d 755 0:0; new/1.c f 644 0:0 1 kept; new/2.c f 644 0:0 2 kept",
    ),
    "abs_source": Case("COPY /{c}/a /new", D, "new f 644 0:0 A kept"),
    "link_dir_abs": Case(
        "COPY {c}/abs /new",
        D,
        (
            "new d 755 0:0 kept; new/deep d 755 0:0 kept; new/deep/two f 755 0:0 2 kept; new/l l 777 0:0 "
            "one kept; new/one f 644 0:0 1 kept"
        ),
        (
            "new d 755 0:0; new/deep d 755 0:0 kept; new/deep/two f 755 0:0 2 kept; new/l l 777 0:0 one "
            "kept; new/one f 644 0:0 1 kept"
        ),
    ),
    "link_through": Case("COPY {c}/inl/one /new", D, "new f 644 0:0 1 kept"),
    "dest_link": Case("COPY {c}/a /link", D, "dir d 700 7:8; dir/a f 644 0:0 A kept"),
    "dest_link_dir": Case(
        "COPY {c}/d /link",
        D,
        (
            "dir d 700 7:8 kept; dir/deep d 755 0:0 kept; dir/deep/two f 755 0:0 2 kept; dir/l l 777 0:0 "
            "one kept; dir/one f 644 0:0 1 kept"
        ),
        (
            "dir d 700 7:8; dir/deep d 755 0:0 kept; dir/deep/two f 755 0:0 2 kept; dir/l l 777 0:0 one "
            "kept; dir/one f 644 0:0 1 kept"
        ),
    ),
    "dest_dangling": Case("COPY {c}/a /dangling", D, "nowhere d 755 0:0; nowhere/deep f 644 0:0 A kept"),
    "dest_dangling_dir": Case(
        "COPY {c}/d /dangling",
        D,
        (
            "nowhere d 755 0:0; nowhere/deep d 755 0:0 kept; nowhere/deep/deep d 755 0:0 kept; "
            "nowhere/deep/deep/two f 755 0:0 2 kept; nowhere/deep/l l 777 0:0 one kept; nowhere/deep/one "
            "f 644 0:0 1 kept"
        ),
        (
            "nowhere d 755 0:0; nowhere/deep d 755 0:0; nowhere/deep/deep d 755 0:0 kept; "
            "nowhere/deep/deep/two f 755 0:0 2 kept; nowhere/deep/l l 777 0:0 one kept; nowhere/deep/one "
            "f 644 0:0 1 kept"
        ),
    ),
    "dest_linkfile": Case("COPY {c}/a /linkfile", D, "file f 644 0:0 A kept"),
    "file_onto_dir_inside": Case(
        "COPY {c}/s /sub",
        {"s/inner": "now a file"},
        None,
        "sub d 755 0:0; sub/inner f 644 0:0 now a file kept",
    ),
    "dir_onto_file_inside": Case(
        "COPY {c}/s /sub",
        {"s/f/g": "g"},
        None,
        "sub d 755 0:0; sub/f d 755 0:0 kept; sub/f/g f 644 0:0 g kept",
    ),
    "dir_onto_link_inside": Case(
        "COPY {c}/s /", {"s/link/g": "g"}, None, "link d 755 0:0 kept; link/g f 644 0:0 g kept"
    ),
    "link_onto_dir_inside": Case(
        "COPY {c}/s /sub", {"s/inner": ("link", "x")}, None, "sub d 755 0:0; sub/inner l 777 0:0 x kept"
    ),
    "chown_num": Case(
        "COPY --chown=12:34 {c}/d /n/m",
        D,
        (
            "n d 755 12:34; n/m d 755 12:34 kept; n/m/deep d 755 12:34 kept; n/m/deep/two f 755 12:34 2 "
            "kept; n/m/l l 777 12:34 one kept; n/m/one f 644 12:34 1 kept"
        ),
        (
            "n d 755 0:0; n/m d 755 12:34; n/m/deep d 755 12:34 kept; n/m/deep/two f 755 12:34 2 kept; "
            "n/m/l l 777 12:34 one kept; n/m/one f 644 12:34 1 kept"
        ),
    ),
    "chown_user": Case(
        "COPY --chown=alice {c}/a /n/m/",
        D,
        "n d 755 1000:1001; n/m d 755 1000:1001; n/m/a f 644 1000:1001 A kept",
    ),
    "chown_user_only_bob": Case(
        "COPY --chown=bob {c}/a /n/m/",
        D,
        "n d 755 1002:1003; n/m d 755 1002:1003; n/m/a f 644 1002:1003 A kept",
        None,
    ),
    "chown_both": Case(
        "COPY --chown=alice:staff {c}/a /n/m/",
        D,
        "n d 755 1000:50; n/m d 755 1000:50; n/m/a f 644 1000:50 A kept",
    ),
    "chown_uid_only": Case(
        "COPY --chown=77 {c}/a /n/m/", D, "n d 755 77:77; n/m d 755 77:77; n/m/a f 644 77:77 A kept"
    ),
    "chown_unknown": Case("COPY --chown=carol {c}/a /n", D, "n f 644 0:0 A kept", None),
    "chown_three": Case("COPY --chown=1:2:3 {c}/a /n", D, "n f 644 1:1 A kept", None),
    "chown_empty_group": Case("COPY --chown=alice: {c}/a /n", D, "n f 644 1000:0 A kept", None),
    "chown_colon": Case("COPY --chown=:staff {c}/a /n", D, "n f 644 0:50 A kept", None),
    "chown_existing": Case(
        "COPY --chown=12:34 {c}/d /dir",
        D,
        (
            "dir d 700 7:8 kept; dir/deep d 755 12:34 kept; dir/deep/two f 755 12:34 2 kept; dir/l l 777 "
            "12:34 one kept; dir/one f 644 12:34 1 kept"
        ),
        (
            "dir d 700 7:8; dir/deep d 755 12:34 kept; dir/deep/two f 755 12:34 2 kept; dir/l l 777 12:34"
            " one kept; dir/one f 644 12:34 1 kept"
        ),
    ),
    "chmod": Case(
        "COPY --chmod=640 {c}/d /n/m",
        D,
        (
            "n d 755 0:0; n/m d 755 0:0 kept; n/m/deep d 640 0:0 kept; n/m/deep/two f 640 0:0 2 kept; "
            "n/m/l l 777 0:0 one kept; n/m/one f 640 0:0 1 kept"
        ),
        None,
    ),
    "chmod_file": Case(
        "COPY --chmod=4711 {c}/a /n/m/", D, "n d 755 0:0; n/m d 755 0:0; n/m/a f 4711 0:0 A kept", None
    ),
    "link_flag": Case("COPY --link {c}/a /dir/n", D, "dir d 700 7:8; dir/n f 644 0:0 A kept"),
    "link_flag_chown_num": Case("COPY --link --chown=3:4 {c}/a /q/n", D, "q d 755 3:4; q/n f 644 3:4 A kept"),
    "link_flag_chown_name": Case(
        "COPY --link --chown=alice {c}/a /q/n", D, "q d 755 1000:1001; q/n f 644 1000:1001 A kept"
    ),
    "from_image": Case("COPY --from=copybase:1 /dir /t", D, "t d 755 0:0; t/old f 644 0:0 old"),
    "from_image_link": Case("COPY --from=copybase:1 /link /t", D, "t d 755 0:0; t/old f 644 0:0 old"),
    "from_image_link_abs_through": Case("COPY --from=copybase:1 /up/old /t", D, "t f 644 0:0 old"),
    "add_tar": Case(
        "ADD {c}/t.tar /x",
        {"t.tar": TAR},
        (
            "x d 755 0:0; x/d d 755 5:6 kept; x/d/f f 644 5:6 in tar kept; x/h h 644 5:6 x/d/f kept; x/l "
            "l 777 5:6 d/f kept"
        ),
    ),
    "add_tgz": Case(
        "ADD {c}/t.tgz /x",
        {"t.tgz": gzip.compress(TAR)},
        (
            "x d 755 0:0; x/d d 755 5:6 kept; x/d/f f 644 5:6 in tar kept; x/h h 644 5:6 x/d/f kept; x/l "
            "l 777 5:6 d/f kept"
        ),
    ),
    "add_tar_chown": Case(
        "ADD --chown=12:34 {c}/t.tar /x",
        {"t.tar": TAR},
        (
            "x d 755 12:34; x/d d 755 5:6 kept; x/d/f f 644 5:6 in tar kept; x/h h 644 5:6 x/d/f kept; "
            "x/l l 777 5:6 d/f kept"
        ),
        (
            "x d 755 0:0; x/d d 755 5:6 kept; x/d/f f 644 5:6 in tar kept; x/h h 644 5:6 x/d/f kept; x/l "
            "l 777 5:6 d/f kept"
        ),
    ),
    "add_tar_chmod": Case(
        "ADD --chmod=600 {c}/t.tar /x",
        {"t.tar": TAR},
        (
            "x d 755 0:0; x/d d 755 5:6 kept; x/d/f f 644 5:6 in tar kept; x/h h 644 5:6 x/d/f kept; x/l "
            "l 777 5:6 d/f kept"
        ),
        None,
    ),
    "add_tar_link": Case(
        "ADD {c}/l /x",
        {"t.tar": TAR, "l": ("link", "t.tar")},
        (
            "x d 755 0:0; x/d d 755 5:6 kept; x/d/f f 644 5:6 in tar kept; x/h h 644 5:6 x/d/f kept; x/l "
            "l 777 5:6 d/f kept"
        ),
    ),
    "add_tar_dest_link": Case(
        "ADD {c}/t.tar /link",
        {"t.tar": TAR},
        (
            "dir d 700 7:8; dir/d d 755 5:6 kept; dir/d/f f 644 5:6 in tar kept; dir/h h 644 5:6 dir/d/f "
            "kept; dir/l l 777 5:6 d/f kept"
        ),
    ),
    "add_dir": Case(
        "ADD {c}/d /x",
        D,
        (
            "x d 755 0:0 kept; x/deep d 755 0:0 kept; x/deep/two f 755 0:0 2 kept; x/l l 777 0:0 one "
            "kept; x/one f 644 0:0 1 kept"
        ),
        (
            "x d 755 0:0; x/deep d 755 0:0 kept; x/deep/two f 755 0:0 2 kept; x/l l 777 0:0 one kept; "
            "x/one f 644 0:0 1 kept"
        ),
    ),
    "hardlinks": Case(
        "COPY {c}/s /x",
        {"s/a": "A", "s/b": ("hard", "s/a")},
        "x d 755 0:0 kept; x/a f 644 0:0 A kept; x/b h 644 0:0 x/a kept",
        "x d 755 0:0; x/a f 644 0:0 A kept; x/b h 644 0:0 x/a kept",
    ),
    "fifo": Case(
        "COPY {c}/s /x",
        {"s/p": ("fifo",)},
        "x d 755 0:0 kept; x/p 6 644 0:0 kept",
        "x d 755 0:0; x/p 6 644 0:0 kept",
    ),
    "setuid": Case("COPY {c}/setuid /x", D, "x f 4755 0:0 s kept", "x f 755 0:0 s kept"),
    "setuid_chown": Case("COPY --chown=1 {c}/setuid /x", D, "x f 4755 1:1 s kept", "x f 755 1:1 s kept"),
    "dotfiles": Case(
        "COPY {c}/s/* /x/",
        {"s/.h": "h", "s/.d/x": "x"},
        "x d 755 0:0; x/.h f 644 0:0 h kept; x/x f 644 0:0 x kept",
    ),
    "same_name_twice": Case(
        "COPY {c}/s/n {c}/t/n /x/", {"s/n": "1", "t/n": "2"}, "x d 755 0:0; x/n f 644 0:0 2 kept"
    ),
    "mode_dir_700": Case(
        "COPY {c}/s /x",
        {"s": ("dir", 448), "s/f": "f"},
        "x d 755 0:0 kept; x/f f 644 0:0 f kept",
        "x d 755 0:0; x/f f 644 0:0 f kept",
    ),
    "dest_trailing_dot": Case("COPY {c}/a /dir/.", D, "dir d 700 7:8; dir/a f 644 0:0 A kept"),
    "dest_dot_missing": Case(
        "COPY {c}/a /miss/.", D, "miss d 755 0:0; miss/a f 644 0:0 A kept", "miss f 644 0:0 A kept"
    ),
    "two_dirs": Case(
        "COPY {c}/p {c}/q /x/",
        {"p/a": "1", "q/b": "2"},
        "x d 755 0:0 kept; x/a f 644 0:0 1 kept; x/b f 644 0:0 2 kept",
        "x d 755 0:0; x/a f 644 0:0 1 kept; x/b f 644 0:0 2 kept",
    ),
    "dir_and_file": Case(
        "COPY {c}/p {c}/f /x/",
        {"p/a": "1", "f": "2"},
        "x d 755 0:0; x/a f 644 0:0 1 kept; x/f f 644 0:0 2 kept",
    ),
    "file_over_file_chown": Case("COPY --chown=3:4 {c}/a /file", {"a": "new"}, "file f 644 3:4 new kept"),
}
