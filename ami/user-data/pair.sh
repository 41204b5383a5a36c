#!/usr/bin/env bash
# Two nodes, each at home in its own zone, on natha's image. As in pair.yaml, there is nothing that
# must be said: natha starts by itself and finds everything else by tags.
#
# Usage: as the user data of both instances
#
# A script runs late in the boot, when natha runs already. What is to count from the start is
# better said by tags, or by write_files in a cloud-config.
set -euo pipefail
echo "natha finds its cluster by the tag natha:cluster"
