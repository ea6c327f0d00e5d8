// `status`: all that the running agent knows of itself, for a person or a program.

import AgentConfiguration
import Bytes
import HostInterface
import MQTT
import Spool
import Telemetry

extension Control {
  /// Writes as much of a status as there is room for: a piece for each row of the tables, and one for what is in front
  /// of each of them and behind the last.
  mutating func writeStatus<H: HostLinks & HostControl & ~Copyable>(
    _ uplink: borrowing Uplink, _ outbox: borrowing Outbox, _ events: borrowing EventCollector,
    _ commands: borrowing CommandRunner, _ management: borrowing Management, _ watchdogs: Watchdogs,
    _ settings: borrowing Settings, _ now: Instant, _ host: inout H
  ) {
    if piece == 0 {
      guard readFlag() else { return finish(.unexpectedWord) }
      writeAgent(uplink, outbox, commands, management, watchdogs, settings, now, &host)
      writeSubscriptions(uplink)
      piece = 1
    }
    while !isComplete, answer.freeCount >= ControlLimits.rowBytesMax {
      let sensor = piece - settings.events.count - 3
      if sensor == settings.sensors.count {
        if isJSON { answer.append("]}\n") }
        finish(uplink.isOnline ? .ok : .notConnected)
      } else if sensor >= -1 {
        writeSensor(sensor, events, settings, now)
      } else {
        writeEvent(piece - 2, events, settings, now)
      }
      piece += 1
    }
  }

  /// Whether nothing else than `--json` is behind the verb.
  private mutating func readFlag() -> Bool {
    var words = RequestWords(of: request)
    _ = words.next(in: request)
    guard let word = words.next(in: request) else { return true }
    isJSON = request.extracting(word).equals("--json")
    return isJSON && words.next(in: request) == nil
  }

  @inline(never)
  private mutating func writeAgent<H: HostLinks & HostControl & ~Copyable>(
    _ uplink: borrowing Uplink, _ outbox: borrowing Outbox, _ commands: borrowing CommandRunner,
    _ management: borrowing Management, _ watchdogs: Watchdogs, _ settings: borrowing Settings, _ now: Instant,
    _ host: inout H
  ) {
    let process = host.ownProcess()
    var writer = AnswerWriter(
      isJSON ? .json : .lines,
      WordList(
        """
        connection|since|client|server|port|tls|link|attempts|last-end|connections|management|queued|inflight|published\
        |skipped|dropped|unsendable|on-flash|flash-bytes|flash-delivered|flash-dropped|flash-expired|flash-damaged\
        |flash-abandoned|flash-errors|commands|watchdog|watchdog-errors|version|process|uptime|memory
        """))
    writer.text(uplink.stateName.bytes, to: &answer)
    writer.span(now - uplink.changedAt, to: &answer)
    if writer.begin(&answer) {
      if isJSON { answer.append(UInt8(ascii: "\"")) }
      answer.appendClientIdentifier(of: settings)
      if isJSON { answer.append(UInt8(ascii: "\"")) }
      writer.end(&answer)
    }
    writer.text(settings.bytes(settings.server.host), to: &answer)
    writer.number(UInt64(settings.server.port), to: &answer)
    writer.flag(settings.server.tls, to: &answer)
    // Behind the request is room.
    let end = line.count
    host.describeLink(.message, into: &line)
    writer.text(line, from: end + 1, to: &answer)
    line.truncate(to: end)
    writer.number(UInt64(uplink.attempts), to: &answer)
    writer.text(uplink.lastEnd, to: &answer)
    writer.number(uplink.connectionCount, to: &answer)
    writer.text(management.stateName.bytes, to: &answer)
    writer.number(UInt64(outbox.waitingCount), to: &answer)
    writer.number(UInt64(outbox.client.inflightCount), to: &answer)
    writer.number(outbox.counters.messages, to: &answer)
    writer.number(outbox.counters.skipped, to: &answer)
    writer.number(outbox.droppedCount, to: &answer)
    writer.number(outbox.counters.setAside, to: &answer)
    writer.number(outbox.flash.storedCount, to: &answer)
    writer.size(outbox.flash.isActive ? outbox.flash.byteCount : 0, to: &answer)
    for index in 0..<FlashCounts.messageWordCount { writer.number(outbox.flash.counts[index], to: &answer) }
    writer.number(outbox.flash.failureCount, to: &answer)
    writer.number(commands.count, to: &answer)
    writer.text(watchdogs.stateName(settings).bytes, to: &answer)
    writer.number(UInt64(watchdogs.errorCount), to: &answer)
    if writer.begin(&answer) {
      if isJSON { answer.append(UInt8(ascii: "\"")) }
      host.appendVersion(to: &answer)
      if isJSON { answer.append(UInt8(ascii: "\"")) }
      writer.end(&answer)
    }
    writer.number(UInt64(process.identifier), to: &answer)
    writer.span(now - startedAt, to: &answer)
    writer.size(process.residentBytes, to: &answer)
  }

  @inline(never)
  private mutating func writeSubscriptions(_ uplink: borrowing Uplink) {
    for index in -1..<uplink.subscriptions.count {
      var writer = beginRow(index, ",\"subscriptions\":[", "subscription|state")
      guard !isJSON || index >= 0 else { continue }
      writer.text(uplink.subscriptions.filter(max(index, 0)).bytes, to: &answer)
      writer.text(uplink.subscriptions.stateName(max(index, 0)).bytes, to: &answer)
      writer.finish(&answer)
    }
  }

  @inline(never)
  private mutating func writeEvent(
    _ index: Int, _ events: borrowing EventCollector, _ settings: borrowing Settings, _ now: Instant
  ) {
    var writer = beginRow(index, "],\"events\":[", "event|qos|interval|last")
    guard isJSON ? index >= 0 : settings.events.count > 0 else { return }
    let event = max(index, 0)
    writer.text(settings.bytes(settings.events[event].name), to: &answer)
    writer.number(UInt64(settings.events[event].qos), to: &answer)
    writer.span(events.table.interval(of: event), to: &answer)
    writeAge(of: events.table.events[event].published, &writer, now)
    writer.finish(&answer)
  }

  @inline(never)
  private mutating func writeSensor(
    _ index: Int, _ events: borrowing EventCollector, _ settings: borrowing Settings, _ now: Instant
  ) {
    var writer = beginRow(index, "],\"sensors\":[", "sensor|event|value|unit|age|failing|failure")
    guard isJSON ? index >= 0 : settings.sensors.count > 0 else { return }
    // Each member is asked for by itself: a sensor's settings are many words.
    let sensor = max(index, 0)
    let event = settings.sensors[sensor].event
    // In the table they stand in another order.
    var entry = events.table.events[event].firstSensor
    while events.table.sensors[entry].name != settings.sensors[sensor].name { entry += 1 }
    let readAt = events.table.readingTime(ofSensor: entry, of: event)
    let type = settings.sensors[sensor].valueType
    writer.text(settings.bytes(settings.sensors[sensor].name), to: &answer)
    writer.text(settings.bytes(settings.events[event].name), to: &answer)
    let value = events.table.sensors[entry].value
    if readAt == EventTable.unknown || type == .text {
      writer.text(Span(), to: &answer)
    } else {
      if writer.begin(&answer) {
        if type == .number { answer.append(value) } else { answer.append(value.significand == 0 ? "false" : "true") }
      }
      writer.end(&answer)
    }
    writer.text(settings.unit(ofSensor: sensor), to: &answer)
    writeAge(of: readAt, &writer, now)
    writer.flag(events.table.sensors[entry].channel.isFailing, to: &answer)
    writer.text(events.table.failureName(ofSensor: entry), to: &answer)
    writer.finish(&answer)
  }

  /// How long ago something was that may never have been.
  @inline(never)
  private mutating func writeAge(of moment: Instant, _ writer: inout AnswerWriter, _ now: Instant) {
    if moment == EventTable.unknown { return writer.text(Span(), to: &answer) }
    writer.span(now - moment, to: &answer)
  }

  /// Begins the row `index` of a table, or its heading where that is -1.
  @inline(never)
  private mutating func beginRow(_ index: Int, _ words: StaticString, _ keys: StaticString) -> AnswerWriter {
    if index < 0 {
      answer.append(isJSON ? words : "\n")
    } else if isJSON {
      answer.append(index > 0 ? ",\n" : "\n")
    }
    return AnswerWriter(isJSON ? .json : index < 0 ? .heading : .row, WordList(keys))
  }
}
