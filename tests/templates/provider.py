"""A stand-in for the AWS provider, for Terraform itself to talk to: it has the provider's schema
and no AWS. Terraform checks names and types against the schema, evaluates, plans and keeps a state.

What only AWS knows is unknown in a plan, and made up when it is applied: `aws_eip.3.public_ip` is
an attribute of the third object that was made. What data sources find is up to the test. The
provider's own checks, such as arguments that exclude each other, are not in its schema.
"""

import json
import os
import tempfile
from concurrent import futures

import grpc
import msgpack
from tf.gen import tfplugin_pb2 as messages
from tf.gen import tfplugin_pb2_grpc as rpc

from terraform import SCHEMA

NAME = "registry.terraform.io/hashicorp/aws"
UNKNOWN = msgpack.ExtType(0, b"\0")
# Changes of these replace the object. The schema does not have it; this is from the provider's
# documentation, for what the tests change.
REPLACES = {
    "aws_ec2_tag": {"resource_id", "key"},
    "aws_eip_association": {"allocation_id", "instance_id", "network_interface_id"},
    "aws_iam_role": {"name", "name_prefix", "path"},
}
NESTING = {"single": 1, "list": 2, "set": 3}


def read(value):
    return msgpack.unpackb(value.msgpack, raw=False, strict_map_key=False)


def write(value):
    return messages.DynamicValue(msgpack=msgpack.packb(value, use_bin_type=True))


def block_message(known):
    """A block of the schema, as the protocol has it."""
    block = messages.Schema.Block()
    for name, (kind, flags) in sorted(known["attributes"].items()):
        given = {word: True for word in flags.split()}
        block.attributes.add(name=name, type=json.dumps(kind).encode(), **given)
    for name, inner in sorted(known["blocks"].items()):
        limits = {"min_items": inner["min"], "max_items": inner["max"]}
        block.block_types.add(
            type_name=name,
            block=block_message(inner),
            nesting=NESTING[inner["nesting"]],
            **(limits if inner["nesting"] != "single" else {}),
        )
    return block


def filled(value, known, make):
    """The object with what it lacks: make is called with each computed attribute that is null."""
    if value is None or isinstance(value, msgpack.ExtType):
        return value
    value = dict(value)
    for name, (kind, flags) in known["attributes"].items():
        if "computed" in flags and value.get(name) is None:
            value[name] = make(name, kind)
    for name, inner in known["blocks"].items():
        found = value.get(name)
        if isinstance(found, list):
            value[name] = [filled(it, inner, make) for it in found]
        else:
            value[name] = filled(found, inner, make)
    return value


def settled(value, kind, make):
    """The value without anything unknown in it, where kind is its type or its block."""
    if isinstance(value, msgpack.ExtType):
        return make(kind)
    if isinstance(kind, dict) and isinstance(value, dict):
        of = {name: it for name, (it, _) in kind["attributes"].items()}
        of |= kind["blocks"]
        return {
            name: settled(it, of[name], lambda inner, name=name: make(inner, name))
            for name, it in value.items()
        }
    if isinstance(value, list):
        inner = kind[1] if isinstance(kind, list) else kind
        return [settled(it, inner, make) for it in value]
    if isinstance(value, dict) and isinstance(kind, list) and kind[0] == "map":
        return {name: settled(it, kind[1], make) for name, it in value.items()}
    return value


def policy_document(config):
    """What aws_iam_policy_document makes of its statements."""

    def one_or_list(values):
        return values[0] if len(values) == 1 else sorted(values, reverse=True)

    statements = []
    for given in config["statement"] or []:
        made = {"Effect": given["effect"] or "Allow"}
        if given["sid"]:
            made["Sid"] = given["sid"]
        for name, key in (("actions", "Action"), ("resources", "Resource")):
            if given[name]:
                made[key] = one_or_list(given[name])
        if given["principals"]:
            made["Principal"] = {
                it["type"]: one_or_list(it["identifiers"]) for it in given["principals"]
            }
        for it in given["condition"] or []:
            values = it["values"]
            test = made.setdefault("Condition", {}).setdefault(it["test"], {})
            test[it["variable"]] = values[0] if len(values) == 1 else values
        statements.append(made)
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


class Provider(rpc.ProviderServicer):
    """Serves Terraform by a socket, in this process. data has what data sources find, by their
    type: attributes, or a function from the arguments to attributes."""

    def __init__(self):
        self.schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
        self.data, self.made = {}, 0
        self.directory = tempfile.TemporaryDirectory()
        socket = os.path.join(self.directory.name, "provider.sock")
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        rpc.add_ProviderServicer_to_server(self, self.server)
        self.server.add_insecure_port(f"unix://{socket}")
        self.server.start()
        address = {"Network": "unix", "String": socket}
        of_plugin = {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True}
        self.reattach = json.dumps({NAME: {**of_plugin, "Addr": address}})

    def close(self):
        self.server.stop(grace=None).wait()
        self.directory.cleanup()

    def GetProviderSchema(self, request, context):
        def of(blocks):
            return {
                kind: messages.Schema(version=0, block=block_message(it))
                for kind, it in blocks.items()
            }

        string = ["string", "optional"]
        own = {"attributes": {"region": string}, "blocks": {}}
        tags = {"attributes": {"tags": [["map", "string"], "optional"]}, "blocks": {}}
        own["blocks"]["default_tags"] = {"nesting": "list", "min": 0, "max": 1, **tags}
        return messages.GetProviderSchema.Response(
            provider=messages.Schema(block=block_message(own)),
            resource_schemas=of(self.schema["resource"]),
            data_source_schemas=of(self.schema["data"]),
        )

    def ValidateProviderConfig(self, request, context):
        return messages.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, request, context):
        return messages.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, request, context):
        return messages.ValidateDataResourceConfig.Response()

    def ConfigureProvider(self, request, context):
        return messages.ConfigureProvider.Response()

    def StopProvider(self, request, context):
        return messages.StopProvider.Response()

    def UpgradeResourceState(self, request, context):
        state = json.loads(request.raw_state.json)
        return messages.UpgradeResourceState.Response(upgraded_state=write(state))

    def GetResourceIdentitySchemas(self, request, context):
        return messages.GetResourceIdentitySchemas.Response()

    def ReadResource(self, request, context):
        return messages.ReadResource.Response(new_state=request.current_state)

    def PlanResourceChange(self, request, context):
        known = self.schema["resource"][request.type_name]
        prior, wanted = read(request.prior_state), read(request.proposed_new_state)
        answer = messages.PlanResourceChange.Response()
        planned = wanted
        if wanted is not None:
            planned = filled(wanted, known, lambda name, kind: UNKNOWN)
            for name in REPLACES.get(request.type_name, ()):
                if prior is not None and planned[name] != prior[name]:
                    step = messages.AttributePath.Step(attribute_name=name)
                    answer.requires_replace.append(messages.AttributePath(steps=[step]))
        answer.planned_state.CopyFrom(write(planned))
        return answer

    def ApplyResourceChange(self, request, context):
        known = self.schema["resource"][request.type_name]
        planned = read(request.planned_state)
        if planned is not None:
            self.made += 1
            planned = settled(planned, known, self.invented(f"{request.type_name}.{self.made}"))
        return messages.ApplyResourceChange.Response(new_state=write(planned))

    def ReadDataSource(self, request, context):
        known = self.schema["data"][request.type_name]
        config = read(request.config)
        found = self.data.get(request.type_name, {})
        found = dict(found(config) if callable(found) else found)
        if request.type_name == "aws_iam_policy_document":
            found["json"] = policy_document(config)
        invent = self.invented(f"data.{request.type_name}")
        state = {**config, **found}
        state = filled(state, known, lambda name, kind: invent(kind, name))
        return messages.ReadDataSource.Response(state=write(state))

    @staticmethod
    def invented(of):
        def make(kind, name="value"):
            if isinstance(kind, list):
                return {} if kind[0] in ("map", "object") else []
            if isinstance(kind, dict):
                return None if kind.get("nesting") == "single" else []
            if name == "arn":
                # In the form that the module's inputs ask for.
                service, unique = of.split("_")[1], of.replace(".", "-")
                return f"arn:aws:{service}:eu-west-1:123456789012:{unique}"
            return {"number": 0, "bool": False, "string": f"{of}.{name}"}[kind]

        return make
