"""Prints the user data that templates/terraform gives a node with a key and parts of the caller's,
for tests/boot/check, which has the image's cloud-init read it."""

import base64
import sys

from inputs import DATA, KEY, given
from plan import Workspace

PARTS = [
    {
        "content_type": "text/cloud-config",
        "content": "#cloud-config\nwrite_files:\n- {path: /etc/motd, content: hello}\n",
    },
    {"content_type": "text/x-shellscript", "content": "#!/bin/sh\necho hello\n"},
]


def main():
    workspace = Workspace()
    try:
        workspace.provider.data = dict(DATA)
        plan = workspace.plan(**given(key_parameter=KEY, cloud_init_parts=PARTS))
        launch = plan.of("aws_launch_template").popitem()[1]
        sys.stdout.buffer.write(base64.b64decode(launch["user_data"]))
    finally:
        workspace.close()


main()
