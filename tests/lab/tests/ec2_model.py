"""Checks answers of EC2 and Route 53 against botocore's own models of them."""

import sys
import xml.etree.ElementTree as ElementTree

try:
    import boto3
    import botocore.config
    import botocore.exceptions
    import botocore.session
except ImportError as error:
    sys.exit(f"boto3 is needed and missing ({error}): set NATHA_PYTHON to a Python that has it")

REGION = "eu-central-1"
KEY, SECRET = "AKIALABOPERATOR00001", "lab/operator/secret/key/of/40/characters"
NAMESPACES = {
    "ec2": "{http://ec2.amazonaws.com/doc/2016-11-15/}",
    "route53": "{https://route53.amazonaws.com/doc/2013-04-01/}",
}
CONTENT = "text/xml;charset=UTF-8"
# Values that its lists lack. The model's own text names the first one: "For an internet gateway,
# the state is available when attached to a VPC". The second was recorded: evidence/answers.json.
UNLISTED = {("AttachmentStatus", "available"), ("NetworkInterfaceType", "nat_gateway")}


def client(endpoint, key=KEY, secret=SECRET, token=None, region=REGION, retries=0, timeout=20,
           service="ec2"):
    session = boto3.session.Session(
        aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token
    )
    config = botocore.config.Config(
        retries={"total_max_attempts": retries + 1, "mode": "standard"},
        read_timeout=timeout,
        connect_timeout=timeout,
    )
    return session.client(service, endpoint_url=endpoint, region_name=region, config=config)


def outcome(call, *args, **kwargs):
    """The error code of a call, or 'ok'."""
    try:
        call(*args, **kwargs)
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
    return "ok"


def fault(call, *args, **kwargs):
    """Code, HTTP status and text of a call that must fail."""
    try:
        answer = call(*args, **kwargs)
    except botocore.exceptions.ClientError as error:
        details = error.response
        status = details["ResponseMetadata"]["HTTPStatusCode"]
        return details["Error"]["Code"], status, details["Error"]["Message"]
    raise AssertionError(f"succeeded but should not have: {answer}")


def watch(service):
    """Makes a client check the raw XML of every successful answer."""
    name = service.meta.service_model.service_name
    space = NAMESPACES[name]

    def check(http_response, parsed, model, **_):
        if http_response.status_code >= 300:
            return
        root = ElementTree.fromstring(http_response.content)
        expected = f"{space}{model.name}Response"
        assert root.tag == expected, f"{root.tag} instead of {expected}"
        content = http_response.headers["Content-Type"]
        assert content == CONTENT, content
        assert all(element.tag.startswith(space) for element in root.iter()), model.name
        children = list(root)
        if name == "ec2":
            assert bare(children[0]) == "requestId" and children[0].text, model.name
            children = children[1:]
        if model.output_shape is None:
            rest = [bare(child) for child in children]
            assert rest in ([], ["return"]), f"{model.name}: unexpected {rest}"
            return
        check_structure(children, model.output_shape, model.name)

    service.meta.events.register(f"after-call.{name}", check)
    return service


def bare(element):
    return element.tag.split("}")[1]


def check_structure(elements, shape, where):
    members = {
        member.serialization.get("name", name): member for name, member in shape.members.items()
    }
    seen = set()
    required = {
        shape.members[name].serialization.get("name", name) for name in shape.required_members
    }
    for element in elements:
        name = bare(element)
        path = f"{where}.{name}"
        if name == "return" and name not in members and where.count(".") == 0:
            continue
        assert name in members, f"{path} is no member of {shape.name}: {sorted(members)}"
        assert name not in seen, f"{path} comes twice"
        seen.add(name)
        check_value(element, members[name], path)
    assert required <= seen, f"{where}: {sorted(required - seen)} missing"


def check_value(element, shape, path):
    text = element.text or ""
    if shape.type_name == "structure":
        assert not text.strip(), f"{path} has text beside its elements"
        check_structure(list(element), shape, path)
    elif shape.type_name == "list":
        item = shape.member.serialization.get("name", "item")
        for child in element:
            assert bare(child) == item, f"{path} holds {child.tag} instead of {item}"
            check_value(child, shape.member, f"{path}[]")
    else:
        assert len(element) == 0, f"{path} should be a plain value"
        if shape.type_name in ("integer", "long"):
            int(text)
        elif shape.type_name == "boolean":
            assert text in ("true", "false"), f"{path} = {text}"
        elif shape.type_name == "timestamp":
            assert text.endswith("Z") and "T" in text, f"{path} = {text}"
        elif shape.type_name == "string" and getattr(shape, "enum", None):
            listed = text in shape.enum or (shape.name, text) in UNLISTED
            assert listed, f"{path} = {text}, not one of {shape.enum}"
