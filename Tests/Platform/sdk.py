"""The vendor's SDK under test's control: it promises less about the order of things than tests want to rely on."""

import contextlib
import threading
import types

from harness.waiting import DEADLINE, wait_until
from service import DOMAIN


class Requests(dict):
    """The device-management requests that a client waits for. The SDK sends a request before it notes it here, so that
    the answer may be faster: then it has to wait."""

    def pop(self, identifier):
        wait_until(lambda: identifier in self, DEADLINE, f"the SDK's note of its request {identifier}")
        return super().pop(identifier)


def connect(service, closing, kind, identity, auth, **options):
    """Connects a client that is closed with the test; when it is, its own subscriptions are in place."""
    config = {"identity": identity, "auth": auth, "options": {
        "domain": DOMAIN, "mqtt": {"port": 1883, "transport": "tcp", **options}}}
    client = kind(config)
    # It takes no ports but the platform's.
    client.port = service.port
    if hasattr(client, "_deviceMgmtRequestsPending"):
        # Without its lock: the one that waits holds it, and the one that notes wants it.
        client._deviceMgmtRequestsPendingLock = contextlib.nullcontext()  # pylint: disable=protected-access
        client._deviceMgmtRequestsPending = Requests()  # pylint: disable=protected-access
    has_own = bool(client._subscriptions)  # pylint: disable=protected-access
    client.connect()
    closing.append(types.SimpleNamespace(close=client.disconnect))
    if has_own:
        wait_until(client.subscriptionsAcknowledged.is_set, DEADLINE, "the SDK's own subscriptions")
    return client


def subscribe(client, method, *arguments):
    """Subscribes by a method of the SDK, and waits for SUBACK, for which the SDK does not: until then, what other
    connections publish may come too early."""
    granted = {}
    client.subscriptionCallback = lambda identifier, codes: granted.update({identifier: codes})
    identifier = method(*arguments)
    assert identifier, "SUBSCRIBE was not sent"
    assert 0x80 not in wait_until(lambda: granted.get(identifier), DEADLINE, "SUBACK")


def finish_sending():
    """Waits until the SDK has sent what it was asked to: each response and notification is a thread of its own, and
    may overtake the one before."""
    # Not by joining them: one that is about to be started is there already.
    names = {"client.publish", "respondDeviceAction"}
    wait_until(lambda: not any(thread.name in names for thread in threading.enumerate()), DEADLINE,
               "the SDK has sent everything")
