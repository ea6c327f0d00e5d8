"""RabbitMQ, which speaks MQTT in ways of its own: no QoS 2, and new packet identifiers for what is delivered again."""

import os
import pathlib
import subprocess

from .waiting import DEADLINE, can_connect, end_process, free_port, wait_until

# Scripts/setup unpacks it and the Erlang that it needs there.
ROOT = pathlib.Path(__file__).resolve().parents[3] / "build/tools/rabbitmq/usr/lib"
# A token that needs no quoting in its configuration.
TOKEN = "carrot"
CONFIGURATION = """
default_user = use-token-auth
default_pass = {token}
mqtt.default_user = use-token-auth
mqtt.default_pass = {token}
listeners.tcp = none
mqtt.listeners.tcp.1 = 127.0.0.1:{port}
mqtt.allow_anonymous = true
mqtt.prefetch = 10
log.file = false
log.console = true
log.console.level = debug
"""


class RabbitMQ:
    """A RabbitMQ with nothing but MQTT, which ends with the test."""

    def __init__(self, folder):
        homes, runtimes = ROOT.glob("rabbitmq/lib/rabbitmq_server-*"), ROOT.glob("erlang/erts-*/bin")
        home, programs = next(homes, None), next(runtimes, None)
        assert home and programs, f"no RabbitMQ in {ROOT}; Scripts/setup test unpacks it"
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        # Its own name server of Erlang's nodes, so that none stays behind that others would find.
        self.port, names, distribution = free_port(), free_port(), free_port()
        self.side_port = self.port
        (self.folder / "rabbitmq.conf").write_text(CONFIGURATION.format(port=self.port, token=TOKEN))
        (self.folder / "plugins").write_text("[rabbitmq_mqtt].\n")
        environment = {
            **os.environ, "HOME": self.folder, "PATH": f"{programs}:{os.environ['PATH']}",
            "ERL_EPMD_PORT": names, "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_LIBS": home / "plugins",
            "ROOTDIR": ROOT / "erlang", "BINDIR": programs, "EMU": "beam", "PROGNAME": "erl",
            "RABBITMQ_HOME": home, "RABBITMQ_PLUGINS_DIR": home / "plugins",
            "RABBITMQ_NODENAME": f"mote{self.port}@localhost", "RABBITMQ_DIST_PORT": distribution,
            "RABBITMQ_CONFIG_FILE": self.folder / "rabbitmq", "RABBITMQ_ENABLED_PLUGINS_FILE": self.folder / "plugins",
            "RABBITMQ_MNESIA_BASE": self.folder / "data", "RABBITMQ_LOG_BASE": self.folder / "log",
            "RABBITMQ_GENERATED_CONFIG_DIR": self.folder / "generated", "RABBITMQ_PID_FILE": self.folder / "pid"}
        environment = {name: str(value) for name, value in environment.items()}
        self._names = subprocess.Popen(
            [programs / "epmd", "-port", str(names), "-address", "127.0.0.1"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(self.folder / "rabbitmq.log", "wb") as log:
            self.process = subprocess.Popen(
                [programs / "erlexec", "-noinput", "-boot", "start_sasl", "-s", "rabbit", "boot", "+W", "w",
                 "+S", "1:1", "-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-syslog", "logger", "[]", "-syslog",
                 "syslog_error_logger", "false"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=self.folder)

        def is_up():
            assert self.process.poll() is None, f"RabbitMQ ended: {self.log[-4000:]}"
            return "Server startup complete" in self.log and can_connect(self.port)

        wait_until(is_up, 2 * DEADLINE, "RabbitMQ listens")

    @property
    def log(self):
        return (self.folder / "rabbitmq.log").read_text(errors="replace")

    def close(self):
        # Nothing of it is needed any more, and its clean end takes seconds.
        self.process.kill()
        self.process.wait()
        end_process(self._names)
