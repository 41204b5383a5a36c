"""Prints the cloud-config that cloud-init makes of the parts of user data, a file that is named.
Run with the image's own Python, which has its cloud-init."""

import sys

from cloudinit import handlers, user_data
from cloudinit.handlers.cloud_config import CloudConfigPartHandler


class Nowhere:
    """Paths for what is neither read nor written here."""

    def get_ipath(self, name=None):
        return None

    def get_ipath_cur(self, name=None):
        return f"/nonexistent/{name}"

    get_cpath = get_runpath = get_ipath_cur


with open(sys.argv[1], "rb") as file:
    message = user_data.UserDataProcessor(Nowhere()).process(file.read())
handler = CloudConfigPartHandler(Nowhere())
handler.handle_part(None, handlers.CONTENT_START, None, None, None, None)
for part in message.walk():
    kind = part.get_content_type()
    if kind == "text/cloud-config":
        text = part.get_payload(decode=True).decode()
        handler.handle_part(None, kind, part.get_filename(), text, "once", dict(part.items()))
    elif not part.is_multipart():
        print(kind)
for name in ("write_files", "runcmd"):
    for it in handler.cloud_buf.get(name, []):
        print(name, it)
