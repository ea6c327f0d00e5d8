"""The agent under test: started with a configuration, watched through its log."""

import dataclasses
import json
import re
import signal
import subprocess
import threading
import time

from .waiting import DEADLINE, end_process, wait_until

LEVELS = ("error", "warning", "info", "debug")
VALUE = r'"(?:[^"\\]|\\.)*"|[^ "]*'
LINE = re.compile(rf'(?:<\d>)?({"|".join(LEVELS)}) ([a-z0-9-]+) ([a-z0-9-]+)((?: [^ ="]+=(?:{VALUE}))*)')
FIELD = re.compile(rf' ([^ ="]+)=({VALUE})')


@dataclasses.dataclass
class LogLine:
    """One line of the agent's log, taken apart."""

    level: str
    component: str
    event: str
    fields: dict
    text: str
    moment: float = 0


def parse_log_line(text):
    """Takes `LEVEL COMPONENT EVENT key=value …` apart; None when the line has another form."""
    match = LINE.fullmatch(text)
    if not match:
        return None
    fields = {}
    for key, value in FIELD.findall(match[4]):
        fields[key] = json.loads(value) if value.startswith('"') else value
    return LogLine(match[1], match[2], match[3], fields, text)


def seconds(duration):
    """A duration of the log or the configuration, `1.2s` or `300ms`, in seconds."""
    match = re.fullmatch(r"([0-9.]+)(ms|s|m|h|d)?", duration)
    assert match, f"not a duration: {duration!r}"
    return float(match[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2] or "s"]


@dataclasses.dataclass
class Program:
    """How the binary under test is run: directly, or by an emulator."""

    command: list
    # Emulated programs are slower; every wait is multiplied by this.
    patience: float

    def run(self, *arguments, environment=None, timeout=DEADLINE, stdin=subprocess.DEVNULL):
        """Runs the program to its end; gives the completed process with text output."""
        return subprocess.run(
            [*self.command, *map(str, arguments)], env=dict(environment or {}), stdin=stdin, capture_output=True,
            timeout=timeout * self.patience, text=True, errors="replace", check=False)


class Agent:
    """A running agent."""

    def __init__(self, program, *arguments, environment=None, prefix=()):
        self.program = program
        self.lines = []
        self.process = subprocess.Popen(
            [*prefix, *program.command, *map(str, arguments)], env=dict(environment or {}),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        self.output = b""
        self._readers = [threading.Thread(target=self._read_log), threading.Thread(target=self._read_output)]
        for reader in self._readers:
            reader.start()

    def _read_log(self):
        for line in self.process.stderr:
            text = line.decode(errors="replace").rstrip("\n")
            parsed = parse_log_line(text)
            if parsed:
                parsed.moment = time.monotonic()
            self.lines.append((text, parsed))

    def _read_output(self):
        for chunk in iter(lambda: self.process.stdout.read1(4096), b""):
            self.output += chunk

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        """The whole log so far."""
        return "\n".join(text for text, _ in list(self.lines))

    @property
    def story(self):
        """What a failed test shows of it: its log, with the moment of each line in seconds of the monotonic clock."""
        return "\n".join(f"{line.moment if line else 0:10.3f} {text}" for text, line in list(self.lines))

    def find(self, level, component, event, **fields):
        """All log lines so far that have these words and at least these fields."""
        found = []
        for _, line in list(self.lines):
            if line and (line.level, line.component, line.event) == (level, component, event):
                if all(line.fields.get(key.replace("_", "-")) == str(value) for key, value in fields.items()):
                    found.append(line)
        return found

    def wait_log(self, level, component, event, *, count=1, timeout=DEADLINE, **fields):
        """Waits for the `count`-th line with these words and fields, and returns it."""
        wanted = f"{level} {component} {event} {fields or ''} ×{count}"

        def look():
            found = self.find(level, component, event, **fields)
            if len(found) < count and self.process.poll() is not None:
                for reader in self._readers:
                    reader.join(DEADLINE)
                found = self.find(level, component, event, **fields)
                assert len(found) >= count, f"the agent ended ({self.process.returncode}) before: {wanted}\n{self.log}"
            return found[count - 1:count]

        try:
            return wait_until(look, timeout * self.program.patience, wanted)[0]
        except AssertionError as error:
            raise AssertionError(f"{error}\nlog of the agent:\n{self.log}") from None

    def wait_connected(self, count=1, timeout=DEADLINE):
        """Waits for the `count`-th time that the broker accepted the agent."""
        return self.wait_log("info", "mqtt", "connected", count=count, timeout=timeout)

    def signal(self, number):
        """Sends a signal."""
        self.process.send_signal(number)

    def reload(self):
        """Asks the agent to read its configuration again."""
        self.signal(signal.SIGHUP)

    def is_running(self):
        """Whether the process has not ended."""
        return self.process.poll() is None

    def wait_end(self, timeout=DEADLINE):
        """Waits for the end of the process and returns its exit status."""
        try:
            status = self.process.wait(timeout * self.program.patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the agent did not end within {timeout} s; its log:\n{self.log}") from None
        for reader in self._readers:
            reader.join(DEADLINE)
        return status

    def stop(self, timeout=DEADLINE):
        """SIGTERM, and the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait_end(timeout)

    def close(self):
        """Ends the process, whatever its state."""
        end_process(self.process)
        for reader in self._readers:
            reader.join(DEADLINE)
        self.process.stdout.close()
        self.process.stderr.close()
