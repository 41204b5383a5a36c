"""The AWS CLI for tests that make hundreds of calls: loaded once, then one fork for each call.

Argument: the socket to listen on; a line on standard output tells when it does. The program `aws`
beside this file passes its arguments, environment and streams on. Two variables of its environment
make calls fail: AWSD_RUN names a run, whose calls are counted, and AWSD_FAIL says which of them
fail and how: `7:before` (nothing is done) or `7:after` (it is done, and the answer is lost), or in
place of the number the name of a call, whose first one fails; several with commas between."""

import collections
import gc
import json
import os
import socket
import sys

import awscli.clidriver

LONGEST = 1 << 20
FAULT = "An error occurred (InternalError) when calling the service: a fault of the test\n"


def warm():
    """A driver that has read and parsed what all calls need: half of the time of a call."""
    driver = awscli.clidriver.create_clidriver()
    session, commands = driver.session, driver._get_command_table()
    loader = session.get_component("data_loader")
    session.get_component("endpoint_resolver")
    for name in ("partitions", "_retry"):
        loader.load_data(name)
    for service in ("ec2", "iam"):
        for kind in ("service-2", "paginators-1", "waiters-2", "endpoint-rule-set-1"):
            loader.list_available_services(kind)
            loader.load_service_model(service, kind)
        commands[service]._get_command_table()
    # Without this, each child copies all of it while it collects garbage.
    gc.freeze()
    return driver


def fault_of(counts, environment, arguments):
    """`before`, `after` or nothing for the next call of this environment's run."""
    run, name = environment.get("AWSD_RUN"), arguments[1]
    if not run:
        return ""
    counts[run] += 1
    counts[run, name] += 1
    faults = dict(one.split(":") for one in environment.get("AWSD_FAIL", "").split(",") if one)
    first = faults.get(name, "") if counts[run, name] == 1 else ""
    return faults.get(str(counts[run]), first)


def carry_out(driver, request, streams, fault):
    """The call itself, in a process of its own, which ends here."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    if fault:
        lost = os.open(os.devnull, os.O_WRONLY)
        told = os.dup(2)
        os.dup2(lost, 1)
    code = 254
    if fault != "before":
        sys.argv = ["aws", *request["arguments"]]
        try:
            code = driver.main(request["arguments"])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 255
    sys.stdout.flush()
    sys.stderr.flush()
    if fault:
        os.write(told, FAULT.encode())
        code = 254
    os._exit(code or 0)


def serve(path):
    driver, counts = warm(), collections.Counter()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    print("listening", flush=True)
    while True:
        client, _ = listener.accept()
        text, streams, _, _ = socket.recv_fds(client, LONGEST, 3)
        while not text.endswith(b"\n"):
            text += client.recv(LONGEST)
        request = json.loads(text)
        fault = fault_of(counts, request["environment"], request["arguments"])
        # The first child waits for the second one, so that this one can go on at once.
        if os.fork() == 0:
            listener.close()
            child = os.fork()
            if child == 0:
                client.close()
                carry_out(driver, request, streams, fault)
            _, status = os.waitpid(child, 0)
            client.sendall(b"%d" % os.waitstatus_to_exitcode(status))
            os._exit(0)
        for stream in streams:
            os.close(stream)
        client.close()
        # Those that are done are reaped.
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            pass


serve(sys.argv[1])
