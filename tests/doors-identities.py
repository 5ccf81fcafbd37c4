"""Who may use a door: python3 tests/doors-identities.py FOLDER_OF_BINARIES

A gateway with TLS at its doors, whose identities are proven by certificates and tokens, is used by curl, openssl, mosquitto_pub,
nats-py and the package websockets, as they are: with the right certificate, with none, with one of another authority, an expired
one, one that nobody listed, one without the right to publish, with a token, a wrong token. An event that got through is known by the
tag that the gateway puts on what an identity publishes. A router's certificate and one with a common name alone are no client's. A
door's list is changed and read anew at SIGHUP: who is not listed any more is refused. Exit code 1 when somebody gets through who should not, or the other way round; a client that is not installed is
said and left out.
"""

import asyncio
import datetime
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
TOKEN = "correct-horse-battery-staple"
# Who shows what, and whether an event of theirs gets through.
CERTIFICATES = {
    "right": True, "device": True, "none": False, "wrong-authority": False, "expired": False, "unlisted": False, "reader": False,
    "router": False, "common-alone": False,
}


# Refusals in the first round. TLS does not know yet who asks for a WebSocket, so certificates that it refuses count for `http`.
REFUSED = {
    ("http", "unauthenticated"): 9, ("http", "forbidden"): 1, ("web", "unauthenticated"): 5, ("web", "forbidden"): 1,
    ("syslog", "unauthenticated"): 7, ("nats", "unauthenticated"): 7, ("nats", "forbidden"): 1,
    ("mqtt", "unauthenticated"): 7, ("mqtt", "forbidden"): 1,
}


def is_as(refused, expected):
    """Whether each was refused once, and for its reason: but a client to which a busy host gives no time for 5 s counts as slow, before the
    door knows more of it."""
    def of_ports(counts):
        ports = {}
        for (door, _), count in counts.items():
            port = "http" if door == "web" else door
            ports[port] = ports.get(port, 0) + count
        return ports

    others = {key: count for key, count in refused.items() if key[1] != "slow"}
    return of_ports(refused) == of_ports(expected) and all(count <= expected.get(key, 0) for key, count in others.items())


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    def __init__(self, folder, file):
        self.folder, self.key, self.subject = folder, ec.generate_private_key(ec.SECP256R1()), name(f"authority {file}")
        certificate = self.sign(self.subject, self.key, x509.BasicConstraints(True, None), 30)
        write(f"{folder}/{file}.pem", certificate)

    def sign(self, subject, key, constraints, days, usage=None, addresses=()):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - 20 * DAY).not_valid_after(now + days * DAY)
            .add_extension(constraints, True)
        )
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
        if addresses:
            builder = builder.add_extension(x509.SubjectAlternativeName(addresses), False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def make(self, file, common, days=10, usage=ExtendedKeyUsageOID.CLIENT_AUTH, addresses=(), uri=None):
        if uri:
            addresses = [*addresses, x509.UniformResourceIdentifier(uri)]
        key = ec.generate_private_key(ec.SECP256R1())
        write(f"{self.folder}/{file}.pem", self.sign(name(common), key, x509.BasicConstraints(False, None), days, usage, addresses))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        write(f"{self.folder}/{file}.key", key.private_bytes(*form))


def write(path, content):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def make_files(folder):
    import ipaddress

    right, wrong = Authority(folder, "ca"), Authority(folder, "other-ca")
    right.make("door", "door", usage=ExtendedKeyUsageOID.SERVER_AUTH, addresses=[x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    right.make("right", "whoever", uri="millrace://client/sensor")
    right.make("reader", "reader", uri="millrace://client/reader")
    right.make("unlisted", "stranger", uri="millrace://client/stranger")
    right.make("expired", "sensor", days=-1, uri="millrace://client/sensor")
    right.make("router", "sensor", uri="millrace://router/sensor")
    right.make("common-alone", "sensor")
    right.make("device", "device-7")
    wrong.make("wrong-authority", "sensor", uri="millrace://client/sensor")
    write(f"{folder}/token", f"{TOKEN}\n".encode())


def settings(folder, lists_sensor):
    text = ""
    for door in ("http", "nats", "mqtt", "syslog"):
        listen = 'tls = "127.0.0.1:0"' if door == "syslog" else 'listen = "127.0.0.1:0"'
        text += f'[{door}]\n{listen}\ncert = "{folder}/door.pem"\nkey = "{folder}/door.key"\nclient_ca = "{folder}/ca.pem"\n'
        if lists_sensor:
            text += f'[[{door}.identity]]\nname = "sensor"\ncertificate = "sensor"\nrights = ["publish"]\ntags = {{ by = "sensor" }}\n'
        text += f'[[{door}.identity]]\nname = "device"\ncommon_name = "device-7"\nrights = ["publish"]\ntags = {{ by = "device" }}\n'
        text += f'[[{door}.identity]]\nname = "reader"\ncertificate = "reader"\nrights = ["subscribe"]\n'
        if door != "syslog":
            text += f'[[{door}.identity]]\nname = "script"\ntoken_file = "{folder}/token"\nrights = ["publish"]\ntags = {{ by = "script" }}\n'
    write(f"{folder}/gateway.toml", text.encode())
    return f"{folder}/gateway.toml"


class World:
    def __init__(self, bin, folder):
        self.bin, self.folder, self.processes, self.wrong, self.right, self.left = bin, folder, [], 0, 0, []
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("MILLRACE_")} | {"XDG_RUNTIME_DIR": folder}
        ready = self.start("millrace-router", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--ready-json")
        self.router = json.loads(ready)["addr"]
        self.heard = open(f"{folder}/heard", "w+")
        log = open(f"{folder}/sub.log", "w")
        command = [f"{bin}/millrace", "--json", "sub", "--router", self.router, "by", "trial"]
        self.processes.append(subprocess.Popen(command, env=self.environment, stdout=self.heard, stderr=log))
        self.until(lambda: "cluster" in open(f"{folder}/sub.log").read(), "the receiver is not subscribed")

    def start(self, program, *arguments):
        log = open(f"{self.folder}/{program}.log", "a")
        process = subprocess.Popen([f"{self.bin}/{program}", *arguments], env=self.environment, stdout=subprocess.PIPE, stderr=log)
        self.processes.append(process)
        return process.stdout.readline()

    def gateway(self, lists_sensor):
        file = settings(self.folder, lists_sensor)
        arguments = ["--config", file, "--router", self.router, "--admin", "127.0.0.1:0", "--ready-json"]
        self.at = json.loads(self.start("millrace-gateway", *arguments))
        self.running = self.processes[-1]
        ready = ["curl", "-sfo", "/dev/null", f"http://{self.at['admin']}/readyz"]
        self.until(lambda: subprocess.run(ready).returncode == 0, "the gateway has no router")

    def refused(self):
        """What was refused, by door and reason."""
        page = subprocess.run(["curl", "-s", f"http://{self.at['admin']}/metrics"], capture_output=True, text=True).stdout
        counted = re.findall(r'millrace_gateway_refused_total\{door="(\w+)",reason="(\w+)"\} (\d+)', page)
        return {(door, reason): int(count) for door, reason, count in counted if count != "0"}

    def becomes(self, expected, seconds=60):
        """Whether what was refused is, in the end, what is expected."""
        end = time.monotonic() + seconds
        while not is_as(self.refused(), expected) and time.monotonic() < end:
            time.sleep(0.05)
        return is_as(self.refused(), expected)

    def until(self, holds, why, seconds=60):
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise SystemExit(f"WRONG    {why}")
            time.sleep(0.05)

    def has_come(self, payload):
        """Whether an event has come by now."""
        return any(json.loads(line).get("payload") == payload for line in open(f"{self.folder}/heard") if line.strip().endswith("}"))

    def comes(self, payload, seconds):
        end = time.monotonic() + seconds
        while not self.has_come(payload):
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def judge(self, what, expected, seen, words=""):
        if seen == expected:
            self.right += 1
        else:
            self.wrong += 1
        mark = "right   " if seen == expected else "WRONG   "
        print(f"{mark} {what}: {'yes' if seen else 'no'}{words and f' ({words})'}", flush=True)


def files(folder, who):
    return (f"{folder}/{who}.pem", f"{folder}/{who}.key")


def run(*command, stdin=""):
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120)
    return done.returncode, (done.stdout + done.stderr).strip().splitlines()[-1:] or [""]


def curl(world, who, payload, token=None):
    cert = [] if who == "none" else ["--cert", files(world.folder, who)[0], "--key", files(world.folder, who)[1]]
    auth = ["-H", f"authorization: Bearer {token}"] if token else []
    url = f"https://{world.at['http']}/events?tag=trial=1"
    return run("curl", "-sS", "-w", "\n%{http_code}", "--cacert", f"{world.folder}/ca.pem", *cert, *auth, "-d", payload, url)[1][0]


def openssl(world, who, payload, token=None):
    cert = [] if who == "none" else ["-cert", files(world.folder, who)[0], "-key", files(world.folder, who)[1]]
    message = f"<14>1 2026-11-29T00:00:00Z web-1 trial - - - {payload}\n"
    command = ["openssl", "s_client", "-quiet", "-no_ign_eof", "-connect", world.at["syslog_tls"], "-CAfile", f"{world.folder}/ca.pem", *cert]
    return run(*command, stdin=message)[1][0]


def mosquitto(world, who, payload, token=None):
    cert = [] if who == "none" else ["--cert", files(world.folder, who)[0], "--key", files(world.folder, who)[1]]
    auth = ["-u", "script", "-P", token] if token else []
    host, port = world.at["mqtt"].rsplit(":", 1)
    command = ["mosquitto_pub", "-h", host, "-p", port, "-V", "mqttv5", "-q", "1", "--cafile", f"{world.folder}/ca.pem", *cert, *auth]
    return run(*command, "-t", "trial", "-m", payload)[1][0]


def context(world, who):
    made = ssl.create_default_context(cafile=f"{world.folder}/ca.pem")
    if who != "none":
        made.load_cert_chain(*files(world.folder, who))
    return made


def nats_py(world, who, payload, token=None):
    import nats

    async def publish():
        said = []

        async def on_error(error):
            said.append(str(error))

        options = {"token": token} if token else {}
        client = await nats.connect(
            f"tls://{world.at['nats']}", tls=context(world, who), allow_reconnect=False, connect_timeout=60, error_cb=on_error, **options
        )
        await client.publish("trial", payload.encode())
        await client.flush(60)
        await client.close()
        return said[0] if said else "flushed"

    try:
        return asyncio.run(publish())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def websockets(world, who, payload, token=None):
    from websockets.sync.client import connect

    query = f"?access_token={token}" if token else ""
    try:
        uri = f"wss://{world.at['http']}/events{query}"
        with connect(uri, ssl=context(world, who), subprotocols=["millrace.v1"], open_timeout=60) as socket:
            socket.send(json.dumps({"op": "publish", "ref": "1", "tags": {"trial": "1"}, "payload": payload}))
            return socket.recv(timeout=60).strip()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


CLIENTS = {"curl": curl, "openssl s_client, syslog": openssl, "mosquitto_pub": mosquitto, "nats-py": nats_py, "websockets": websockets}


def is_there(client):
    if client in ("nats-py", "websockets"):
        try:
            __import__("nats" if client == "nats-py" else client)
            return True
        except ImportError:
            return False
    return shutil.which(client.split()[0].rstrip(",")) is not None


def trials(world, round, certificates, tokens):
    for client, publish in CLIENTS.items():
        if not is_there(client):
            print(f"left out {client}: not installed")
            continue
        shown = [(who, None, expected) for who, expected in certificates.items()]
        if client != "openssl s_client, syslog":
            shown += [("none", token, expected) for token, expected in tokens]
        for who, token, expected in shown:
            what = f"{client}, {round}, " + (f"token {'right' if token == TOKEN else 'wrong'}" if token else f"certificate {who}")
            words = publish(world, who, what, token)
            # Refused ones get the time that somebody who is admitted needs many times over.
            seen = world.comes(what, 60 if expected else 0.5)
            world.judge(what, expected, seen, words[:110])


def silent(world):
    """Strangers who say nothing, or nothing behind TLS, are sent away after 5 s each, and counted as slow."""
    before, context, strangers = world.refused(), ssl.create_default_context(cafile=f"{world.folder}/ca.pem"), []
    doors = {"http": "http", "nats": "nats", "mqtt": "mqtt", "syslog": "syslog_tls"}
    for door in doors.values():
        host, port = world.at[door].rsplit(":", 1)
        for secure in (False, True) if door in ("http", "mqtt") else (False,):
            stranger = socket.create_connection((host, int(port)), 60)
            try:
                strangers.append(context.wrap_socket(stranger, server_hostname=host) if secure else stranger)
            except OSError:
                # A busy host gave the handshake no time for 5 s: that is counted as slow, too.
                stranger.close()
    for stranger in strangers:
        stranger.settimeout(60)
        try:
            while stranger.recv(4096):
                pass
        except OSError:
            pass
    expected = {("http", "slow"): 2, ("mqtt", "slow"): 2, ("nats", "slow"): 1, ("syslog", "slow"): 1}
    new = lambda: {key: count - before.get(key, 0) for key, count in world.refused().items() if count != before.get(key, 0)}
    end = time.monotonic() + 60
    while new() != expected and time.monotonic() < end:
        time.sleep(0.05)
    world.judge("strangers who say nothing, before and behind TLS, are sent away and counted as slow", True, new() == expected, str(new()))


def main():
    with tempfile.TemporaryDirectory() as folder:
        make_files(folder)
        world = World(os.path.realpath(sys.argv[1]), folder)
        try:
            world.gateway(lists_sensor=True)
            trials(world, "listed", CERTIFICATES, [(TOKEN, True), ("wrong-horse-battery-staple", False)])
            if all(is_there(client) for client in CLIENTS):
                # A gateway counts a handshake that a client gave up when it hears of that itself.
                world.judge("each refusal is counted once, by its reason", True, world.becomes(REFUSED), str(world.refused()))
            silent(world)
            by = [json.loads(line) for line in open(f"{folder}/heard")]
            stamped = all((event.get("tags") or {}).get("by") in ("sensor", "script", "device") for event in by if "payload" in event)
            world.judge("every event has the tag of its identity", True, stamped)
            settings(folder, lists_sensor=False)
            world.running.send_signal(signal.SIGHUP)
            said = lambda: 'syslog.identity "sensor" is gone' in open(f"{folder}/millrace-gateway.log").read()
            world.until(said, "the gateway does not say what it has read anew")
            trials(world, "no longer listed", {"right": False}, [(TOKEN, True)])
        finally:
            for process in world.processes:
                process.kill()
                process.wait()
    print(f"{world.right} right, {world.wrong} wrong")
    return 1 if world.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
