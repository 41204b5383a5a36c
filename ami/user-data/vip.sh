#!/usr/bin/env bash
# One address outside of the VPC that is led to one node at a time, as vip.yaml.
#
# Usage: as the user data of both instances
#
# It runs once, late in the first boot: what later boots need is left in files, and natha, which
# runs already, is started again with its settings.
set -euo pipefail
cat >/etc/natha/natha.toml <<'END'
cluster = "db"

[host]
sources = ["10.255.0.10/32"]

[repair]
enabled = false

[[group]]
name = "vip"
cidr = "10.255.0.10/32"
tables = ["rtb-0123456789abcdef0", "rtb-0123456789abcdef1"]
home = "eu-west-1a"
END
cat >/etc/systemd/system/vip-address.service <<'END'
[Unit]
Description=The virtual address, on the loopback interface
Before=natha-monitor.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/sbin/ip address replace 10.255.0.10/32 dev lo

[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable --now vip-address.service
systemctl restart natha-setup.service natha-monitor.service
