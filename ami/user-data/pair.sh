#!/usr/bin/env bash
# Two nodes on natha's image, each the home of its own zone. As in pair.yaml, no settings are
# needed: natha starts automatically and finds everything else by tags.
#
# Usage: as the user data of both instances
#
# A script runs late in the boot, when natha is already running. For settings that must apply from
# the start, use tags, or write_files in a cloud-config.
set -euo pipefail
echo "natha finds its cluster by the tag natha:cluster"
