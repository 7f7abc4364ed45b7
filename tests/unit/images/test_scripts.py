"""What is read from a script: its language, packages, Python, and what it imports."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from orchestrator.images import ImageError, pythons, scripts


def _script(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text", "interpreter"),
    [
        ("a.py", "print()\n", ("python", "-u")),
        ("a", "#!/usr/bin/env python3\n", ("python", "-u")),
        ("a", "#!/usr/bin/env -S uv run --script\n", ("python", "-u")),
        ("a", "#!/usr/bin/python3.11 -u\n", ("python", "-u")),
        ("a.sh", "echo\n", ("bash",)),
        ("a.sh", "#!/bin/sh -e\necho\n", ("sh",)),
        ("a", "#!/usr/bin/env bash\r\necho\r\n", ("bash",)),
        ("a.bash", "#! /bin/dash\n", ("dash",)),
    ],
)
def test_the_language_is_that_of_the_first_line_or_the_name(
    tmp_path: Path, name: str, text: str, interpreter: tuple[str, ...]
) -> None:
    """`#!` says which shell; a name in .py is Python; a .sh without either is bash."""
    assert scripts.read(_script(tmp_path, name, text)).interpreter == interpreter


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.rb", b"puts 1\n", "does not say what runs it"),
        ("a.sh", b"#!/usr/bin/env zsh\n", "runs with 'zsh'"),
        ("a.py", b"", "is empty"),
        ("a.py", b"\x7fELF\0\0", "is a program, not a text"),
        ("a.py", b"# \xff\n", "byte 3 is not UTF-8"),
        ("a*.py", b"print()\n", "rename it"),
        ("$HOME.py", b"print()\n", "rename it"),
        ("-f.py", b"print()\n", "rename it"),
        ("a.py ", b"print()\n", "rename it"),
        ("a.py", b"#" * (scripts.MAX_SCRIPT + 1), "that is no script"),
    ],
)
def test_what_is_no_script_is_refused(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    """With the file and the reason; also names that mean something in a Dockerfile."""
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"^/") as caught:
        scripts.read(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_script_that_is_not_there_and_a_directory(tmp_path: Path) -> None:
    """Both are told with their path."""
    with pytest.raises(ImageError, match="no such file"):
        scripts.read(tmp_path / "none.py")
    with pytest.raises(ImageError, match="is a directory"):
        scripts.read(tmp_path)


_BLOCK = """# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "requests>=2; python_version > '3'",
#
#   "rich @ https://example.org/rich.whl",
# ]
# ///
"""


def test_packages_that_a_script_names_itself(tmp_path: Path) -> None:
    """A block of PEP 723 is read; blocks of another kind and comments that look alike are not."""
    text = f"#!/usr/bin/env python\n# /// other\n# x = 1\n# ///\n\n{_BLOCK}x = '# ///'\n"
    script = scripts.read(_script(tmp_path, "a.py", text))
    assert script.packages == (
        "requests>=2; python_version > '3'",
        "rich @ https://example.org/rich.whl",
    )
    assert scripts.read(_script(tmp_path, "b.py", "#/// script\n# ///\n")).packages == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_BLOCK + "\n" + _BLOCK, "a second `# /// script`"),
        (_BLOCK.replace("# ///\n", ""), "the block has no end"),
        ("# /// script\n# dependencies = [\n# ///\n", "is not TOML"),
        ("# /// script\n# dependencies = 'requests'\n# ///\n", "write dependencies = ["),
        ("# /// script\n# dependencies = ['--index-url=x']\n# ///\n", "is no requirement"),
        ('# /// script\n# dependencies = ["a\\nRUN b"]\n# ///\n', "is no requirement"),
        ("# /// script\n# dependencies = [1]\n# ///\n", "is no requirement"),
        ("# /// script\n# requires-python = 'new'\n# ///\n", "is no version"),
        ("# /// script\n# requires-python = '<3.8'\n# ///\n", "leaves none of 3.9 to 3.14"),
    ],
)
def test_a_broken_block_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    """What pip would take for an option, or a Dockerfile for a line, is refused as well."""
    with pytest.raises(ImageError, match=r"a\.py") as caught:
        scripts.read(_script(tmp_path, "a.py", text))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "minor"),
    [
        ("", 13),
        (">=3.11", 13),
        (">=3.14", 14),
        ("<3.13", 12),
        (">=3.9, !=3.13.*, <3.14", 12),
        ("==3.11", 11),
        ("==3.10.*", 10),
        ("~=3.11", 13),
        ("~=3.12.4", 12),
        ("<=3.12", 12),
        (">3.13", 14),
        ("<3.13.5, >=3.11", 12),
        ("==3.*", 13),
    ],
)
def test_the_image_has_a_python_that_the_script_takes(wanted: str, minor: int) -> None:
    """3.13 where it will do, else the newest that does."""
    assert pythons.base_image(wanted, place="a.py") == f"python:3.{minor}-slim"


def test_neighbours_that_are_imported_come_along(tmp_path: Path) -> None:
    """Modules and packages beside the script, by way of each other; what pip installs does not."""
    _script(tmp_path, "helpers.py", "from lib.deep import x\nimport a\n")
    (tmp_path / "lib" / "sub").mkdir(parents=True)
    _script(tmp_path / "lib", "__init__.py", "")
    _script(tmp_path / "lib", "deep.py", "def f():\n    import late\n")
    _script(tmp_path, "late.py", "from . import nothing\n")
    _script(tmp_path, "unused.py", "")
    (tmp_path / "json").mkdir()
    _script(tmp_path / "json", "x.py", "")
    script = scripts.read(
        _script(tmp_path, "a.py", "import os, helpers.x\nimport requests\nimport json\n")
    )
    assert script.modules == tuple(map(PurePosixPath, ("helpers.py", "late.py", "lib")))
    assert script.notes == ()


def test_a_script_of_a_newer_python_has_a_note(tmp_path: Path) -> None:
    """What cannot be parsed here is no error: its imports are the author's to copy."""
    script = scripts.read(_script(tmp_path, "a.py", "x = 1\nnew syntax here\n"))
    assert len(script.notes) == 1
    assert "a.py:2: Python 3." in script.notes[0]


def test_requirements_and_the_files_that_they_name(tmp_path: Path) -> None:
    """`-r` and `-c` are followed, once each; what names this machine gets a note."""
    _script(tmp_path, "requirements.txt", "-r more/base.txt\n-c pins.txt\n-e .\nrich  # -r x\n")
    (tmp_path / "more").mkdir()
    _script(tmp_path / "more", "base.txt", "--requirement=other.txt\nrequests\n./wheels/x.whl\n")
    _script(tmp_path / "more", "other.txt", "-r base.txt\n-r https://example.org/r.txt\n")
    _script(tmp_path, "pins.txt", "rich==1\n")
    script = scripts.read(_script(tmp_path, "a.py", "print()\n"))
    assert list(map(str, script.requirements)) == [
        *("requirements.txt", "more/base.txt", "pins.txt", "more/other.txt"),
    ]
    assert ["requirements.txt:3" in script.notes[0], "base.txt:3" in script.notes[1]] == [True] * 2


@pytest.mark.parametrize("line", ["-r ../up.txt", "-r /etc/passwd", "-c gone.txt", "-r a*b.txt"])
def test_requirements_elsewhere_are_refused(tmp_path: Path, line: str) -> None:
    """Files that no Dockerfile beside the script could copy, or that are not there."""
    _script(tmp_path, "requirements.txt", f"{line}\n")
    with pytest.raises(ImageError):
        scripts.read(_script(tmp_path, "a.py", "print()\n"))
