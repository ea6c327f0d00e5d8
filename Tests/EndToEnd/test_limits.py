"""docs/limits.md against the code: each number is that of its constant, each constant has its row, and the algorithms
are those that the program offers."""

import pathlib
import re
import socket

import pytest

from harness.configuration import status, tls
from harness.hello import read_hello

pytestmark = pytest.mark.native

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/limits.md"
MODULES = ("Agent", "AgentConfiguration", "Bytes", "HTTP", "HostInterface", "IoTPlatform", "JSON", "LinuxHost", "MQTT",
           "Spool", "Storage", "Telemetry", "mote")
SWIFT = {path: path.read_text() for module in MODULES for path in sorted((ROOT / "Sources" / module).rglob("*.swift"))}
C = {path: path.read_text() for path in (ROOT / "Sources").rglob("*.h")}
UNITS = {"": 1, "bytes": 1, "KB": 1024, "MB": 1024 * 1024, "ms": 1, "s": 1000, "h": 3_600_000, "d": 86_400_000}
SPANS = {"milliseconds": 1, "seconds": 1000, "minutes": 60_000}
MEMBER = re.compile(r"^  (?:\w+ )*static var (\w+): [\w?<>]+ \{ (.+) \}$", re.MULTILINE)
# Bounds of one part against another, which nobody notices who is not inside; and what a key of the README's table says.
INNER = {
    "AgentLimits.packetsPerStepMax", "AgentLimits.idleMax", "AgentLimits.outcomeBytesMax",
    "AgentLimits.commandNameBytesMax", "AgentLimits.subscriptionsMax", "ClientLimits.inflightMax",
    "ClientLimits.requestsMax", "ClientLimits.packetBytesMin", "ClientLimits.packetBytesMax",
    "ClientLimits.controlBytes", "ClientLimits.lastBytes", "ClientLimits.answerBytes", "ClientLimits.keepAliveMargin",
    "PacketLimits.remainingLengthMax", "PacketLimits.fieldBytesMax", "HostLimits.linksMax", "ChannelLimits.cutMark",
    "ProgramLimits.chunksMax", "AgentLimits.outcomeCutBytes", "ClientLimits.unacknowledgedMax",
    "HostLimits.programOutputBytesMax", "LineLimits.edgesAtOnce",
    "LineLimits.readingsMax", "SourceLimits.answerSlack", "SourceLimits.endTimeMax",
    "SourceLimits.quickReadsNeededMax", "ConfigurationLimits.entriesMax", "ConfigurationLimits.plainEntriesMax",
    "ConfigurationLimits.sectionsMax", "ConfigurationLimits.eventInterval", "ControlLimits.pieceBytesMax",
    "ControlLimits.rowBytesMax", "ControlLimits.piecesPerTurnMax", "AgentLimits.passedOverBytesMax",
    "AgentLimits.clockPause", "AgentLimits.signIntervalMin",
    "AgentLimits.feedIntervalMin", "AgentLimits.imageStepsMax", "AgentLimits.trialPause",
    "FilterLimits.bits", "FilterLimits.digitsMax", "FilterLimits.millisecondsMax",
    "FlashLimits.segmentHeaderBytes", "FlashLimits.recordHeaderBytes", "FlashLimits.segmentBytesMin",
    "FlashLimits.segmentsMin", "FlashLimits.bookkeepingBytes",
    "FirmwareLimits.slotRecordBytes", "FirmwareLimits.writeBytesMax", "FirmwareLimits.readBackBytesPerSecond",
}


def bodies(name):
    """The bodies of a type, wherever it and its extensions are."""
    for text in SWIFT.values():
        for found in re.finditer(rf"^(?:\w+ )*(?:enum|struct|extension) {name}\b.*?\{{$(.*?)^\}}$", text,
                                 re.MULTILINE | re.DOTALL):
            yield found[1]


def members(name):
    return {member: expression for body in bodies(name) for member, expression in MEMBER.findall(body)}


def value(name, expression):
    """What an expression of the type `name` comes to; times in milliseconds."""
    expression = re.sub(r"\bInt\(|(?<=\w)\)(?= \*|$)", " ", expression)

    def factor(word):
        word = word.strip()
        if re.fullmatch(r"[\d_]+", word):
            return int(word)
        if found := re.fullmatch(r"\.(\w+)\(([\d_ *]+)\)?", word):
            return SPANS[found[1]] * value(name, found[2])
        if found := re.fullmatch(r"(\w+)(?:<\w+>)?\.count", word):
            alias = rf"typealias {found[1]}(?:<.*>)? = InlineArray<(\d+),"
            return next(int(size) for text in SWIFT.values() for size in re.findall(alias, text))
        if re.fullmatch(r"MOTE_\w+", word):
            return next(int(number) for text in C.values() for number in re.findall(rf"\b{word} = (\d+)", text))
        owner, _, member = word.rpartition(".")
        return value(owner or name, members(owner or name)[member])

    if re.fullmatch(r"\.\w+\([\d_ *]+\)?", expression.strip()):
        return factor(expression)
    total = 0
    for sign, term in re.findall(r"(^|[+-] )(.+?)(?= [+-] |$)", expression.strip()):
        product = -1 if sign == "- " else 1
        for word in term.split(" * "):
            product *= factor(word)
        total += product
    return total


def constant(name):
    """The value of `Type.member`, or of a macro of mbedTLS's configuration."""
    if "." not in name:
        texts = ((ROOT / "Sources/CMbedTLS/device").glob("*.h"))
        return next(int(found[1]) for path in texts if (found := re.search(rf"#define {name} (\d+)", path.read_text())))
    owner, member = name.split(".")
    return value(owner, members(owner)[member])


def rows():
    """What, limit and constant of each row that names one."""
    found = re.findall(r"^\| (.+?) \| (.+?) \| .*?\| `([\w.]+)` \|$", PAGE.read_text(), re.MULTILINE)
    assert len(found) > 40
    return found


@pytest.mark.parametrize(("what", "limit", "name"), rows(), ids=[row[2] for row in rows()])
def test_each_limit_is_that_of_its_constant(what, limit, name):
    number, unit = re.fullmatch(r"([\d,]+) ?(\w*)", limit).groups()
    assert int(number.replace(",", "")) * UNITS[unit] == constant(name), what


def test_each_constant_has_its_row():
    heading = re.compile(r"^(?:\w+ )*enum (\w+Limits) \{", re.MULTILINE)
    names = {name for text in SWIFT.values() for name in heading.findall(text)}
    assert len(names) > 8
    known = {f"{name}.{member}" for name in names for body in bodies(name)
             for member in re.findall(r"static var (\w+):", body)}
    shown = {name for _, _, name in rows()}
    assert INNER <= known and not INNER & shown
    assert known - INNER - shown == set()


def offered():
    """The page's table of algorithms: what, and a list."""
    table = PAGE.read_text().split("| what is offered |", 1)[1].split("\n\n")[0]
    return {what: re.sub(r" \(.*?\)", "", words).split(", ")
            for what, words in re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", table, re.MULTILINE) if "-|" not in what}


def test_the_algorithms_are_those_that_the_program_offers(run_agent, authority):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        run_agent(port, {**status("1h", 0, a="constant:1"), **tls(port, authority)})
        stream, _ = listener.accept()
        with stream:
            hello = read_hello(stream)
    page = offered()
    assert page["versions"] == hello["versions"]
    assert page["suites of TLS 1.3"] + page["suites of TLS 1.2"] == hello["suites"]
    assert page["key exchange, and keys of certificates beside RSA"] == hello["groups"]
    assert page["signatures"] == hello["signatures"]
