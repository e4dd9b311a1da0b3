# SPDX-License-Identifier: MIT
"""Another process, read through /proc: what it has mapped, what lies in its memory, its children.

Nothing here stops the process, and nothing changes it but Memory.write.  Who may read and write its
memory is the kernel's decision, the same as for a debugger; a refusal is told with the reason.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


class ProcessError(Exception):
    """A process cannot be looked at; the text says why."""


class UnmappedError(ProcessError):
    """Nothing is mapped where memory was to be read."""


@dataclass(frozen=True)
class Mapping:
    """One line of /proc/PID/maps."""

    start: int
    end: int
    permissions: str
    offset: int
    path: str


def exists(pid: int) -> bool:
    """Is there such a process?"""
    return Path(f"/proc/{pid}").exists()


def read_text(pid: int, name: str) -> str:
    """A file of /proc/PID, empty if it cannot be read."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def command_line(pid: int, most: int = 100) -> str:
    """The command as it was started, on one line without control characters, cut to so many letters.

    The name alone for a kernel thread.
    """
    return printable(read_text(pid, "cmdline") or read_text(pid, "comm"), most)


def printable(text: str, most: int = 100) -> str:
    """A command line as the kernel has it, on one line without control characters, cut to so many letters."""
    line = " ".join(re.sub(r"[^!-~\xa0-\U0010ffff]+", " ", text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def environment(pid: int) -> dict[str, str]:
    """The environment that the process was started with; empty if it may not be read."""
    pairs = (entry.partition("=") for entry in read_text(pid, "environ").split("\0"))
    return {name: value for name, equals, value in pairs if equals}


def status(pid: int) -> dict[str, str]:
    """The lines of /proc/PID/status by name."""
    return {name: value.strip() for name, _, value in map(_split, read_text(pid, "status").splitlines())}


def _split(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def mappings(pid: int) -> list[Mapping]:
    """What the process has mapped.  Raises ProcessError."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
    except OSError as error:
        raise refusal(pid, error) from error
    return list(_parse(lines))


def _parse(lines: list[str]) -> Iterator[Mapping]:
    for line in lines:
        words = line.split(None, 5)
        start, _, end = words[0].partition("-")
        path = words[5] if len(words) > 5 else ""
        yield Mapping(int(start, 16), int(end, 16), words[1], int(words[2], 16), path)


def refusal(pid: int, error: OSError) -> ProcessError:
    """Why a process cannot be looked at, with what would help."""
    if isinstance(error, (FileNotFoundError, ProcessLookupError)) or not exists(pid):
        return ProcessError(f"there is no process {pid}")
    if not isinstance(error, PermissionError):
        return ProcessError(f"process {pid} cannot be read: {error.strerror}")
    text = f"the kernel does not let user {os.geteuid()} read the memory of process {pid}"
    if os.geteuid() == 0:
        return ProcessError(f"{text}: this root lacks CAP_SYS_PTRACE, as in a container, or a security module forbids it")
    owner = status(pid).get("Uid", "").split()
    if owner and int(owner[0]) != os.geteuid():
        return ProcessError(f"{text}, which belongs to user {owner[0]}: run this as that user or as root")
    try:
        scope = int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except (OSError, ValueError):
        scope = 0
    if scope > 0:
        return ProcessError(f"{text}: kernel.yama.ptrace_scope is {scope}; run this as root")
    return ProcessError(f"{text}: it has raised privileges or is not dumpable; run this as root")


class Memory:
    """The memory of a process.  A context manager."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._file = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise refusal(pid, error) from error

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the process."""
        os.close(self._file)

    def read(self, address: int, count: int) -> bytes:
        """Bytes at an address; fewer if the memory ends before.  Raises ProcessError if there are none."""
        try:
            data = os.pread(self._file, count, address)
        except (OSError, OverflowError) as error:
            if not exists(self.pid):
                raise ProcessError(f"process {self.pid} has ended") from error
            raise UnmappedError(f"nothing is mapped at {address:#x} of process {self.pid}") from error
        if not data:
            raise ProcessError(f"process {self.pid} has ended")
        return data

    def write(self, address: int, data: bytes) -> None:
        """Write where the process itself may write.  Raises ProcessError."""
        try:
            with open(f"/proc/{self.pid}/mem", "r+b", buffering=0) as file:
                count = os.pwrite(file.fileno(), data, address)
        except OSError as error:
            raise refusal(self.pid, error) from error
        if count != len(data):
            raise ProcessError(f"process {self.pid} has ended")


def own_id(pid: int) -> int:
    """A process's ID as it knows itself, which differs in a container."""
    return int((status(pid).get("NSpid", "") or str(pid)).split()[-1])


def resident_bytes(pid: int) -> int:
    """Resident memory of one process; 0 when it has ended."""
    words = read_text(pid, "statm").split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") if words else 0


def children(pid: int) -> list[int]:
    """The processes that a process has started and that have not ended."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found.extend(int(child) for child in path.read_text().split())
        except OSError:  # the thread has ended
            continue
    return found


def descendants(pid: int) -> list[int]:
    """Every process that descends from one, parents before their children."""
    found = [pid]
    for parent in found:
        found.extend(children(parent))
    return found[1:]
