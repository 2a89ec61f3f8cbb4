"""Ports of this machine: who holds the ones that the stack wants."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

from nightshift.errors import StackError
from nightshift.stack.engine import docker

LISTENING = "0A"  # as /proc/net/tcp has it


def taken(port: int) -> bool:
    """Whether something listens where the stack wants to."""
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return True
    with socket.socket() as probe:
        # What is only closing still blocks a bind without this, and docker does not mind it.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            return False  # a port below 1024: the engine may have it
        except OSError:
            return True
    return False


def answers(port: int) -> bool:
    """Whether somebody takes a connection on loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def holder(port: int) -> str:
    """Who holds a port, as far as this user may know."""
    with contextlib.suppress(StackError):
        names = docker("ps", "--filter", f"publish={port}", "--format", "{{.Names}}").split()
        if names:
            return f"container {', '.join(names)}"
    process = _process(port)
    return process or "another program"


def _process(port: int) -> str:
    if Path("/proc/net/tcp").is_file():
        return _by_proc(port)
    return _by_lsof(port)


def _by_proc(port: int) -> str:
    """Linux: the socket's inode, then the process that has it open; other users' cannot be seen."""
    inodes = {f"socket:[{inode}]" for inode in _inodes(port)}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            if any(_target(link) in inodes for link in (folder / "fd").iterdir()):
                return f"{(folder / 'comm').read_text().strip()} (process {folder.name})"
    return ""


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""  # closed a moment ago


def _inodes(port: int) -> Iterable[str]:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.is_file() else []:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == LISTENING and int(local.rpartition(":")[2], 16) == port:
                yield inode


def _by_lsof(port: int) -> str:
    if shutil.which("lsof") is None:
        return ""
    done = subprocess.run(
        ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"],
        check=False,
        capture_output=True,
        text=True,
        timeout=10,
    )
    fields = {line[0]: line[1:] for line in done.stdout.splitlines() if line}
    return f"{fields['c']} (process {fields['p']})" if {"c", "p"} <= fields.keys() else ""
