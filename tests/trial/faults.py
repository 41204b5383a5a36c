"""Runs scripts/trial again and again, each time with another call of the AWS CLI failing, and
checks that nothing of the trial is left each time. No instance boots here, so that each run is
interrupted at the latest when it waits for that.

Arguments: the endpoint of the simulated EC2, a phase, and two numbers: of the calls of the phase,
those are made to fail whose number leaves the first when it is divided by the second. Phases:
`making`, before the trial waits; `removing`, after its interrupt. Without numbers, the phase is
`some`: a call of each kind of step fails, and all kinds of calls that remove something fail in one
trial."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

import boto3

from running import end_with_parent, run

ENDPOINT, PHASE, *NUMBERS = sys.argv[1:]
HERE = pathlib.Path(__file__).resolve().parent
REGION = "eu-central-1"
KEYS = dict(aws_access_key_id="AKIALABOPERATOR00001",
            aws_secret_access_key="lab/operator/secret/key/of/40/characters", region_name=REGION)
WAITS = "waiting until the instances are ready"
PATIENCE = 30
# One of each kind of step that makes something.
MAKING = ("create-vpc", "associate-route-table", "authorize-security-group-ingress",
          "allocate-address", "add-role-to-instance-profile", "run-instances")
REMOVING = ("terminate-instances", "release-address", "delete-security-group",
            "disassociate-route-table", "delete-route-table", "delete-subnet",
            "detach-internet-gateway", "delete-internet-gateway", "delete-vpc",
            "remove-role-from-instance-profile", "delete-instance-profile", "delete-role-policy",
            "delete-role")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def until(what, probe):
    end = time.monotonic() + PATIENCE
    while not probe():
        assert time.monotonic() < end, f"{what} does not answer"
        time.sleep(0.05)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def left(ec2, iam):
    """What there is in the account."""
    found = [v["VpcId"] for v in ec2.describe_vpcs()["Vpcs"]]
    found += [s["SubnetId"] for s in ec2.describe_subnets()["Subnets"]]
    found += [t["RouteTableId"] for t in ec2.describe_route_tables()["RouteTables"]]
    found += [g["GroupId"] for g in ec2.describe_security_groups()["SecurityGroups"]]
    found += [i["NetworkInterfaceId"] for i in
              ec2.describe_network_interfaces()["NetworkInterfaces"]]
    found += [a["AllocationId"] for a in ec2.describe_addresses()["Addresses"]]
    found += [g["InternetGatewayId"] for g in
              ec2.describe_internet_gateways()["InternetGateways"]]
    for reservation in ec2.describe_instances()["Reservations"]:
        found += [i["InstanceId"] for i in reservation["Instances"]
                  if i["State"]["Name"] != "terminated"]
    found += [r["RoleName"] for r in iam.list_roles()["Roles"]]
    found += [p["InstanceProfileName"] for p in iam.list_instance_profiles()["InstanceProfiles"]]
    return found


def trial(environment, directory, name, faults):
    """Runs it once with these faults: its code, its messages, whether it came to wait, and its
    log."""
    log = directory / name / "trial.log"
    script = str(HERE.parent.parent / "scripts/trial")
    command = [script, "--yes", "--name", name, "--region", REGION, "--out", str(log.parent),
               "--package", "http://203.0.113.10/natha.deb", "--sha256", "0" * 64,
               "--base", "ami-0123456789abcdef0"]
    environment = dict(environment, AWSD_RUN=name, AWSD_FAIL=faults)
    code, told, waited = run(command, WAITS, signal.SIGINT, environment)
    return code, told, waited, log.read_text()


def chosen(actions, before):
    """The faults of each trial, by the calls of one without any and the number of those that make
    something."""
    if PHASE == "some":
        kinds = [("after", "before")[number % 2] for number in range(len(MAKING))]
        making = [f"{action}:{kind}" for action, kind in zip(MAKING, kinds)]
        absent = [action for action in MAKING + REMOVING if not any(
            f" {action} " in call for call in actions)]
        assert not absent, f"the trial does not call {absent}"
        return making + [",".join(f"{action}:{kind}" for action in REMOVING)
                         for kind in ("before", "after")]
    rest, each = map(int, NUMBERS)
    span = range(1, before + 1) if PHASE == "making" else range(before + 1, len(actions) + 1)
    numbers = [number for number in span if number % each == rest]
    return [f"{number}:{('before', 'after')[number // each % 2]}" for number in numbers]


def main():
    directory = pathlib.Path(tempfile.mkdtemp())
    port = free_port()
    moto = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    moto = subprocess.Popen(moto, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            preexec_fn=end_with_parent)
    services = f"http://127.0.0.1:{port}"
    until("moto", lambda: answers(port))
    path = directory / "awsd"
    environment = dict(
        os.environ, PATH=f"{HERE}:/usr/bin:{os.environ['PATH']}", AWSD_SOCKET=str(path),
        HOME=str(directory),
        AWS_ACCESS_KEY_ID=KEYS["aws_access_key_id"], NATHA_TRIAL_POLL="0.1",
        AWS_SECRET_ACCESS_KEY=KEYS["aws_secret_access_key"], AWS_ENDPOINT_URL_EC2=ENDPOINT,
        AWS_ENDPOINT_URL_IAM=services, AWS_ENDPOINT_URL_SSM=services,
        AWS_ENDPOINT_URL_PRICING=services)
    awsd = subprocess.Popen([sys.executable, str(HERE / "awsd.py"), str(path)],
                            stdout=subprocess.PIPE, text=True, preexec_fn=end_with_parent)
    assert awsd.stdout.readline() == "listening\n", "awsd.py does not start"
    ec2 = boto3.client("ec2", endpoint_url=ENDPOINT, **KEYS)
    iam = boto3.client("iam", endpoint_url=services, **KEYS)
    try:
        _, told, waited, log = trial(environment, directory, "none", "")
        assert waited, f"the trial does not come to wait for its instances\n{told}"
        assert left(ec2, iam) == [], f"left without a fault: {left(ec2, iam)}"
        actions = [line.split(" aws ")[1] for line in log.splitlines() if " aws " in line]
        launches = [n for n, action in enumerate(actions, 1) if "ec2 run-instances" in action]
        assert len(launches) == 5, f"{len(launches)} instances were launched instead of 5"
        faults = chosen(actions, launches[-1])
        assert faults, "no call was chosen"
        for number, fault in enumerate(faults):
            code, told, _, log = trial(environment, directory, f"{PHASE}-{number}", fault)
            rest = left(ec2, iam)
            assert rest == [], f"after fault {fault} there is {rest}\n{told}"
            assert code != 0, f"fault {fault} ended with 0\n{told}"
            proven = "is left: no" in told or "ec2 create-vpc" not in log
            assert proven, f"fault {fault}: no proof of it\n{told}"
        print(f"{len(faults)} trials with faults, of {len(actions)} calls without one")
    finally:
        for process in (awsd, moto):
            process.terminate()
            process.wait()


main()
