#!/usr/bin/env bash
# One address outside of the VPC that is led to one node at a time, as vip.yaml.
#
# Usage: as the user data of both instances
#
# It runs once, late in the first boot: what later boots need is left in a file, and natha, which
# runs already, is started again with its settings.
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
