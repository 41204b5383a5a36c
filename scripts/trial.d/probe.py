# User data of the private hosts and of the server of scripts/trial, after three lines that set
# TOKEN, PORT and PART. The server sends back what begins with the trial's token. A private host
# asks it all the time, and reports on the console whenever the tag natha-trial-order changes.

import os
import select
import socket
import sys
import threading
import time
import urllib.request

METADATA = "http://169.254.169.254/latest/"
# Between two datagrams, and two lines of a connection, in seconds.
DATAGRAMS, LINES = 0.05, 0.2
FLOWS = 8
# A datagram is lost after this long, and a connection without an answer, in seconds.
LOST, DEAD = 1.0, 30.0


def say(line):
    """To the console, twice: a line of the kernel may cut one."""
    for _ in range(2):
        with open("/dev/console", "w") as console:
            console.write(f"natha-trial: {line}\n")
        time.sleep(1)


def echo_stream(stream):
    with stream:
        stream.settimeout(120)
        lines = stream.makefile("rb")
        if lines.readline(100).strip() != TOKEN.encode():
            return
        for line in lines:
            stream.sendall(line)


def echo_streams():
    def quietly(stream):
        try:
            echo_stream(stream)
        except OSError:
            pass

    listener = socket.create_server(("", PORT), backlog=128)
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=quietly, args=(stream,), daemon=True).start()


def serve():
    threading.Thread(target=echo_streams, daemon=True).start()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("", PORT))
    say("serving")
    while True:
        text, sender = datagrams.recvfrom(256)
        if text.startswith(TOKEN.encode()):
            datagrams.sendto(text + b" " + sender[0].encode(), sender)


class Metadata:
    """Tags of this instance."""

    def __init__(self):
        self.token, self.end = "", 0.0

    def fetch(self, path, method="GET", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(METADATA + path, method=method, headers=headers)
        return urllib.request.urlopen(request, timeout=5).read().decode()

    def tag(self, key):
        """The tag's value; empty without one."""
        try:
            if time.monotonic() >= self.end:
                self.token = self.fetch(
                    "api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="21600")
                self.end = time.monotonic() + 21000
            path = "meta-data/tags/instance/" + key
            return self.fetch(path, X_aws_ec2_metadata_token=self.token)
        except OSError:
            return ""


class Count:
    """What happened since the last report."""

    def __init__(self):
        self.lock = threading.Lock()
        self.answered = time.monotonic()
        self.alive = 0
        self.reset()

    def reset(self):
        self.sent = self.lost = self.broken = 0
        self.outage = self.stall = 0.0
        self.addresses = set()

    def answer(self, sent, address):
        """A datagram that was sent at this time was answered."""
        with self.lock:
            self.outage = max(self.outage, sent - self.answered - DATAGRAMS)
            self.answered = max(self.answered, sent)
            self.addresses.add(address)

    def report(self):
        with self.lock:
            silent = time.monotonic() - self.answered
            outage = max(self.outage, silent if silent > LOST else 0.0)
            text = (
                f"sent={self.sent} lost={self.lost} outage_ms={outage * 1000:.0f}"
                f" flows={self.alive} broken={self.broken} stall_ms={self.stall * 1000:.0f}"
                f" addresses={','.join(sorted(self.addresses)) or '-'}"
            )
            self.reset()
        return text


def flow(target, count):
    """A connection that says a line and waits for it to come back, and a new one when it ends."""
    while True:
        opened = False
        try:
            with socket.create_connection((target, PORT), timeout=10) as stream:
                stream.settimeout(DEAD)
                answers = stream.makefile("rb")
                stream.sendall(TOKEN.encode() + b"\n")
                number = 0
                while True:
                    number += 1
                    line = b"%d\n" % number
                    begin = time.monotonic()
                    stream.sendall(line)
                    if answers.readline() != line:
                        raise ConnectionError
                    with count.lock:
                        count.alive += not opened
                        count.stall = max(count.stall, time.monotonic() - begin)
                    opened = True
                    time.sleep(LINES)
        except OSError:
            with count.lock:
                count.alive -= opened
                count.broken += opened
        time.sleep(1)


def datagrams(target, count):
    """Each datagram has a socket of its own: a new flow, which a NAT translates anew."""
    waiting = {}
    following = time.monotonic()
    while True:
        now = time.monotonic()
        if now >= following:
            following = max(following + DATAGRAMS, now)
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.setblocking(False)
            try:
                one.sendto(TOKEN.encode(), (target, PORT))
            except OSError:
                pass
            waiting[one] = now
            with count.lock:
                count.sent += 1
        for one in [one for one, sent in waiting.items() if now - sent > LOST]:
            waiting.pop(one)
            one.close()
            with count.lock:
                count.lost += 1
        ready, _, _ = select.select(list(waiting), [], [], max(0.0, following - now))
        for one in ready:
            sent = waiting.pop(one)
            try:
                count.answer(sent, one.recv(512).split(b" ")[1].decode())
            except (OSError, IndexError):
                with count.lock:
                    count.lost += 1
            one.close()


def measure():
    metadata, count = Metadata(), Count()
    while not (target := metadata.tag("natha-trial-target")):
        time.sleep(1)
    for each in [flow] * FLOWS + [datagrams]:
        threading.Thread(target=each, args=(target, count), daemon=True).start()
    last = metadata.tag("natha-trial-order")
    say("measuring")
    while True:
        time.sleep(0.5)
        order = metadata.tag("natha-trial-order")
        if order and order != last:
            last = order
            say(f"{order.split(':')[0]} done status=0 {count.report()}")


if os.fork() == 0:
    os.setsid()
    with open(os.devnull, "r+") as nothing:
        for stream in (0, 1, 2):
            os.dup2(nothing.fileno(), stream)
    serve() if PART == "server" else measure()
sys.exit(0)
