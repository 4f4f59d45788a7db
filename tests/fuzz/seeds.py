"""Writes a corpus for each fuzz target: what the recorded vectors hold of its kind. Usage: seeds.py FOLDER"""

import base64
import hashlib
import json
import pathlib
import re
import sys
import urllib.parse

CONFORMANCE = pathlib.Path(__file__).resolve().parent.parent / "conformance"


def vectors():
    for file in sorted(CONFORMANCE.glob("scenarios/*/cases.jsonl")):
        with file.open(encoding="utf-8") as lines:
            yield from (json.loads(line)["request"] for line in lines)


def der(pem):
    return base64.b64decode("".join(line for line in pem.splitlines() if not line.startswith("-----")))


def element(chain):
    cert, whole = (urllib.parse.quote(text, safe="-._~") for text in (chain[0], "".join(chain)))
    return f'Hash={hashlib.sha256(der(chain[0])).hexdigest()};Cert="{cert}";Chain="{whole}"'


def raw(value):
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode()


def tokens(request):
    for name, value in request["headers"]:
        if name.lower() == "authorization" and isinstance(value, str) and value.count(".") == 2:
            yield value.split(" ")[-1]


def payload(token):
    """The claims of a token that is one."""
    try:
        return base64.urlsafe_b64decode(token.split(".")[1] + "==")
    except ValueError:
        return b"{}"


def configurations():
    with (CONFORMANCE / "configs/configs.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            files = json.loads(line).get("files") or {}
            yield from (text for name, text in files.items() if name.endswith((".yaml", ".json")))


def main(folder):
    names = ("authentication_configuration", "certificate", "claims", "client_certificate", "expression", "front_proxy")
    corpora = {name: set() for name in (*names, "revocation_list", "token")}
    for request in vectors():
        for token in tokens(request):
            corpora["token"].add(token.encode())
            corpora["claims"].add(payload(token))
        chain = request.get("client_cert_chain_pem") or []
        corpora["certificate"].update(map(der, chain))
        if chain:
            leaf = urllib.parse.quote(chain[0], safe="-._~")
            corpora["client_certificate"].add(b"\x01" + element(chain).encode())
            corpora["client_certificate"].add(b"\x05" + leaf.encode() + b"\0" + element(chain).encode())
        headers = [(name, value) for name, value in request["headers"] if not isinstance(value, dict) or "b64" in value]
        if any(name.lower().startswith("x-") for name, _ in headers):
            corpora["front_proxy"].add(b"\n".join(name.encode() + b":" + raw(value) for name, value in headers))
    for configuration in configurations():
        corpora["authentication_configuration"].add(configuration.encode())
        for found in re.findall(r"(?:expression|valueExpression): *(.+)", configuration):
            corpora["expression"].add(found.strip("'\"").encode() + b'\n{"sub": "a", "groups": ["b"], "n": 1.5}')
    # An empty list of a CA, from RFC 5280's example in C.3 in outline: version, algorithm, issuer, times.
    name = bytes.fromhex("300d310b300906035504030c026361")
    body = bytes.fromhex("020101300506032b6570") + name + b"\x17\x0d230702000000Z" + b"\x17\x0d330702000000Z"
    body += bytes.fromhex("3014301202010117") + b"\x0d230701000000Z"
    body = b"\x30" + bytes([len(body)]) + body + bytes.fromhex("300506032b6570030100")
    corpora["revocation_list"].add(b"\x30" + bytes([len(body)]) + body)
    for target, inputs in corpora.items():
        path = pathlib.Path(folder) / target
        path.mkdir(parents=True, exist_ok=True)
        for data in inputs:
            (path / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


main(sys.argv[1])
