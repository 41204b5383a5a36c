#!/usr/bin/env bash
# Three nodes, one a zone, on natha's image, which know each other by a key, as three-zones.yaml.
#
# Usage: as the user data of all three instances
#
# The script holds the name of an SSM parameter of the type SecureString, and nothing secret. It
# runs late in the first boot: the monitor runs already, without the key, and is started again
# with it. At later boots the file is there from the start.
set -euo pipefail
echo /natha/blue/key >/etc/natha/key.ssm
systemctl restart natha-key.service natha-monitor.service
