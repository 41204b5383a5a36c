"""Creates connections in this host's kernel at a steady rate, by netlink.

Each one is of the same private host, from another port or to another address, and established.
Arguments: the address to which the private host is translated, the number of the first connection,
how many, and how many a second. Prints the seconds that it took.
"""

import socket
import struct
import sys
import time

NETLINK_NETFILTER = 12
# IPCTNL_MSG_CT_NEW of NFNL_SUBSYS_CTNETLINK.
NEW = 1 << 8
REQUEST, ACK, EXCL, CREATE = 0x1, 0x4, 0x200, 0x400
ERROR = 2
NESTED = 0x8000
# Attributes of a connection, of a tuple, of its two parts, and of a translation.
ORIGINAL, REPLY, STATUS, PROTOCOL_STATE, NAT_SOURCE, TIMEOUT = 1, 2, 3, 4, 6, 7
ADDRESSES, PROTOCOL = 1, 2
SOURCE, DESTINATION = 1, 2
NUMBER, SOURCE_PORT, DESTINATION_PORT = 1, 2, 3
LEAST_ADDRESS, MOST_ADDRESS = 1, 2
# SEEN_REPLY, ASSURED and CONFIRMED.
STATES = 0b1110
TCP, ESTABLISHED = 6, 3
# The flag for a direction without a check of the window, and its mask.
LIBERAL = b"\x08\x08"
HOST = socket.inet_aton("10.0.100.250")
SLOT = 0.01


def attribute(kind, value):
    padding = b"\0" * (-len(value) % 4)
    return struct.pack("=HH", 4 + len(value), kind) + value + padding


def nested(kind, *parts):
    return attribute(kind | NESTED, b"".join(parts))


def packet(kind, source, destination, source_port, destination_port):
    return nested(
        kind,
        nested(ADDRESSES, attribute(SOURCE, source), attribute(DESTINATION, destination)),
        nested(
            PROTOCOL,
            attribute(NUMBER, bytes([TCP])),
            attribute(SOURCE_PORT, struct.pack("!H", source_port)),
            attribute(DESTINATION_PORT, struct.pack("!H", destination_port)),
        ),
    )


def request(number, fixed, is_last):
    server = socket.inet_aton(f"198.51.100.{1 + number // 50000}")
    port = 1024 + number % 50000
    body = (
        struct.pack("!BBH", socket.AF_INET, 0, 0)
        + packet(ORIGINAL, HOST, server, port, 443)
        + packet(REPLY, server, HOST, 443, port)
        + fixed
    )
    flags = REQUEST | CREATE | EXCL | (ACK if is_last else 0)
    return struct.pack("=IHHII", 16 + len(body), NEW, flags, number, 0) + body


def main():
    landing = socket.inet_aton(sys.argv[1])
    first, count, rate = map(int, sys.argv[2:5])
    fixed = (
        nested(NAT_SOURCE, attribute(LEAST_ADDRESS, landing), attribute(MOST_ADDRESS, landing))
        + attribute(STATUS, struct.pack("!I", STATES))
        + attribute(TIMEOUT, struct.pack("!I", 600))
        + nested(
            PROTOCOL_STATE,
            nested(
                1,
                attribute(1, bytes([ESTABLISHED])),
                attribute(4, LIBERAL),
                attribute(5, LIBERAL),
            ),
        )
    )
    # Made before the clock starts: then only the kernel and the programs that listen have work.
    slot = max(1, int(rate * SLOT))
    numbers = range(first, first + count)
    last = numbers[-1]
    slots = [
        b"".join(request(number, fixed, number == last) for number in numbers[at : at + slot])
        for at in range(0, count, slot)
    ]
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    kernel.bind((0, 0))
    begun = time.monotonic()
    for done, messages in enumerate(slots):
        kernel.send(messages)
        time.sleep(max(0.0, begun + (done + 1) * slot / rate - time.monotonic()))
    took = time.monotonic() - begun
    # Only failures are reported, and the end.
    while True:
        _, kind, _, number, _, error = struct.unpack_from("=IHHIIi", kernel.recv(65536))
        if kind != ERROR or error != 0:
            sys.exit(f"connection {number}: message {kind}, error {error}")
        if number == last:
            break
    print(took)


main()
