#!/usr/bin/env bash
# One address outside the VPC, routed to one node at a time. Like vip.yaml.
#
# Usage: as the user data of both instances
#
# It runs once, late in the first boot. It writes a settings file, which later boots also use, and
# restarts natha, which is already running.
set -euo pipefail
cat >/etc/natha/natha.toml <<'END'
cluster = "db"

[[group]]
name = "db"
prefer = ["eu-west-1a", "eu-west-1b"]
local = "lo"

[[group.resource]]
kind = "vip"
address = "10.255.0.10"

[group.check]
tcp = "127.0.0.1:5432"
END
systemctl restart natha-setup.service natha-monitor.service
