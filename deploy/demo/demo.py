"""Runs countersign, Envoy and an application that shows the headers it receives. `run` builds and fetches first."""

import argparse
import datetime
import http.client
import http.server
import ipaddress
import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 30  # seconds for each program to become ready
# token, user name, uid, groups: the format of kube-apiserver's --token-auth-file
TOKENS = """\
alice-token,alice,1001,"dev,ops"
bob-token,bob,1002,dev
"""
UNAUTHORIZED = (
    '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",'
    '"message":"Unauthorized","reason":"Unauthorized","code":401}'
)

stop = threading.Event()


class Failure(Exception):
    """What to tell the user."""


class Stopped(Exception):
    """The user has had enough."""


class Child:
    """A program with its output in a file."""

    def __init__(self, name, command, directory):
        self.name = name
        self.log = directory / f"{name}.log"
        with self.log.open("wb") as log:
            # In a session of its own, so that Ctrl-C reaches this script alone and it can stop them in order.
            self.process = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def tail(self):
        lines = self.log.read_text(errors="replace").splitlines()[-20:]
        return "the end of its log:\n  " + "\n  ".join(lines or ["(empty)"])

    def check(self):
        code = self.process.poll()
        if code is not None:
            raise Failure(f"{self.name} ended with code {code}; {self.tail()}")

    def until(self, what, probe):
        deadline = time.monotonic() + PATIENCE
        while (answer := probe()) is None:
            self.check()
            if time.monotonic() > deadline:
                raise Failure(f"{self.name}: {what} not within {PATIENCE} s; {self.tail()}")
            pause(0.05)
        return answer

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def pause(seconds):
    if stop.wait(seconds):
        raise Stopped


def main():
    arguments = parse()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    home = ROOT / "target" / "demo"
    home.mkdir(parents=True, exist_ok=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=home))
    children = []
    try:
        port = start(arguments, directory, children)
        if arguments.check:
            return check(port, directory)
        instructions(port, directory)
        while True:
            pause(0.3)
            for child in children:
                child.check()
    except Failure as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    except Stopped:
        print("\ndemo: stopping", file=sys.stderr)
        return 0
    finally:
        for child in reversed(children):
            child.end()
        shutil.rmtree(directory, ignore_errors=True)


def parse():
    parser = argparse.ArgumentParser(prog="deploy/demo/run", description="countersign behind Envoy, on this machine")
    default = os.environ.get("COUNTERSIGN_DEMO_PORT", "10000")
    parser.add_argument(
        "--port", type=int, default=default, help="Envoy's port (default: $COUNTERSIGN_DEMO_PORT or 10000)"
    )
    parser.add_argument("--check", action="store_true", help="make the three requests, on a free port, and exit")
    parser.add_argument("--envoy", help=argparse.SUPPRESS)
    parser.add_argument("--countersign", help=argparse.SUPPRESS)
    return parser.parse_args()


def start(arguments, directory, children):
    """Starts everything and returns Envoy's port."""
    port = 0 if arguments.check else arguments.port
    free(port)
    application = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=application.serve_forever, daemon=True).start()

    (directory / "tokens.csv").write_text(TOKENS)
    flags = ["--token-auth-file=tokens.csv", "--anonymous-auth=true", "--listen=127.0.0.1:0", "--admin-listen="]
    flags += ["--log-format=json", "--shutdown-delay-duration=0s"]
    countersign = Child("countersign", [arguments.countersign, "serve", *flags], directory)
    children.append(countersign)
    address = countersign.until("a listening port", lambda: serving(countersign.log))

    certificate(directory / "certs")
    shutil.copytree(ROOT / "deploy" / "envoy" / "sds", directory / "sds", dirs_exist_ok=True)
    configure(
        directory / "envoy.yaml",
        {
            "port_value: 9901": "port_value: 0",
            "port_value: 10000": f"port_value: {port}",
            "port_value: 8080": f"port_value: {application.server_port}",
            "port_value: 9001": f"port_value: {address.rpartition(':')[2]}",
        },
    )
    flags = ["--config-path", "envoy.yaml", "--disable-hot-restart", "--admin-address-path", "admin"]
    envoy = Child("envoy", [arguments.envoy, *flags], directory)
    children.append(envoy)
    listeners = envoy.until("readiness", lambda: ready(directory / "admin"))
    return listeners["listener_statuses"][0]["local_address"]["socket_address"]["port_value"]


def free(port):
    """Envoy would share a busy port with another Envoy rather than complain."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise Failure(f"cannot listen on 127.0.0.1:{port} ({error}); choose another port with --port") from error


class Application(http.server.BaseHTTPRequestHandler):
    """Answers with the request as it came."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if "transfer-encoding" in self.headers:  # the body is not read: this connection cannot be used again
            self.close_connection = True
        lines = [self.requestline, *(f"{name}: {value}" for name, value in self.headers.items())]
        body = ("\n".join(lines) + "\n").encode("latin-1")  # how http.server decoded it
        self.send_response(200)
        self.send_header("content-type", "text/plain; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET

    def log_message(self, *_):
        pass


def serving(log):
    """The address in countersign's log line `serving`, once that is there."""
    for line in log.read_text(errors="replace").splitlines():
        try:
            fields = json.loads(line)["fields"]
        except (ValueError, KeyError, TypeError):
            continue
        if fields.get("message") == "serving":
            return fields["address"]
    return None


def ready(file):
    """Envoy's listeners, once it is ready."""
    try:
        admin = f"http://{file.read_text()}"
        with urllib.request.urlopen(f"{admin}/ready", timeout=5):
            pass
        with urllib.request.urlopen(f"{admin}/listeners?format=json", timeout=5) as page:
            return json.load(page)
    except (OSError, ValueError, http.client.HTTPException):
        return None


def certificate(directory):
    """A self-signed certificate for localhost, good for a day."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    directory.mkdir()
    (directory / "server.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / "server.key").touch(mode=0o600)
    (directory / "server.key").write_bytes(pem)


def configure(file, replacements):
    """Writes deploy/envoy/envoy.yaml with other values for some of those marked `# yours:`."""
    text = (ROOT / "deploy" / "envoy" / "envoy.yaml").read_text()
    for old, new in replacements.items():
        if text.count(old) != 1:
            raise Failure(f"deploy/envoy/envoy.yaml has {old!r} {text.count(old)} times, not once")
        text = text.replace(old, new)
    file.write_text(text)


def instructions(port, directory):
    trust = shlex.quote(os.path.relpath(directory / "certs" / "server.crt"))
    curl = f"curl -i --cacert {trust} https://localhost:{port}/hello"
    print(f"""
Envoy listens on https://localhost:{port}; behind it, an application that shows the headers it receives.

A good token, alice (X-Remote-User is overwritten):
  {curl} -H 'Authorization: Bearer alice-token' -H 'X-Remote-User: root'
A bad one, 401:
  {curl} -H 'Authorization: Bearer stranger'
None at all, system:anonymous:
  {curl}

Ctrl-C stops everything.""", flush=True)


def check(port, directory):
    """Makes the three requests and compares all of each answer."""
    challenge = ("www-authenticate", 'Bearer realm="countersign"')
    shown = ("content-type", "text/plain; charset=utf-8")
    attempts = [
        (
            "a good token",
            {"Authorization": "Bearer alice-token", "X-Remote-User": "root"},
            (200, [shown], view(port, "alice", "1001", "dev,ops,system:authenticated")),
        ),
        (
            "a bad token",
            {"Authorization": "Bearer stranger"},
            (401, [("content-type", "application/json"), challenge], UNAUTHORIZED),
        ),
        ("no token", {}, (200, [shown], view(port, "system:anonymous", None, "system:unauthenticated"))),
    ]
    failed = 0
    for what, headers, expected in attempts:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                got = fetch(port, directory, headers)
            except (OSError, http.client.HTTPException) as error:
                got = error
                break
            # Envoy has given up after its 2 s, on a machine that is busy with other things.
            if got[0] != 503 or time.monotonic() > deadline:
                break
            pause(0.5)
        print(f"{what}: {'ok' if got == expected else 'WRONG'}")
        if got != expected:
            failed += 1
            print(f"  expected {expected}\n  got      {got}")
    return 1 if failed else 0


def view(port, user, uid, group):
    """The lines of a request as the application should show them; `*` is what Envoy makes up or depends on the machine."""
    lines = ["GET /hello HTTP/1.1", f"host: localhost:{port}", "accept-encoding: identity"]
    lines += ["x-forwarded-for: *", "x-forwarded-proto: https", "x-envoy-external-address: *"]
    lines += ["x-request-id: *", f"x-remote-user: {user}", f"x-remote-group: {group}"]
    lines += [] if uid is None else [f"x-remote-uid: {uid}"]
    return sorted(lines)


def fetch(port, directory, headers):
    trust = ssl.create_default_context(cafile=str(directory / "certs" / "server.crt"))
    connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=trust)
    connection.request("GET", "/hello", headers=headers)
    response = connection.getresponse()
    body = response.read().decode()
    uninteresting = ("date", "server", "content-length", "x-envoy-upstream-service-time")
    kept = [(name, value) for name, value in response.getheaders() if name not in uninteresting]
    if response.status != 200:
        return response.status, kept, body
    changing = ("x-request-id", "x-forwarded-for", "x-envoy-external-address")
    lines = [f"{name}: *" if (name := line.partition(":")[0]) in changing else line for line in body.splitlines()]
    return response.status, kept, sorted(lines)


sys.exit(main())
