"""A machine that can be restarted: the state folder and the kernel's boot_id of a mount namespace of its own."""

import json
import os
import queue
import uuid

import paho.mqtt.client

from .waiting import DEADLINE, wait_until


class Machine:
    """What outlives the agent. `prefix` starts it there."""

    def __init__(self, folder):
        self.state = folder / "lib" / "mote"
        self.state.mkdir(parents=True)
        self._boot_id = folder / "boot_id"
        self.restart()

    @property
    def prefix(self):
        mounts = [f"mount --bind {self.state.parent} /var/lib",
                  f"mount --bind {self._boot_id} /proc/sys/kernel/random/boot_id", 'exec "$@"']
        return ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"]),
                "sh", "-c", " && ".join(mounts), "sh"]

    def restart(self):
        """The kernel starts anew."""
        # In place: the file itself is what is mounted.
        with self._boot_id.open("r+" if self._boot_id.exists() else "w") as file:
            file.write(f"{uuid.uuid4()}\n")


class ManagementServer:
    """The platform's side of device management, on a broker. Manage requests are answered by themselves."""

    def __init__(self, port, patience=1):
        self.patience = patience
        self.code = 200
        self.all = []
        self.manages = queue.Queue()
        self.answers = queue.Queue()
        self._client = paho.mqtt.client.Client(client_id="management", clean_session=True)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe("iotdevice-1/#", qos=1)
        subscribed = []
        self._client.on_subscribe = lambda *_: subscribed.append(True)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        wait_until(lambda: subscribed, DEADLINE * patience, "the server's own subscription")

    def _on_message(self, _client, _user, message):
        body = json.loads(message.payload)
        self.all.append((message.topic, body))
        assert message.qos == 1 and not message.retain
        if message.topic == "iotdevice-1/response":
            return self.answers.put(body)
        if message.topic == "iotdevice-1/mgmt/manage":
            self.send("response", {"rc": self.code, "reqId": body["reqId"]})
            return self.manages.put(body)
        return None

    def send(self, path, body):
        """Sends a request, or an answer."""
        payload = body if isinstance(body, str) else json.dumps(body)
        self._client.publish(f"iotdm-1/{path}", payload, qos=1)

    def ask(self, path, body):
        """Sends a request, and gives its answer."""
        self.send(path, body)
        return self.answers.get(timeout=DEADLINE * self.patience)

    def next_manage(self):
        """The next manage request."""
        return self.manages.get(timeout=DEADLINE * self.patience)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()
