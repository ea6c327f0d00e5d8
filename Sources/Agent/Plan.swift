// What one configuration asks for, with the state that belongs to it. A reload replaces the plan and keeps the rest.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import Telemetry

/// Where something stands in a plan's text.
struct PlanText: BitwiseCopyable {
  private let start: Int
  private let end: Int

  init(_ range: Range<Int>) {
    start = range.lowerBound
    end = range.upperBound
  }

  var range: Range<Int> { start..<end }
}

/// One configured event and where its collection stands.
struct EventPlan: BitwiseCopyable {
  /// Its topic.
  let topic: PlanText
  /// When it is due.
  var schedule: Schedule
  /// Set while slow sources are awaited: the moment at which those still missing are given up.
  var collectionDeadline: Instant?
}

/// One configured sensor.
struct SensorPlan: BitwiseCopyable {
  /// Its name and its field, as the settings have them.
  let name: Text
  let field: Text
  /// The event it belongs to.
  let event: Int
  /// The host's index of its source; the same source serves several sensors with one reading.
  let source: Int
  /// Its member's name, as the envelope takes it.
  let memberName: PlanText
  /// How its value is made.
  var channel: Channel
}

/// A configuration at work: settings, schedules and channels, in memory of their own that a reload gives back whole.
public struct Plan: ~Copyable {
  private let pinned = Pinned()
  /// The settings that it was made from.
  public let settings: Settings
  var events: FixedArray<EventPlan>
  /// In the order of the settings, but those of one event that have the same source stand together.
  var sensors: FixedArray<SensorPlan>
  /// What messages are made of and never changes.
  let text: ByteBuffer
  /// The topic of the event that reports the outcome of a command.
  let outcomeTopic: PlanText

  /// Takes tables and text for the events and sensors of `settings` from `arena`.
  ///
  /// `sources` has the host's source index of each configured sensor, in their order. Every event is due at `now`.
  public init(
    settings: consuming Settings, sources: borrowing FixedArray<Int>, now: Instant, from arena: inout Arena
  ) throws(ArenaExhausted) {
    precondition(sources.count == settings.sensors.count)
    var events = try FixedArray<EventPlan>(capacity: settings.events.count, for: "events", from: &arena)
    var sensors = try FixedArray<SensorPlan>(capacity: settings.sensors.count, for: "sensors", from: &arena)
    var text = try ByteBuffer(capacity: textBytes(of: settings), for: "events", from: &arena)
    text.appendEventTopic(name: Topics.commandOutcomeEvent.bytes)
    let outcomeTopic = PlanText(0..<text.count)
    for index in 0..<settings.events.count {
      let start = text.count
      text.appendEventTopic(name: settings.bytes(settings.events[index].name))
      let schedule = Schedule(interval: settings.events[index].interval, startingAt: now)
      _ = events.append(EventPlan(topic: PlanText(start..<text.count), schedule: schedule, collectionDeadline: nil))
    }
    for first in 0..<settings.sensors.count where readsFirst(first, of: settings, sources) {
      for index in first..<settings.sensors.count where sharesReading(index, first, of: settings, sources) {
        let sensor = settings.sensors[index]
        let start = text.count
        text.appendMember(name: settings.bytes(sensor.name))
        let plan = SensorPlan(
          name: sensor.name, field: sensor.field, event: sensor.event, source: sources[index],
          memberName: PlanText(start..<text.count), channel: channel(of: sensor, in: settings))
        _ = sensors.append(plan)
      }
    }
    self.events = events
    self.sensors = sensors
    self.text = text
    self.outcomeTopic = outcomeTopic
    self.settings = settings
  }
}

/// How much text a plan needs. Names are of `A-Z a-z 0-9 - _ .`, so JSON needs no escapes.
private func textBytes(of settings: borrowing Settings) -> Int {
  var byteCount = (1 + settings.events.count) * Topics.eventTopicBytesMax
  for index in 0..<settings.sensors.count { byteCount += settings.sensors[index].name.count + 4 }
  return byteCount
}

/// Whether two sensors get their values from one reading: a slow source has one answer for each event, and is not asked
/// again in the middle of it.
private func sharesReading(
  _ index: Int, _ other: Int, of settings: borrowing Settings, _ sources: borrowing FixedArray<Int>
) -> Bool {
  sources[index] == sources[other] && settings.sensors[index].event == settings.sensors[other].event
}

/// Whether no sensor before this one shares its reading.
private func readsFirst(_ index: Int, of settings: borrowing Settings, _ sources: borrowing FixedArray<Int>) -> Bool {
  for earlier in 0..<index where sharesReading(earlier, index, of: settings, sources) { return false }
  return true
}

private func channel(of sensor: SensorSettings, in settings: borrowing Settings) -> Channel {
  Channel(
    quantity: quantity(of: sensor, in: settings), offset: sensor.offset, scale: sensor.scale,
    fractionDigits: sensor.decimals)
}

/// What a sensor takes from its source. The configuration has been checked, so an unknown argument cannot come here; if
/// it did, the first number would be tried and its failure logged.
private func quantity(of sensor: SensorSettings, in settings: borrowing Settings) -> Quantity {
  switch sensor.valueType {
  case .text: return .text
  case .boolean: return .boolean
  case .number:
    return Quantity.number(
      of: sensor.kind, argument: settings.bytes(sensor.argument), hasField: sensor.field.count > 0) ?? .firstNumber
  }
}
