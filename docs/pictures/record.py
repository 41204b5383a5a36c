#!/usr/bin/env python3
"""Records what a command writes to a terminal, with its times, for docs/pictures/draw.py.

    docs/pictures/record.py FILE.cast --title TEXT [--columns N] [--rows N] -- COMMAND [ARG...]

The command runs in a terminal of its own, of 100 columns and 28 rows unless given, and its output
is shown here too. FILE.cast is an asciicast of version 2, which `asciinema play` shows as well; it
is written only if the command succeeds. It holds the output, the title and the time of the
recording: no names of this machine or its user, other than those that the command writes.
Exit status: 0 done, 1 the command failed or cannot run, 2 wrong usage, 130 interrupted.
"""

import argparse
import codecs
import fcntl
import json
import os
import pty
import signal
import struct
import sys
import termios
import time
from pathlib import Path

CHUNK = 65536


def arguments(given):
    """What the user asks for; exits with 2 if it is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--title", required=True)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--rows", type=int, default=28)
    parser.add_argument("command", nargs="+")
    chosen = parser.parse_args(given)
    if chosen.file.suffix != ".cast":
        parser.error(f"{chosen.file}: the name of a recording ends with .cast")
    for name in ("columns", "rows"):
        if not 10 <= getattr(chosen, name) <= 500:
            parser.error(f"--{name} takes 10 to 500")
    return chosen


def start(command, columns, rows):
    """Starts a command in a terminal of its own; returns its process and the terminal."""
    process, terminal = pty.fork()
    if process == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        try:
            os.execvp(command[0], command)
        except OSError as error:
            print(f"error: {command[0]}: {error.strerror}")
            sys.stdout.flush()
            os._exit(127)
    return process, terminal


def output(terminal):
    """What arrives from a terminal until its last program ends, as bytes."""
    while True:
        try:
            data = os.read(terminal, CHUNK)
        except OSError:  # Linux says so when no program has the terminal open any more.
            return
        if not data:
            return
        yield data


def record(chosen):
    """Runs the command; returns its exit status and the events of the recording."""
    process, terminal = start(chosen.command, chosen.columns, chosen.rows)
    began, events = time.monotonic(), []
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        for data in output(terminal):
            events.append([round(time.monotonic() - began, 3), "o", decoder.decode(data)])
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
    except BaseException:
        os.kill(process, signal.SIGINT)
        os.waitpid(process, 0)
        raise
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return status, events


def main(given):
    chosen = arguments(given)
    try:
        status, events = record(chosen)
    except KeyboardInterrupt:
        return 130
    if status != 0:
        print(f"error: the command ended with {status}; nothing is recorded", file=sys.stderr)
        return 1
    head = {
        "version": 2, "width": chosen.columns, "height": chosen.rows,
        "timestamp": int(time.time()), "title": chosen.title,
    }
    lines = [json.dumps(part, ensure_ascii=False) + "\n" for part in [head, *events]]
    chosen.file.write_text("".join(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
