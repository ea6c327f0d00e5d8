"""A board, the platform that it is managed by, and an operator."""

import json
import pathlib
import subprocess

from harness.configuration import ini
from harness.waiting import DEADLINE
from operating import MAKE_BUNDLE, Operator
from rest import api, call
from service import ORGANIZATION, TOKEN, Service, application

from .board import HTTP_PORT, MQTT_PORT, PATIENCE, SERVER, Board
from .files import FETCHED, ROOT

COMMON = ROOT / "Boards/common"
INITTAB = COMMON / "mote.inittab"
# Beside what the start files say: the agent's log on the console, and a shell that can be typed to.
LOG = "/bin/busybox tail -n +1 -F /run/mote.log"
INITTAB_AROUND = f"::sysinit:/etc/rc\n{{}}::respawn:{LOG}\n::respawn:/bin/sh\n"
PAM = ["account", "auth", "password", "session"]
BEFORE_OPENRC = f"""#!/bin/sh
/etc/rc >/dev/console 2>&1
{LOG} >/dev/console 2>&1 &
while :; do /bin/sh </dev/console >/dev/console 2>&1; done &
exec /sbin/openrc-init
"""
DEVICE = "/device/types/edge/devices/e1"
EVENTS = "iot-2/type/edge/id/e1/evt/status/fmt/json"
# An event has values of the kernel's own.
SENSORS = {"uptime": "uptime", "memory": "memory:total", "load": "loadavg:1",
           "received": "network:{interface}/rx-bytes"}


class Site:
    """All of it. `reset` is the body of the program that resets the board; `inittab` may have more lines than the
    agent's own."""

    def __init__(self, kind, motectl, keys, folder, *, reset="", init="busybox", inittab=None,
                 board=Board, **sections):
        self.folder, self.keys = folder, keys
        self.service = Service(motectl, folder / "platform", "--rates", "unlimited")
        self.operator = Operator(motectl, self.service, folder / "home")
        self.application = application(self.service)
        self.application.subscribe(EVENTS)
        self.board = board(kind, folder, {MQTT_PORT: self.service.ports["mqtt"], HTTP_PORT: self.service.ports["http"]})
        root = self.board.root
        self._add_init(init, INITTAB.read_text() if inittab is None else inittab)
        root.add("etc/mote/firmware.pub", (keys / "public.pem").read_text())
        root.add("etc/mote/token", TOKEN, 0o600)
        root.add_program("usr/libexec/mote/reset", f"#!/bin/sh\n{reset}\n")
        root.add("etc/mote/mote.conf", self._configuration(sections))

    def _add_init(self, init, inittab):
        """Process 1, and how it starts the agent."""
        root = self.board.root
        if init == "busybox":
            root.add("etc/inittab", INITTAB_AROUND.format(inittab))
            return
        root.add_tree(FETCHED / f"openrc-{self.board.model.debian}")
        # Debian's OpenRC looks into it.
        root.add("etc/insserv.conf", "")
        root.add("etc/pam.d/other", "".join(f"{what} required pam_permit.so\n" for what in PAM))
        root.add_program("init", BEFORE_OPENRC)
        # Tests do not wait for so long.
        script = (COMMON / "mote.openrc").read_text().replace("respawn_delay=5\n", "respawn_delay=1\n")
        root.add_program("etc/init.d/mote", script)
        root.add_link("etc/runlevels/default/mote", "/etc/init.d/mote")

    def _configuration(self, sections):
        interface = self.board.model.interface
        sensors = {f"sensor {name}": {"event": "status", "read": source.format(interface=interface)}
                   for name, source in SENSORS.items()}
        whole = {
            "device": {"org": ORGANIZATION, "type": "edge", "id": "e1", "auth-token-file": "/etc/mote/token"},
            "server": {"host": SERVER, "port": MQTT_PORT, "tls": "no", "allow-plaintext-token": "yes"},
            "mqtt": {"connect-delay-max": "0s"},
            "management": {"reboot": "yes", "factory-reset": "/usr/libexec/mote/reset", "firmware-version": "1.4.0"},
            "event status": {"interval": "1s", "qos": "1"}, **sensors}
        for name, keys in sections.items():
            whole[name] = {**whole.get(name, {}), **keys}
        return ini(whole)

    def close(self):
        self.board.close()
        self.application.close()
        self.service.close()

    # What arrives.

    def next_event(self):
        """The next event's members."""
        return json.loads(self.application.next(EVENTS, timeout=DEADLINE * PATIENCE).payload)["d"]

    def event_after_now(self):
        """An event of a board that has started since."""
        while not self.application.messages.empty():
            self.application.messages.get()
        return self.next_event()

    def wait_managed(self):
        """Waits until the device is managed for the first time."""
        self.board.wait(lambda: api(self.service, "GET", f"{DEVICE}/mgmt").status == 200, "it is managed")

    def goodbyes(self):
        """The ends of its connections so far."""
        return self.service.find("client", "disconnected", client_id=f"d:{ORGANIZATION}:edge:e1")

    # What is asked of it.

    def ask(self, action, **members):
        """Requests an action of device management; gives the request's identifier."""
        request = {"action": action, "devices": [{"typeId": "edge", "deviceId": "e1"}], **members}
        return api(self.service, "POST", "/mgmt/requests", request).json["reqId"]

    def status(self, identifier):
        return api(self.service, "GET", f"/mgmt/requests/{identifier}/deviceStatus/edge/e1").json

    def wait_ended(self, identifier):
        """What is said of a request when it is over."""
        return self.board.wait(lambda: (said := self.status(identifier))["complete"] and said,
                               "the request is complete")

    def version(self):
        """What is believed to run there."""
        return api(self.service, "GET", DEVICE).json["deviceInfo"]["fwVersion"]

    # Firmware.

    def bundle(self, version, image, *options):
        """A signed bundle of an image; no two are alike."""
        source, path = self.folder / "image", self.folder / f"mote-{version}.bundle"
        source.write_bytes(image + version.encode())
        subprocess.run([MAKE_BUNDLE, source, path, "--version", version, "--compatible", "acme-e7", "--key",
                        self.keys / "private.pem", *options], check=True, capture_output=True)
        return path

    def download(self, path, version):
        """Has it download a bundle from the platform; gives the request's identifier."""
        image = call(self.service, "POST", f"/api/images?name={pathlib.Path(path).name}", path.read_bytes(),
                     content_type="application/octet-stream").json
        return self.ask("firmware/download", parameters=[{"name": name, "value": value} for name, value in {
            "version": version, "name": path.name, "verifier": f"sha256:{image['sha256']}",
            "uri": f"http://{SERVER}:{HTTP_PORT}{image['path']}"}.items()])
