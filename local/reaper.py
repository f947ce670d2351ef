"""Ends the process groups this interpreter started when the interpreter itself is gone, however it went.

One `sh` per interpreter reads a pipe whose other end only this interpreter holds. A killed interpreter (by SIGKILL too)
closes the pipe, and the shell ends every group still registered. Linux has PR_SET_PDEATHSIG for this, but it fires when
the *thread* that started the child ends, which would kill servers started from a pool; and macOS has nothing like it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# SIGCONT comes last so that a frozen process meets its SIGTERM; SIGKILL needs no permission to run.
_SCRIPT = """
trap '' INT TERM HUP
groups=' '
while read -r action group; do
  case $action in
    +) groups="$groups$group " ;;
    d) set -- "$@" "$group" ;;
    -) rest=' '; for g in $groups; do [ "$g" = "$group" ] || rest="$rest$g "; done; groups="$rest" ;;
  esac
done
for g in $groups; do kill -s TERM -- "-$g"; kill -s CONT -- "-$g"; done 2>/dev/null
[ "$groups" = ' ' ] || sleep 1
for g in $groups; do kill -s KILL -- "-$g"; done 2>/dev/null
[ $# -eq 0 ] || rm -rf -- "$@"
exit 0
"""


class Reaper:
    """Watches process groups on behalf of this interpreter; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shell: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def watch(self, group: int) -> None:
        """End this process group should the interpreter die before `forget`."""
        self._tell(f"+ {group}\n")

    def forget(self, group: int) -> None:
        """Stop watching a group that has ended: its number may belong to a stranger from now on."""
        self._tell(f"- {group}\n")

    def remove(self, directory: Path) -> None:
        """Remove this temporary directory at the interpreter's end, if it is still there."""
        self._tell(f"d {directory}\n")

    def close(self) -> None:
        """End the shell, and with it whatever is still registered."""
        with self._lock:
            shell, self._shell = self._shell, None
            # A forked child of this interpreter inherits the object, not the shell: that one is its parent's.
            if shell is None or self._owner != os.getpid():
                return
            if shell.stdin:
                with contextlib.suppress(OSError):
                    shell.stdin.close()
            shell.wait()

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._shell is None or self._owner != os.getpid():
                self._owner = os.getpid()
                # Its own session, so that Ctrl-C in the terminal reaches the interpreter alone.
                self._shell = subprocess.Popen(
                    ["/bin/sh", "-c", _SCRIPT],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            if self._shell.stdin:
                self._shell.stdin.write(line.encode())
                self._shell.stdin.flush()


REAPER = Reaper()
atexit.register(REAPER.close)
