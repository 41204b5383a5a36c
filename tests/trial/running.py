"""Runs a program in a session of its own, and sends its process group a signal, as a terminal does
with Ctrl-C, as soon as it says something.

Arguments: what it says, the signal's name, and the program with its arguments. What it writes to
standard error is passed on. Ends with the program's code; 128 and the number of a signal."""

import ctypes
import os
import signal
import subprocess
import sys


def end_with_parent():
    """For a child of a test that may be killed: prctl(PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def run(command, says, number, environment=None):
    """The program's code, what it wrote to standard error, and whether the signal was sent."""
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True, text=True, preexec_fn=end_with_parent)
    told, sent = [], False
    for line in process.stderr:
        told.append(line)
        sys.stderr.write(line)
        if not sent and says in line:
            sent = True
            os.killpg(process.pid, number)
    code = process.wait()
    return (code if code >= 0 else 128 - code), "".join(told), sent


if __name__ == "__main__":
    says, name, *command = sys.argv[1:]
    code, _, sent = run(command, says, signal.Signals[name])
    if not sent:
        sys.exit(f"it never said {says!r}")
    sys.exit(code)
