"""API keys: roles, expiry, new tokens, and what is taken back, over REST and from the terminal."""

import re
import stat

import pytest

from harness.waiting import DEADLINE, wait_until
from operating import Operator
from rest import Stream, api, call
from service import DOMAIN, KEY, ORGANIZATION, Client

KEYS = "/authorization/apikeys"
E1 = "/device/types/edge/devices/e1"


def make(service, role, **members):
    """Makes a key, and gives it with its token."""
    made = api(service, "POST", KEYS, {"role": role, **members})
    assert made.status == 201, made.body
    return made.json["key"], made.json["token"]


@pytest.mark.parametrize("method, path, body, role", [
    ("GET", "/device/types", None, "read"), ("GET", f"{E1}/diag/logs", None, "read"),
    ("GET", "/clientconnectionstates", None, "read"),
    ("PUT", f"{E1}/location", {"latitude": 1, "longitude": 2}, "operate"),
    ("POST", "/application/types/edge/devices/e1/commands/blink", {"d": {}}, "operate"),
    ("POST", "/application/types/edge/devices/e1/events/status", {"d": {}}, "operate"),
    ("POST", "/mgmt/requests", {"action": "device/reboot", "devices": [{"typeId": "edge", "deviceId": "e1"}]},
     "operate"),
    ("DELETE", f"{E1}/diag/logs", None, "operate"),
    ("POST", "/device/types", {"id": "new"}, "administer"), ("POST", f"{E1}/token", None, "administer"),
    ("DELETE", E1, None, "administer"), ("POST", "/bulk/devices/remove", [{}], "administer"),
    ("GET", KEYS, None, "administer"), ("POST", KEYS, {}, "administer")])
def test_roles(start_service, method, path, body, role):
    """Each role may what those before it may, and no more."""
    service = start_service("--rates", "unlimited")
    roles = ["read", "operate", "administer"]
    for number, own in enumerate(roles):
        answer = api(service, method, path, body, make(service, own))
        if number < roles.index(role):
            assert answer.status == 403 and f"'{role}'" in answer.message
        else:
            assert answer.status not in (401, 403), answer.body


def test_taken_back(service):
    """A new token, or none any more: connections, streams and logins end at once."""
    key, token = make(service, "read", comment="dashboard")
    login = call(service, "POST", "/api/login", {"key": key, "token": token}, None)
    cookie = {"Cookie": login.headers["Set-Cookie"].split(";")[0]}
    assert call(service, "GET", "/api/login", auth=None, headers=cookie).json["role"] == "read"
    client = Client(service, f"a:{ORGANIZATION}:dashboard", key, token)
    stream = Stream(service, "/api/live/fleet", (key, token))
    stream.next("devices")
    rotated = api(service, "POST", f"{KEYS}/{key}/token").json
    assert rotated["key"] == key and rotated["token"] != token
    client.wait_closed()
    service.wait_log("client", "disconnected", client_id=f"a:{ORGANIZATION}:dashboard", code=94)
    wait_until(lambda: not stream.thread.is_alive(), DEADLINE, "the stream to end")
    assert "key" not in call(service, "GET", "/api/login", auth=None, headers=cookie).json
    assert call(service, "GET", "/api/v0002/device/types", auth=None, headers=cookie).status == 401
    assert api(service, "GET", "/device/types", auth=(key, token)).status == 401
    assert api(service, "GET", "/device/types", auth=(key, rotated["token"])).status == 200
    assert api(service, "DELETE", f"{KEYS}/{key}").status == 204
    assert api(service, "GET", "/device/types", auth=(key, rotated["token"])).status == 401
    assert api(service, "DELETE", f"{KEYS}/{key}").status == 404
    # Someone has to be left who may make others.
    make(service, "read")
    assert api(service, "DELETE", f"{KEYS}/{KEY}").status == 409


def test_mistakes(service):
    """Each says what was expected."""
    for body in ({"role": "root"}, {"role": 1}, {"expiresInDays": 0}, {"expiresInDays": "soon"},
                 {"comment": "x" * 61}):
        answer = api(service, "POST", KEYS, body)
        assert answer.status == 400 and answer.message, body


def test_kept(durable):
    """Roles and times are kept."""
    key, token = make(durable, "read", expiresInDays=30)
    durable.kill()
    durable.start()
    found = {entry["key"]: entry for entry in api(durable, "GET", KEYS).json["results"]}
    assert found[key]["role"] == "read" and found[key]["expires"] and "token" not in found[key]
    assert found[KEY]["role"] == "administer" and "expires" not in found[KEY]
    assert api(durable, "DELETE", E1, auth=(key, token)).status == 403


def test_terminal(service, motectl, tmp_path):
    """Add, list, rotate, remove."""
    operator = Operator(motectl, service, tmp_path / "home")
    profile = tmp_path / "profile"
    said = operator.run("key", "add", "--role", "operate", "--comment", "night shift", "--expires", "7",
                        "--save-profile", profile)
    key = re.fullmatch(r"key (a-local0-\w+)\n", said)[1]
    assert stat.S_IMODE(profile.stat().st_mode) == 0o600
    own = dict(line.split(" = ") for line in profile.read_text().splitlines())
    assert own["auth-key"] == key
    asking = {"WIOTP_AUTH_KEY": key, "WIOTP_AUTH_TOKEN": own["auth-token"]}
    assert "e1" in operator.run("devices", **asking)
    operator.run("device", "remove", "edge", "e1", "--yes", status=77, **asking)
    assert "'administer' is needed" in operator.complaint
    listed = operator.run("key", "list")
    assert listed.split("\n")[0].split() == ["KEY", "ROLE", "CREATED", "EXPIRES", "COMMENT"]
    assert "operate" in next(line for line in listed.splitlines() if line.startswith(key))
    assert [entry["comment"] for entry in operator.json("key", "list") if entry["key"] == key] == ["night shift"]
    token = operator.run("key", "rotate", key).split()[-1]
    operator.run("devices", status=77, **asking)
    assert operator.run("devices", WIOTP_AUTH_KEY=key, WIOTP_AUTH_TOKEN=token)
    assert operator.run("key", "remove", key) == f"removed {key}\n"
    operator.run("key", "remove", key, status=67)


def described(service):
    """The operations that want credentials, with a path that names what is there."""
    description = call(service, "GET", "/api/openapi.json", auth=None).json
    names = {"type": "edge", "device": "e1", "event": "status", "command": "blink", "request": "r", "bundle": "b",
             "client": "d:local0:edge:e1", "key": KEY, "entry": "e"}
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            if {} in operation.get("security", description["security"]):
                continue
            yield method.upper(), re.sub(r"{(\w+)}", lambda part: names[part[1]], path), operation


@pytest.mark.parametrize("host", ["localhost", f"{ORGANIZATION}.messaging.{DOMAIN}"])
def test_description_and_answers(start_service, host):
    """Without credentials each operation answers what its description says, and with wrong ones likewise."""
    service = start_service("--rates", "unlimited")
    operations = list(described(service))
    assert len(operations) > 40
    for method, path, operation in operations:
        body = b"{}" if method in ("POST", "PUT") else None
        missing = api(service, method, path, body, None, headers={"Host": host})
        assert missing.status == 401 and "401" in operation["responses"], (method, path)
        assert missing.headers["WWW-Authenticate"].startswith("Basic ")
    # As many wrong ones as cost nothing, and then it is for others to say.
    statuses = set()
    for method, path, operation in operations:
        body = b"{}" if method in ("POST", "PUT") else None
        wrong = api(service, method, path, body, (KEY, "wrong"), headers={"Host": host})
        assert str(wrong.status) in operation["responses"], (method, path, wrong.status)
        statuses.add(wrong.status)
    assert statuses <= {401, 403, 429}
