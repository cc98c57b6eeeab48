"""Files with the same name in different folders, whose outputs may replace each other."""

from __future__ import annotations

from scar_cli.launch.same_names import SameNames, same_names_warning


def test_two_files_of_one_name_are_found_across_pages() -> None:
    names = SameNames()
    assert names.first_pair(["b/in/a/x.txt", "b/in/a/y.txt"]) is None
    assert names.first_pair(["b/in/b/z.txt", "b/in/b/y.txt"]) == ("b/in/a/y.txt", "b/in/b/y.txt")


def test_the_same_file_again_is_no_pair() -> None:
    names = SameNames()
    assert names.first_pair(["in/x.txt"]) is None
    assert names.first_pair(["in/x.txt"]) is None


def test_the_warning_names_both_files_and_the_remedy() -> None:
    warning = same_names_warning(("in/a/x\x1b.txt", "in/b/x\x1b.txt"), "demo")
    assert warning.startswith("in/a/x\\x1b.txt and in/b/x\\x1b.txt have the same name. If demo names")
    assert "$SCAR_INPUT_FOLDER" in warning
