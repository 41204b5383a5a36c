"""Checks EC2 answers against botocore's own model of EC2."""

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
NAMESPACE = "{http://ec2.amazonaws.com/doc/2016-11-15/}"


def client(endpoint, key=KEY, secret=SECRET, token=None, region=REGION, retries=0, timeout=20):
    session = boto3.session.Session(
        aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token
    )
    config = botocore.config.Config(
        retries={"total_max_attempts": retries + 1, "mode": "standard"},
        read_timeout=timeout,
        connect_timeout=timeout,
    )
    return session.client("ec2", endpoint_url=endpoint, region_name=region, config=config)


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


def watch(ec2):
    """Makes a client check the raw XML of every successful answer."""

    def check(http_response, parsed, model, **_):
        if http_response.status_code >= 300:
            return
        root = ElementTree.fromstring(http_response.content)
        expected = f"{NAMESPACE}{model.name}Response"
        assert root.tag == expected, f"{root.tag} instead of {expected}"
        content = http_response.headers["Content-Type"]
        assert content == "text/xml;charset=UTF-8", content
        children = list(root)
        assert bare(children[0]) == "requestId" and children[0].text, model.name
        if model.output_shape is None:
            rest = [bare(child) for child in children[1:]]
            assert rest in ([], ["return"]), f"{model.name}: unexpected {rest}"
            return
        check_structure(children[1:], model.output_shape, model.name)

    ec2.meta.events.register("after-call.ec2", check)
    return ec2


def bare(element):
    assert element.tag.startswith(NAMESPACE), f"{element.tag} is outside the namespace"
    return element.tag[len(NAMESPACE):]


def check_structure(elements, shape, where):
    members = {
        member.serialization.get("name", name): member for name, member in shape.members.items()
    }
    seen = set()
    for element in elements:
        name = bare(element)
        path = f"{where}.{name}"
        if name == "return" and name not in members and where.count(".") == 0:
            continue
        assert name in members, f"{path} is no member of {shape.name}: {sorted(members)}"
        assert name not in seen, f"{path} comes twice"
        seen.add(name)
        check_value(element, members[name], path)


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
            assert text in shape.enum, f"{path} = {text}, not one of {shape.enum}"
