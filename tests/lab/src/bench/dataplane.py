"""Forwards TCP through three network namespaces, with natha's table and with others in turn.

Usage: dataplane.py NATHA ROUNDS MEGABYTES CONNECTIONS

Prints one JSON object: for each figure the median of the ratios of all rounds. Within a round each
table is measured once, in a random order, so that what else the machine does hits all alike.
Segmentation offloads are off: each packet counts. Needs root, ip, nft, ethtool and iptables-nft.
"""

import ctypes
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CLIENT, NAT, SERVER = (f"natha-bench-{os.getpid()}-{end}" for end in ("client", "nat", "server"))
ADDRESS = ("198.51.100.1", 9000)
BARE = """table ip bare {
 chain out {
  type nat hook postrouting priority 100
  ip saddr 10.0.0.0/16 oifname ens5 masquerade
 }
}"""
IPTABLES = ["iptables-nft", "-t", "nat", "-A", "POSTROUTING", "-s", "10.0.0.0/16", "-o", "ens5"]
LIBC = ctypes.CDLL(None, use_errno=True)


def run(*argv, **more):
    done = subprocess.run(argv, text=True, capture_output=True, timeout=60, check=False, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def inside(netns, *argv, **more):
    return run("ip", "netns", "exec", netns, *argv, **more)


def wire(netns, name, address, peer, peer_name, peer_address):
    run("ip", "link", "add", name, "netns", netns, "type", "veth",
        "peer", "name", peer_name, "netns", peer)
    for where, link, at in ((netns, name, address), (peer, peer_name, peer_address)):
        run("ip", "-n", where, "addr", "add", at, "dev", link)
        run("ip", "-n", where, "link", "set", link, "up")
        inside(where, "ethtool", "-K", link, "tso", "off", "gso", "off", "gro", "off")


def build():
    for netns in (CLIENT, NAT, SERVER):
        run("ip", "netns", "add", netns)
        run("ip", "-n", netns, "link", "set", "lo", "up")
    wire(CLIENT, "eth0", "10.0.1.20/24", NAT, "ens6", "10.0.1.1/24")
    wire(NAT, "ens5", "10.0.0.10/24", SERVER, "eth0", "10.0.0.1/24")
    run("ip", "-n", SERVER, "addr", "add", f"{ADDRESS[0]}/32", "dev", "lo")
    run("ip", "-n", CLIENT, "route", "add", "default", "via", "10.0.1.1")
    run("ip", "-n", NAT, "route", "add", "default", "via", "10.0.0.1")


def table_of(natha):
    """natha's table, as its own setup makes it. The forwarding that it turns on stays."""
    with tempfile.TemporaryDirectory() as state:
        nowhere = "http://127.0.0.1:9"
        environment = os.environ | {
            "NATHA_STATE_DIR": state, "NATHA_API_ENDPOINT": nowhere,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": nowhere,
            "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none",
        }
        inside(NAT, natha, "setup", "--source", "10.0.0.0/16", "--no-source-dest-check",
               env=environment)
    return inside(NAT, "nft", "list", "table", "ip", "natha")


def enter(netns):
    with open(f"/run/netns/{netns}", encoding="ascii") as file:
        if LIBC.setns(file.fileno(), 0) != 0:
            sys.exit(f"cannot enter {netns}: {os.strerror(ctypes.get_errno())}")


def use_all_ports():
    """A port is not used again for a minute, and a quick host opens 30,000 connections in less."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w", encoding="ascii") as file:
        file.write("1024 65535")


def serve(ready):
    """Runs in a process of its own: reads each connection to its end, then answers a byte."""
    enter(SERVER)
    listener = socket.create_server(ADDRESS, backlog=128)
    os.write(ready, b".")
    buffer = bytearray(1 << 18)
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                while connection.recv_into(buffer):
                    pass
                connection.sendall(b".")
            except OSError:
                pass


def transfer(count):
    """Seconds that so many bytes take, from the connection to the server's answer."""
    began = time.monotonic()
    with socket.create_connection(ADDRESS, 30) as flow:
        block = bytes(1 << 18)
        sent = 0
        while sent < count:
            sent += flow.send(block[:count - sent])
        flow.shutdown(socket.SHUT_WR)
        if flow.recv(1) != b".":
            sys.exit("the server has not answered")
    return time.monotonic() - began


def measure(load, megabytes, connections):
    inside(NAT, "nft", "flush", "ruleset")
    load()
    transfer(1 << 20)
    flow = megabytes * 1e6 / transfer(megabytes * 1_000_000)
    began = time.monotonic()
    for _ in range(connections):
        transfer(1)
    return flow, connections / (time.monotonic() - began)


def main(natha, rounds, megabytes, connections):
    build()
    theirs = table_of(natha)
    tables = {
        "natha": lambda: inside(NAT, "nft", "-f", "-", input=theirs),
        "bare": lambda: inside(NAT, "nft", "-f", "-", input=BARE),
        "iptables": lambda: inside(NAT, *IPTABLES, "-j", "MASQUERADE"),
    }
    ratios = {"ratio_to_bare": [], "ratio_to_iptables": [], "new_connections_ratio_to_bare": []}
    readable, ready = os.pipe()
    server = os.fork()
    if server == 0:
        serve(ready)
    os.read(readable, 1)
    try:
        enter(CLIENT)
        use_all_ports()
        for _ in range(rounds):
            order = random.sample(list(tables), len(tables))
            seen = {name: measure(tables[name], megabytes, connections) for name in order}
            ours, bare = seen["natha"], seen["bare"]
            ratios["ratio_to_bare"].append(ours[0] / bare[0])
            ratios["ratio_to_iptables"].append(ours[0] / seen["iptables"][0])
            ratios["new_connections_ratio_to_bare"].append(ours[1] / bare[1])
    finally:
        os.kill(server, 9)
        os.waitpid(server, 0)
    medians = {f"dataplane.{name}": statistics.median(all_) for name, all_ in ratios.items()}
    json.dump(medians, sys.stdout)


if __name__ == "__main__":
    try:
        main(sys.argv[1], *(int(text) for text in sys.argv[2:5]))
    finally:
        for one in (CLIENT, NAT, SERVER):
            subprocess.run(["ip", "netns", "delete", one], capture_output=True, check=False)
