#!/usr/bin/env python3
"""Stands in for the AWS CLI and Terraform in test_roll.py: what it is called as says which. The
file that FAKE_STATE names has instances, what commands on them end with, and every call.
"""

import json
import os
import sys
from pathlib import Path

STATE = Path(os.environ["FAKE_STATE"])


def option(arguments, name):
    return arguments[arguments.index(name) + 1]


def launch(state, old):
    """The instance that follows this one."""
    number = state["launched"] = state["launched"] + 1
    new = {**old, "id": f"i-new{number}"}
    state["instances"] = [it for it in state["instances"] if it != old] + [new]


def aws(state, service, verb, *arguments):
    if verb == "describe-instances":
        for it in state["instances"]:
            print(it["id"], it["name"], it["group"] or "None", sep="\t")
    elif verb == "send-command":
        instance = option(arguments, "--instance-ids")
        [command] = json.loads(option(arguments, "--parameters").removeprefix("commands="))
        state["calls"].append(f"{instance}: {command}")
        results = state["results"].get(f"{instance}: {command}", [0])
        status = results.pop(0) if len(results) > 1 else results[0]
        state["commands"].append(status)
        print(len(state["commands"]) - 1)
    elif verb == "get-command-invocation":
        status = state["commands"][int(option(arguments, "--command-id"))]
        query = option(arguments, "--query")
        said = {"Status": "Success" if status == 0 else "Failed", "ResponseCode": status}
        print(said.get(query, f"it ended with {status}"))
    elif verb == "start-instance-refresh":
        group = option(arguments, "--auto-scaling-group-name")
        state["calls"].append(f"refresh {group}")
        [old] = [it for it in state["instances"] if it["group"] == group]
        if state["refresh"] == "Successful":
            launch(state, old)
        print("refresh-1")
    elif verb == "describe-instance-refreshes":
        print(state["refresh"])
    else:
        sys.exit(f"no stand-in for aws {service} {verb}")


def terraform(state, directory, verb, *arguments):
    if verb == "plan":
        sys.exit(state["plan"])
    [address] = [it for it in arguments if it.startswith("-replace=")]
    state["calls"].append(f"terraform {verb} {address}")
    key = address.split('"')[1]
    [old] = [it for it in state["instances"] if it["name"].endswith("-" + key)]
    launch(state, old)


def main():
    state = json.loads(STATE.read_text(encoding="utf-8"))
    try:
        {"aws": aws, "terraform": terraform}[Path(sys.argv[0]).name](state, *sys.argv[1:])
    finally:
        STATE.write_text(json.dumps(state), encoding="utf-8")


main()
