// Events that local programs say: `publish EVENT [--qos N] NAME=VALUE…`, or `publish EVENT [--qos N] --json OBJECT`.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import JSON
import MQTT

extension EventCollector {
  /// Publishes the event that `request` says, with the QoS that the configuration has for it unless it says another.
  ///
  /// - Returns: what became of it.
  /// - Throws: what is wrong with it.
  mutating func push<H: HostClock & HostLog & ~Copyable>(
    _ request: Span<UInt8>, _ settings: borrowing Settings, _ clock: borrowing ClockFloor, _ outbox: inout Outbox,
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) throws(ControlOutcome) -> ControlOutcome {
    var words = RequestWords(of: request)
    _ = words.next(in: request)
    let name = request.extracting(words.next(in: request) ?? 0..<0)
    guard IdentityRules.isValidTopicName(name), !name.equals(Topics.commandOutcomeEvent) else { throw .eventName }
    var qos = QoS.atMostOnce
    var place = WaitingPlace(settings.queue.isConfigured ? .flash : .memory, priority: 1)
    for index in 0..<settings.events.count where settings.bytes(settings.events[index].name).equals(name) {
      qos = table.events[index].qos
      place = table.events[index].place
    }
    // Both are free between two events.
    sourceText.removeAll()
    sourceText.appendEventTopic(name: name)
    payload.removeAll()
    var envelope = EventEnvelope(into: &payload)
    try writeMembers(of: request, &words, &qos, into: &envelope)
    let time = clock.wallTime(&host)
    envelope.finish(at: time, using: &stamp, into: &payload)

    let waitingCount = outbox.waitingCount
    let before = outbox.counters
    let topic = TopicName(alreadyChecked: sourceText.span)
    guard outbox.publish(payload, on: topic, qos: qos, in: place, at: time, now, &log, &host) else { throw .busy }
    if outbox.counters.setAside > before.setAside { throw .tooLarge }
    if outbox.counters.skipped > before.skipped {
      throw !outbox.client.isConnected ? .notConnected : outbox.isReady(at: now) ? .busy : .rate
    }
    return outbox.waitingCount > waitingCount || !outbox.client.isConnected ? .queued : .sent
  }

  /// Writes what stands behind the event's name.
  private mutating func writeMembers(
    of request: Span<UInt8>, _ words: inout RequestWords, _ qos: inout QoS, into envelope: inout EventEnvelope
  ) throws(ControlOutcome) {
    var isWhole = false
    while let range = words.next(in: request) {
      let word = request.extracting(range)
      if word.equals("--qos") {
        let value = words.next(in: request) ?? 0..<0
        guard value.count == 1, let level = QoS(rawValue: request[value.lowerBound] &- UInt8(ascii: "0")) else {
          throw .qos
        }
        qos = level
      } else if isWhole {
        throw .unexpectedWord
      } else if word.equals("--json"), envelope.memberCount == 0 {
        let object = request.extracting(request.trimmed(words.rest(in: request) ?? 0..<0))
        guard object.isJSON(asObject: true) else { throw .notJSON }
        payload.append(object.extracting(1..<(object.count - 1)))
        isWhole = true
      } else {
        guard let end = word.firstIndex(of: UInt8(ascii: "=")),
          IdentityRules.isValidTopicName(word.extracting(0..<end))
        else { throw .memberName }
        envelope.name(word.extracting(0..<end), into: &payload)
        // A number, a truth value or a string as JSON has them goes out as it is, everything else as text.
        let value = word.extracting((end + 1)..<word.count)
        if value.isJSON(asObject: false) { payload.append(value) } else { payload.appendJSON(string: value) }
      }
    }
    guard isWhole || envelope.memberCount > 0 else { throw .noMember }
  }
}

extension Span where Element == UInt8 {
  /// Whether all of this, without blanks around it, is a JSON object; or else a string, a number or a truth value.
  @inline(never)
  fileprivate func isJSON(asObject isObject: Bool) -> Bool {
    var reader = JSONReader()
    do throws(JSONError) {
      guard count > 0, !self[0].isBlank, !self[count - 1].isBlank, let token = try reader.next(in: self) else {
        return false
      }
      switch token {
      case .beginObject: guard isObject else { return false }
      case .string, .number, .boolean: guard !isObject else { return false }
      default: return false
      }
      // Each turn reads at least a byte.
      while try reader.next(in: self) != nil {}
      return true
    } catch {
      return false
    }
  }
}
