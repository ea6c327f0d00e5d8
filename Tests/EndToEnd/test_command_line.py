"""What the program says without a broker: versions, help, wrong usage, wrong configurations, this machine's sensors."""

import json
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

from harness.configuration import TOKEN, status, tls
from harness.waiting import DEADLINE

USAGE, CONFIGURATION = 64, 78
COMMANDS = ("run", "quickstart", "check", "sensors", "version", "help")
ROOT = pathlib.Path(__file__).resolve().parents[2]
PLACE = re.compile(r"^(?P<file>\S+):(?P<line>\d+):(?P<column>\d+): ", re.MULTILINE)


@pytest.mark.core
def test_version(program):
    done = program.run("version")
    assert done.returncode == 0
    assert re.match(r"mote \d+\.\d+", done.stdout), done.stdout
    assert done.stderr == ""


def test_help_names_every_command_and_explains_each(program):
    done = program.run("help")
    assert done.returncode == 0 and done.stderr == ""
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", done.stdout), f"help does not name {command}"
        one = program.run("help", command)
        assert one.returncode == 0 and f"mote {command}" in one.stdout, f"help {command}: {one.stdout} {one.stderr}"
    assert "--for" in program.run("help", "run").stdout


@pytest.mark.parametrize("arguments", [
    ("fly",), ("help", "fly"), ("run", "--colour"), ("run", "--strict"), ("run", "--for"), ("run", "--for", "soon"),
    ("run", "--for", "-1s"),
    ("run", "--for", "1s", "--for", "2s"), ("run", "--config"), ("run", "stray"), ("run", "--json"),
    ("sensors", "--xml"), ("version", "now"),
], ids=" ".join)
def test_wrong_usage_is_told_with_status_64(program, arguments):
    done = program.run(*arguments)
    assert done.returncode == USAGE, f"{done.returncode}: {done.stderr}"
    assert done.stdout == ""
    assert done.stderr.startswith("mote: "), done.stderr
    # What was wrong is named.
    assert f'"{arguments[-1]}"' in done.stderr or f'"{arguments[1]}"' in done.stderr, done.stderr


@pytest.mark.parametrize("arguments, meant", [
    (("chekc",), "check"), (("help", "quikstart"), "quickstart"), (("run", "--cofnig"), "--config"),
    (("check", "--stict"), "--strict"), (("fly",), None), (("run", "--colour"), None)],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value))
def test_words_that_are_nearly_right_get_a_suggestion(program, arguments, meant):
    done = program.run(*arguments)
    assert done.returncode == USAGE
    suggested = re.findall(r'; did you mean "(.*)"\?$', done.stderr.rstrip("\n"))
    assert suggested == ([meant] if meant else []), done.stderr


@pytest.mark.parametrize("flag, value", [("--port", "0"), ("--port", "65536"), ("--port", "many"), ("--id", "a/b"),
                                         ("--type", ""), ("--host", "a b"), ("--log-level", "loud")])
def test_wrong_values_of_flags_are_told(program, flag, value):
    done = program.run("quickstart", flag, value, "--for", "1s")
    assert done.returncode == USAGE, f"{done.returncode}: {done.stderr}"
    assert flag in done.stderr and f'"{value}"' in done.stderr


def test_a_run_of_no_length_is_told_what_it_lacks(program):
    done = program.run("run", "--for", "0s")
    assert done.returncode == USAGE
    assert '"0s" is no duration; expected a number above 0' in done.stderr, done.stderr


def test_without_a_command_there_is_help(program):
    done = program.run()
    assert "usage:" in done.stdout + done.stderr


@pytest.mark.core
def test_check_accepts_a_right_configuration(program, write_configuration):
    path = write_configuration(1883, status("10s", 1, load="loadavg:1"))
    done = program.run("check", "--config", path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_check_reports_every_wrong_thing_with_its_place(program, write_configuration):
    text = "\n".join([
        "[device]", "org = ab12cd", "type = edge", "id = e7/0042", "[server]", "host = 127.0.0.1", "port = 99999",
        "tls = perhaps", "[mqtt]", "keep-alife = 60s", "clean-session = yes", "[event status]", "interval = 10 parsecs",
        "qos = 3", "[sensor load]", "event = statsu", "read = loadavge:1", "[comand blink]", "run = /bin/true", ""])
    path = write_configuration(text)
    done = program.run("check", "--config", path)
    assert done.returncode == CONFIGURATION
    assert done.stdout == ""
    places = {(int(found["line"]), int(found["column"])) for found in PLACE.finditer(done.stderr)}
    assert all(found["file"] == str(path) for found in PLACE.finditer(done.stderr)), done.stderr
    assert {line for line, _ in places} >= {4, 7, 8, 10, 13, 14, 16, 17, 18}, done.stderr
    # Columns are of the thing itself: a value behind `key = `, a key or a section's name at its beginning.
    assert {(4, 6), (7, 8), (8, 7), (10, 1), (13, 12), (14, 7)} <= places, done.stderr
    for words in ("e7/0042", "99999", "65535", "perhaps", "keep-alive", "parsecs", "loadavg", "command", "status"):
        assert words in done.stderr, f"{words} is not mentioned:\n{done.stderr}"


def test_run_refuses_a_wrong_configuration_as_check_does(program, write_configuration):
    path = write_configuration(1883, {"mqtt": {"keep-alife": "60s"}})
    done = program.run("run", "--config", path)
    assert done.returncode == CONFIGURATION
    assert PLACE.search(done.stderr) and "keep-alive" in done.stderr


def test_a_missing_configuration_is_named(program, tmp_path):
    for command in ("run", "check"):
        done = program.run(command, "--config", tmp_path / "none.conf")
        assert done.returncode == CONFIGURATION
        assert "none.conf" in done.stderr


def test_files_that_are_no_configuration_do_not_kill_the_program(program, write_configuration, tmp_path):
    binary = tmp_path / "binary.conf"
    binary.write_bytes(bytes(range(256)) * 64)
    huge = tmp_path / "huge.conf"
    huge.write_text("[device]\n" + "x = y\n" * 200_000)
    empty = write_configuration("", name="empty.conf")
    for path in (binary, huge, empty, tmp_path, "/dev/null"):
        done = program.run("check", "--config", path)
        assert done.returncode == CONFIGURATION, f"{path}: {done.returncode}"
        assert 0 < len(done.stderr) < 20_000, f"{path}: {len(done.stderr)} bytes of diagnostics"


def test_why_a_file_cannot_be_read_is_told_in_words(program, write_configuration, tmp_path):
    huge = tmp_path / "huge"
    huge.write_text("x" * 100_000)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reasons = {tmp_path: "not a regular file", "/dev/null": "not a regular file", fifo: "not a regular file",
               huge: "larger than 64KB", tmp_path / "none": "there is no such file",
               "/" + "a" * 512: "its path has more than 511 bytes"}
    for path, reason in reasons.items():
        done = program.run("check", "--config", path)
        assert done.returncode == CONFIGURATION
        assert f"error: cannot be read: {reason}\n" in done.stderr, done.stderr
        token = write_configuration(1883, {"device": {"auth-token": None, "auth-token-file": path}}, name="token.conf")
        done = program.run("check", "--config", token)
        assert done.returncode == CONFIGURATION
        # One that is too long is found before anybody tries to read it.
        told = "found a longer path" if len(str(path)) > 511 else f"the file cannot be read: {reason}"
        assert f"error: auth-token-file: {told}" in done.stderr, done.stderr


def test_paths_are_as_long_as_they_can_be_read(program, write_configuration):
    for key, section in (("read", "sensor a"), ("run", "command b")):
        for length, status_expected in ((511, 0), (512, CONFIGURATION)):
            path = "/" + "a" * (length - 1)
            sections = {**status(a="constant:1"), "command b": {"run": "/bin/true"}}
            sections[section] = {**sections[section], key: f"file:{path}" if key == "read" else path}
            done = program.run("check", "--config", write_configuration(1883, sections))
            assert done.returncode == status_expected, f"{key} {length}: {done.stderr}"
            told = f": error: {key}: found a longer path; expected at most 511 bytes\n"
            assert (told in done.stderr) == (status_expected != 0), done.stderr


def test_sectionless_device_configuration_is_accepted(program, write_configuration):
    text = f"org=ab12cd\ntype=edge\nid=e7-0042\nauth-method=token\nauth-token={TOKEN}\n"
    done = program.run("check", "--config", write_configuration(text))
    assert done.returncode == 0, done.stderr


def test_environment_lies_over_the_file_and_its_faults_name_the_variable(program, write_configuration):
    path = write_configuration(1883)
    environment = {"WIOTP_OPTIONS_MQTT_PORT": "99999"}
    done = program.run("check", "--config", path, environment=environment)
    assert done.returncode == CONFIGURATION
    assert "WIOTP_OPTIONS_MQTT_PORT" in done.stderr and "99999" in done.stderr


QUICKSTART = {"device": {"org": "quickstart", "auth-method": None, "auth-token": None},
              "server": {"allow-plaintext-token": None}, "mqtt": {"messages-per-second": None}}


def test_quickstart_can_be_configured(program, write_configuration):
    done = program.run("check", "--config", write_configuration(1883, {**QUICKSTART, **status("5s", 0, a="uptime")}))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("sections, words", [
    ({"device": {"org": "quickstart", "auth-token": "abc"}}, "credentials"),
    (status("5s", 1, a="constant:1"), "qos"),
    ({"mqtt": {"clean-session": "no", "messages-per-second": None}}, "session"),
    ({"command blink": {"run": "/bin/true"}}, "command"),
    (status("500ms", 0, a="constant:1"), "second"),
], ids=["credentials", "qos", "durable", "command", "rate"])
def test_what_quickstart_does_not_support_is_refused_with_the_reason(program, write_configuration, sections, words):
    path = write_configuration(1883, {**QUICKSTART, **sections})
    for command in ("check", "run"):
        done = program.run(command, "--config", path)
        assert done.returncode == CONFIGURATION, f"{command}: {done.stderr}"
        assert "uickstart" in done.stderr and words in done.stderr.lower(), done.stderr


def test_a_token_without_tls_needs_its_own_key(program, write_configuration):
    done = program.run("check", "--config", write_configuration(1883, {"server": {"allow-plaintext-token": None}}))
    assert done.returncode == CONFIGURATION
    assert "allow-plaintext-token" in done.stderr and TOKEN not in done.stderr


def test_a_device_without_a_token_is_told_what_it_needs(program, write_configuration):
    done = program.run("check", "--config", write_configuration(1883, {"device": {"auth-token": None}}))
    assert done.returncode == CONFIGURATION
    assert "auth-token-file" in done.stderr and "WIOTP_AUTH_TOKEN" in done.stderr


def test_a_token_readable_by_others_is_warned_about(program, write_configuration, tmp_path):
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o644)
    sections = {"device": {"auth-token": None, "auth-token-file": token}, **status(a="uptime")}
    path = write_configuration(1883, sections)
    done = program.run("check", "--config", path)
    assert done.returncode == 0
    assert "warning" in done.stderr and "auth-token-file" in done.stderr and TOKEN not in done.stderr
    token.chmod(0o600)
    assert program.run("check", "--config", path).stderr == ""
    path = write_configuration(1883, status(a="uptime"), name="open.conf")
    path.chmod(0o644)
    done = program.run("check", "--config", path)
    assert done.returncode == 0 and "warning" in done.stderr and "auth-token" in done.stderr


def check_machine(program, path, *options):
    """Checks a configuration; gives the warnings about the machine: key, word and remedy by line."""
    done = program.run("check", "--config", path, *options)
    line = (r'^(\S+):(\d+):\d+: (warning|error): (read|run|ca-file|reboot|factory-reset|location-file): '
            r'found ".*", .* \((\S+)\); (.+)$')
    found = re.findall(line, done.stderr, re.MULTILINE)
    assert all(file == str(path) for file, *_ in found)
    return done, {(key, word): remedy for *_, key, word, remedy in found}


def test_check_looks_at_what_is_named_and_says_as_whom(program, write_configuration, tmp_path):
    (tmp_path / "text").write_text("N/A\n")
    sections = {**status("10s", 0, a="thermal:nowhere", b="network:nowhere0/rx-bytes", c="disk:/nowhere/free",
                         d="uptime", e=f"file:{tmp_path}/text", f=f"file:{tmp_path}/none", g="constant:1",
                         h={"read": f"file:{tmp_path}/text", "type": "text"}),
                "command gone": {"run": tmp_path / "gone"}, "command there": {"run": "/bin/true"}}
    path = write_configuration(1883, sections)
    done, found = check_machine(program, path)
    user = pwd.getpwuid(os.getuid()).pw_name
    assert done.returncode == 0 and done.stderr.startswith(f"checked as user {user} ({os.getuid()})\n"), done.stderr
    assert set(found) == {("read", "not-found"), ("read", "not-understood"), ("run", "not-found")}, done.stderr
    lines = path.read_text().splitlines()
    places = [(lines[int(place["line"]) - 1], int(place["column"])) for place in PLACE.finditer(done.stderr)]
    wrong = ["thermal:nowhere", "network:nowhere0/rx-bytes", "disk:/nowhere/free", f"file:{tmp_path}/text",
             f"file:{tmp_path}/none"]
    assert places == [*((f"read = {value}", 8) for value in wrong), (f"run = {tmp_path}/gone", 7)]
    assert done.stderr.endswith("\n0 errors, 6 warnings\n")
    # The agent starts with all of that; who wants to be sure says so.
    done, found = check_machine(program, path, "--strict")
    assert (done.returncode, done.stdout, len(found)) == (CONFIGURATION, "", 3), done.stderr
    assert "warning: " not in done.stderr and done.stderr.endswith("\n6 errors, 0 warnings\n")
    # Mistakes hide nothing.
    path.write_text(path.read_text().replace("interval = 10s", "interval = 10"))
    done, found = check_machine(program, path)
    assert (done.returncode, len(found)) == (CONFIGURATION, 3) and done.stderr.endswith("\n1 error, 6 warnings\n")


def test_help_and_readme_promise_the_same_of_check(program):
    readme = (ROOT / "README.md").read_text()
    readme = readme[readme.index("`mote check` names every mistake"):readme.index("## Configuration")]
    for text in (program.run("help", "check").stdout, readme):
        for word in ("warning", "--strict", "`mote run`", "token", "trusted certificates", "programs", "sensor",
                     "user"):
            assert word in " ".join(text.split()), f"{word} is not in: {text}"
        assert re.search(r"line\s+and\s+column", text) and re.search(r"connects\s+to\s+nothing", text)


def test_check_says_as_whom_where_all_is_well(program, write_configuration):
    path = write_configuration(1883, {**status(a="uptime"), "command a": {"run": "/bin/sh"}})
    for options in ((), ("--strict",)):
        done = program.run("check", "--config", path, *options)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.match(rf"# checked as user \S+ \({os.getuid()}\)\n\[device\]\n", done.stdout), done.stdout


PROGRAMS = {"not-found": None, "not-a-file": None, "not-permitted": b"#!/bin/sh\n",
            "carriage-return": b"#!/bin/sh\r\n:\r\n", "no-interpreter": b"#! /nowhere/sh -e\n",
            "no-program": b"echo hello\n"}


@pytest.mark.parametrize("word", PROGRAMS)
def test_check_names_what_is_wrong_with_a_program(program, write_configuration, tmp_path, word):
    file = tmp_path / "program"
    if word == "not-a-file":
        file.mkdir()
    elif PROGRAMS[word] is not None:
        file.write_bytes(PROGRAMS[word])
        file.chmod(0o600 if word == "not-permitted" else 0o700)
    sections = {**status(a="uptime"), "command a": {"run": file}}
    done, found = check_machine(program, write_configuration(1883, sections))
    assert list(found) == [("run", word)], done.stderr
    sections = {**status(a="uptime"), "management": {"reboot": file, "factory-reset": file},
                "action a/b": {"run": file}, "command b": {"run": "/bin/sh"}}
    done, found = check_machine(program, write_configuration(1883, sections))
    assert sorted(found) == [("factory-reset", word), ("reboot", word), ("run", word)], done.stderr


def test_check_reads_the_file_that_says_where_it_is(program, write_configuration, tmp_path):
    file = tmp_path / "place"
    path = write_configuration(1883, {**status(a="uptime"), "management": {"location-file": file}})
    done, found = check_machine(program, path)
    assert list(found) == [("location-file", "not-found")], done.stderr
    file.write_text("48.1371 11.5754\n")
    done, found = check_machine(program, path)
    assert not found and done.stderr == "", done.stderr


BEGIN, END = b"-----BEGIN CERTIFICATE-----\n", b"\n-----END CERTIFICATE-----\n"
CERTIFICATES = {"not-found": None, "no-certificate": b"no PEM\n",
                "certificate-too-large": BEGIN + b"MIIQ" * 1500 + END}


@pytest.mark.parametrize("word", CERTIFICATES)
def test_check_names_what_is_wrong_with_trusted_certificates(program, write_configuration, authority, tmp_path, word):
    sections = {**status(a="uptime"), **tls(8883, authority)}
    assert check_machine(program, write_configuration(1883, sections))[0].stderr == ""
    file = tmp_path / "trusted.pem"
    if CERTIFICATES[word] is not None:
        file.write_bytes(CERTIFICATES[word])
    sections["server"]["ca-file"] = file
    done, found = check_machine(program, write_configuration(1883, sections))
    assert list(found) == [("ca-file", word)], done.stderr
    # Who does not want them checked needs none.
    sections["server"]["allow-unverified-server"] = "yes"
    done, found = check_machine(program, write_configuration(1883, sections))
    assert not found, done.stderr


def test_check_has_the_rights_of_who_calls_it(program, write_configuration, tmp_path):
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as name:
        # Unlike the test's own folders this one can be looked into by others.
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        shutil.copy(program.command[-1], folder / "mote")
        for file in ("value", "program"):
            (folder / file).write_text("#!/bin/sh\n")
            (folder / file).chmod(0o700)
        sections = {**status(a={"read": f"file:{folder}/value", "type": "text"}),
                    "command a": {"run": folder / "program"}}
        (folder / "mote.conf").write_text(write_configuration(1883, sections).read_text())
        shutil.chown(folder / "mote.conf", "nobody")
        (folder / "mote.conf").chmod(0o600)
        words = [*program.command[:-1], folder / "mote", "check", "--config", folder / "mote.conf"]
        done = subprocess.run(words, env={}, user="nobody", capture_output=True, text=True, timeout=DEADLINE,
                              check=False)
        assert re.findall(r"\((not-permitted)\)", done.stderr) == ["not-permitted"] * 2, done.stderr
        assert done.stderr.startswith("checked as user nobody (")
        done = subprocess.run(words, env={}, capture_output=True, text=True, timeout=DEADLINE, check=False)
        assert done.stderr == "" and "# checked as user root (0)\n" in done.stdout


@pytest.fixture
def slow_files(tmp_path):
    """A folder whose files `never1` and so on never answer."""
    folder = tmp_path / "slow"
    folder.mkdir()
    with subprocess.Popen([sys.executable, ROOT / "Tests/LinuxHostTests/slowfiles.py", folder], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as server:
        answer = server.stdout.readline().strip()
        if answer != "ready":
            pytest.skip(f"there is no FUSE here: {answer}")
        yield folder
        server.stdin.close()


def test_check_waits_for_no_sensor_that_hangs(program, write_configuration, slow_files):
    # Those behind it are looked at all the same.
    sections = {**status("10s", 0, a=f"file:{slow_files}/never1", b="file:/nowhere", c="uptime"),
                "agent": {"source-timeout": "200ms"}}
    done, found = check_machine(program, write_configuration(1883, sections))
    assert set(found) == {("read", "timeout"), ("read", "not-found")}, done.stderr


@pytest.mark.core
def test_sensors_are_listed_as_text_and_as_json(program):
    shown = program.run("sensors")
    assert shown.returncode == 0
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert lines[0] == ["NAME", "READ", "VALUE", "UNIT", "FROM"]
    assert {("load_1", "loadavg:1"), ("memory_available", "memory:available")} <= {tuple(line[:2]) for line in lines}
    listed = program.run("sensors", "--json")
    assert listed.returncode == 0
    entries = json.loads(listed.stdout)
    by_place = {entry["read"]: entry for entry in entries}
    assert {"loadavg:1", "memory:available", "uptime", "cpu:usage"} <= set(by_place), list(by_place)
    for entry in entries:
        assert set(entry) >= {"name", "value", "unit", "read"}, entry
    assert by_place["memory:available"]["unit"] in ("B", "bytes")
    with open("/proc/uptime", encoding="ascii") as file:
        uptime = float(file.read().split()[0])
    assert abs(by_place["uptime"]["value"] - uptime) < 60
    # Every listed place can be put into a configuration as it is.
    sections = {f"sensor s{index}": {"event": "status", "read": entry["read"]} for index, entry in enumerate(entries)}
    assert len(sections) >= 5


def test_listed_sensors_can_be_configured_as_they_are_listed(program, write_configuration):
    entries = json.loads(program.run("sensors", "--json").stdout)[:16]
    sections = status("10s", 0, **{f"s{index}": entry["read"] for index, entry in enumerate(entries)})
    done = program.run("check", "--config", write_configuration(1883, sections))
    assert done.returncode == 0, done.stderr


def test_for_ends_the_run_by_itself(program, write_configuration):
    path = write_configuration(9, status("1s", 0, a="constant:1"))
    begin = time.monotonic()
    done = program.run("run", "--config", path, "--for", "1500ms")
    took = time.monotonic() - begin
    assert done.returncode == 0, done.stderr
    assert took > 1.4


def test_nothing_is_written_to_standard_output_by_run(program, write_configuration):
    path = write_configuration(9, status("1s", 0, a="constant:1"))
    assert program.run("run", "--config", path, "--for", "300ms").stdout == ""


def test_the_example_of_the_boards_folder_is_right(program, pytestconfig):
    # A drop-in of a unit has the same ending.
    examples = [path for path in sorted((pytestconfig.rootpath.parents[1] / "Boards").glob("*/*.conf"))
                if "[Service]" not in path.read_text()]
    assert examples, "no configuration under Boards"
    for path in examples:
        done = program.run("check", "--config", path)
        # An example may name files of a board that this machine does not have, but never a wrong key or value.
        complaints = [line for line in done.stderr.splitlines() if PLACE.match(line) and "token" not in line
                      and " ca" not in line]
        assert not complaints, f"{path}: {done.stderr}"
