"""What is shown of the measurements: on a terminal, and in the README."""

from budgets import AGENT, ARMV7, BEFORE, BEFORE_COMMIT, CLIENT, EIGHT, FLOOR, MOSQUITTO, PAHO, ROWS, look_up

ARCHITECTURES = ("x86_64", "aarch64", "armv7", "armv6")
WORK = {"event", "together", "queue", "sensors", "beside", "text", "reconnect", "reconnect, TLS 1.2"}


def number(value, digits=0):
    """With thousands apart; a dash for nothing."""
    return "–" if value is None else f"{value:,.{digits}f}"


def shown(value, row):
    """A number of a row, with as many digits as mean something."""
    if value is None:
        return "–"
    whole = value == round(value) or value >= 100
    return number(value, 0 if whole else 3 if (row.budget or 1) < 1 else 2)


def table(title, head, rows):
    """Prints a table that Markdown understands too."""
    rows = [head, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    print(f"\n{title}\n")
    for index, row in enumerate(rows):
        print("| " + " | ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]) + " |")
        if index == 0:
            print("|" + "|".join("-" * (width + 2) if column == 0 else "-" * (width + 1) + ":"
                                 for column, width in enumerate(widths)) + "|")


def show(results):
    """All tables but the budgets. × is the ratio to Mote's line for the same job."""
    def cost(name, link, qos, kind, digits=0):
        value = look_up(results["event"], (name, link, qos, kind))
        if value is None:
            return "–"
        mine = look_up(results["event"], (CLIENT if link == "plain" else AGENT, link, qos, kind))
        is_compared = kind == "instructions" and mine and name in (MOSQUITTO, PAHO)
        return number(value, digits) + (f" (×{value / mine:.1f})" if is_compared else "")

    for link, title in (("plain", "Per event, plain"), ("tls", "Per event, TLS")):
        table(title, ["", "instructions QoS 0", "QoS 1", "system calls QoS 0", "QoS 1", "allocations QoS 0", "QoS 1"],
              [[name, *(cost(name, link, qos, kind, digits) for kind, digits in (
                  ("instructions", 0), ("system-calls", 2), ("allocations", 2)) for qos in "01")]
               for name in (CLIENT, AGENT, EIGHT, FLOOR, MOSQUITTO, PAHO) if link in results["event"][name]])
    table("Per event, plain, on armv7", ["", "instructions QoS 0"],
          [[name, cost(name, ARMV7, "0", "instructions")] for name in (AGENT, FLOOR)])
    table("Resident memory in KB", ["", "idle, plain", "highest", "idle, TLS", "highest"],
          [[name, *(number(links[link][field]) for link in ("plain", "tls") for field in ("Rss", "VmHWM"))]
           for name, links in results["memory"].items()])
    table("Start to first PUBLISH in ms", ["", "least", "median"],
          [[name, number(times["min"], 2), number(times["median"], 2)] for name, times in results["start"].items()])
    reconnects = [results[name] for name in ("reconnect", "reconnect, TLS 1.2")]
    table("Instructions of a TLS connection", ["", "full", "resumed", "1 in"],
          [*([f"Mote, {costs['version']}", number(costs["full"]), number(costs["resumed"]),
              number(1 / costs["share"], 1)] for costs in reconnects),
           [MOSQUITTO, number(reconnects[0][MOSQUITTO]), "–", "–"]])
    table("Size in KB, with TLS; the peers with their libraries", ["", "KB"],
          [[f"Mote {name}" if name in ARCHITECTURES else name, number(size / 1024)]
           for name, size in results["size"].items()])


def show_budgets(results, rows):
    """What was, what is, and what must be."""
    lines = []
    for row in rows:
        value = look_up(results, row.path)
        lines.append([f"{row.name}, {row.unit}" if row.unit else row.name, shown(row.before, row), shown(value, row),
                      shown(row.budget, row), shown(row.aim, row), row.verdict(value)])
    table(f"Budgets; instructions where nothing else is said; before: {BEFORE}, commit {BEFORE_COMMIT}",
          ["", "before", "now", "budget", "aim", ""], lines)


# MARK: The README


def markdown(head, rows):
    """A table as the README has it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("|" + "|".join(cell if index == 1 else f" {cell} " if cell else " " for cell in line) + "|"
                     for index, line in enumerate(lines))


def readme(results):
    """The README's tables of what `Scripts/bench` measures, as they stand there."""
    def costs(name, kind, digits=0):
        found = [look_up(results, ("event", name, "plain", qos, kind)) for qos in "01"]
        numbers = [number(value, 0 if value == round(value, 1) == round(value) else digits)
                   for value in found if value is not None]
        return " / ".join(numbers) or "–"

    def on_armv7(name):
        value = look_up(results, ("event", name, ARMV7, "0", "instructions"))
        return "" if value is None else number(value)

    def both(name, field):
        return " / ".join(number(look_up(results, ("memory", name, link, field))) for link in ("plain", "tls")) + " KB"

    def first_publish(name):
        value = look_up(results, ("start", name, "min"))
        return number(value, 0 if value and value >= 10 else 1) + " ms"

    events = markdown(
        ["plain, per event of 96 bytes, QoS 0 / QoS 1", "instructions on x86_64", "on armv7, QoS 0", "system calls",
         "heap allocations"],
        [[text, costs(name, "instructions"), on_armv7(name), costs(name, "system-calls", 1),
          costs(name, "allocations")]
         for name, text in (
             (CLIENT, "mote's MQTT client alone: send a ready payload"),
             (AGENT, "mote, whole event: three sensors read, scaled and written as JSON, then sent"),
             (EIGHT, "mote, one of eight events due together"),
             (FLOOR, "the same work in C, without an agent around it"),
             (MOSQUITTO, "`mosquitto_pub -l`: send a line"),
             (PAHO, "libpaho-mqtt: send a ready payload"))])
    memory = markdown(
        ["", "idle, plain / TLS", "highest, plain / TLS", "start to first PUBLISH"],
        [[text, both(name, "Rss"), both(name, "VmHWM"), first_publish(name)]
         for name, text in ((AGENT, "mote"), (MOSQUITTO, "`mosquitto_pub -l`"), (PAHO, "libpaho-mqtt"))])
    work = markdown(
        ["instructions, on x86_64 where nothing else is said", BEFORE, "now", "budget"],
        [[row.name, shown(row.before, row), shown(look_up(results, row.path), row), shown(row.budget, row)]
         for row in ROWS if row.path[0] in WORK and row.path[-1] not in ("allocations", "system-calls-beyond-reads")])
    sizes = markdown(
        ["", *ARCHITECTURES],
        [["the program with everything in it, KB (`Scripts/build --all`)", *(
            number(size / 1024 if (size := look_up(results, ("size", arch))) else None) for arch in ARCHITECTURES)]])
    return "\n\n".join((events, memory, work, sizes))
