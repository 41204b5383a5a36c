#!/usr/bin/env bash
# Three nodes on natha's image, one per zone, which authenticate by a key. Like three-zones.yaml.
#
# Usage: as the user data of all three instances
#
# The script contains only the name of an SSM parameter of type SecureString, nothing secret. It
# runs late in the first boot: the monitor is already running without the key, and is restarted with
# it. At later boots the file exists from the start.
set -euo pipefail
echo /natha/blue/key >/etc/natha/key.ssm
systemctl restart natha-key.service natha-monitor.service
