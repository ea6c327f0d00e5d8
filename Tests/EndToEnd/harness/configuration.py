"""Configuration files for the agent under test."""

import time

# An identity that is none of anybody's.
ORGANIZATION, TYPE, DEVICE = "ab12cd", "edge", "e7-0042"
CLIENT = f"d:{ORGANIZATION}:{TYPE}:{DEVICE}"
TOKEN = "s3cr=t#;$&*(%"


def ini(sections):
    """A configuration file of sections with keys and values; those whose value is None are left out."""
    lines = []
    for name, keys in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {value}" for key, value in keys.items() if value is not None]
        lines.append("")
    return "\n".join(lines)


def configuration(port, sections=None):
    """A configuration for a plain broker on `port`, with `sections` merged into it."""
    merged = {
        "device": {"org": ORGANIZATION, "type": TYPE, "id": DEVICE, "auth-method": "token", "auth-token": TOKEN},
        "server": {"host": "127.0.0.1", "port": port, "tls": "no", "allow-plaintext-token": "yes"},
        # Tests do not wait for a fleet to spread out, nor for the platform's rate.
        "mqtt": {"connect-delay-max": "0s", "messages-per-second": "0"},
        # They know when an event is due, and several agents run beside each other.
        "agent": {"align": "yes", "control-socket": "no"},
    }
    for name, keys in (sections or {}).items():
        merged[name] = {**merged.get(name, {}), **keys}
    return ini(merged)


def tls(port, authority, **server):
    """The section `[server]` for a broker with TLS whose certificates `authority` issues."""
    keys = {"host": "localhost", "port": port, "tls": "yes", "ca-file": authority.certificate,
            "allow-plaintext-token": None}
    return {"server": {**keys, **{key.replace("_", "-"): value for key, value in server.items()}}}


def seldom_seconds(uptime=None):
    """An interval for events that come once, at start, and not again for ten minutes at least: an event is due at whole
    multiples of its interval in the time since the machine's start (`uptime`, in seconds), so that it would come again
    soon where that time is just short of one."""
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME) if uptime is None else uptime
    # Up to the longest interval that there is.
    return max((hours * 3600 for hours in range(1, 7 * 24 + 1)), key=lambda seconds: seconds - uptime % seconds)


def seldom():
    """The interval of `seldom_seconds` as the configuration has it."""
    return f"{seldom_seconds()}s"


def status(interval="300ms", qos=1, **sensors):
    """An event `status` with sensors given by what they read."""
    sections = {"event status": {"interval": interval, "qos": qos}}
    for name, source in sensors.items():
        keys = source if isinstance(source, dict) else {"read": source}
        sections[f"sensor {name}"] = {"event": "status", **keys}
    return sections
