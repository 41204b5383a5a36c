"""What natha itself says, for comparing templates with it."""

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NATHA = os.environ.get("NATHA", str(ROOT / "target/debug/natha"))


def policy(language, *arguments):
    """What `natha policy` prints, whatever the machine's own settings are."""
    command = [NATHA, "policy", "--format", language, *arguments]
    environment = {key: it for key, it in os.environ.items() if not key.startswith("NATHA_")}
    # Nothing is read from files of this machine.
    environment["NATHA_CONFIG"] = "/dev/null"
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.stderr}")
    return done.stdout


def heartbeat_port():
    """The default of heartbeat.port, by docs/config.md, which a test compares with the program."""
    text = (ROOT / "docs/config.md").read_text(encoding="utf-8")
    return int(re.search(r"^\| `heartbeat.port` \| `(\d+)` \|", text, re.M)[1])


def relay_port():
    """The default of replicate.relay_port, in the same way."""
    text = (ROOT / "docs/config.md").read_text(encoding="utf-8")
    return int(re.search(r"^\| `replicate.relay_port` \| `(\d+)` \|", text, re.M)[1])


def metrics_port():
    """The port of the default of metrics.listen, in the same way."""
    text = (ROOT / "docs/config.md").read_text(encoding="utf-8")
    return int(re.search(r"^\| `metrics.listen` \| `127\.0\.0\.1:(\d+)` \|", text, re.M)[1])
