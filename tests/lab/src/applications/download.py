"""Sends octets over HTTP until it is asked to end, and answers with their checksum.

Usage: download.py ADDRESS PORT RATE

GET /octets     sends RATE octets a second, until asked to end
GET /end/LEAST  lets that end once it has sent LEAST octets, waits for it, and answers with the
                SHA-256 and the number of the octets

The octets differ from block to block, so that a lost, repeated or exchanged one changes the
checksum.
"""

import hashlib
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BLOCK = random.Random(8080).randbytes(1 << 18)
# Between two blocks the content turns by so many octets: a prime, so that it takes long to repeat.
TURN = 4099


class Stream:
    """What was sent so far, and when it may end."""

    def __init__(self, rate):
        self.rate = rate
        self.sent = 0
        self.sum = hashlib.sha256()
        self.least = None
        self.ended = threading.Event()

    def is_over(self):
        return self.least is not None and self.sent >= self.least

    def send(self, to):
        begun = time.monotonic()
        turn = 0
        while not self.is_over():
            block = BLOCK[turn:] + BLOCK[:turn]
            to.write(block)
            self.sum.update(block)
            self.sent += len(block)
            turn = (turn + TURN) % len(BLOCK)
            time.sleep(max(0, begun + self.sent / self.rate - time.monotonic()))

    def end(self, least):
        self.least = least
        self.ended.wait()
        return f"{self.sum.hexdigest()} {self.sent}\n"


class Handler(BaseHTTPRequestHandler):
    stream = None

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        if self.path == "/octets":
            try:
                self.stream.send(self.wfile)
            finally:
                self.stream.ended.set()
        else:
            answer = self.stream.end(int(self.path.rsplit("/", 1)[1]))
            self.wfile.write(answer.encode())

    def log_message(self, *_):
        pass


def main():
    address, port, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    Handler.stream = Stream(rate)
    ThreadingHTTPServer((address, port), Handler).serve_forever()


main()
