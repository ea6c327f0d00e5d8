// The events and sensors of one configuration, with the state that belongs to them, in memory that a reload gives back
// whole.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import JSON
import MQTT
import Telemetry

/// Where something stands in a table's text.
struct TextRange: BitwiseCopyable {
  private let start: Int
  private let end: Int

  init(_ range: Range<Int>) {
    start = range.lowerBound
    end = range.upperBound
  }

  var range: Range<Int> { start..<end }
}

/// One configured event and where its collection stands.
struct EventEntry: BitwiseCopyable {
  /// Its topic.
  let topic: TextRange
  /// How it is published.
  let qos: QoS
  /// Where it waits for the network.
  let place: WaitingPlace
  /// Its sensors.
  let firstSensor: Int
  let sensorEnd: Int
  /// Whether any of them may have to be waited for, or is reported otherwise than as it is read: all that ordinary
  /// events have nothing to do with.
  let hasSlowSources: Bool
  /// The index of what decides whether it is reported when it is due; negative where it always is.
  let report: Int16
  /// When it is due.
  var schedule: Schedule
  /// When it was published last; `EventTable.unknown` before.
  var published = EventTable.unknown
  /// Set while slow sources are awaited: the moment at which those still missing are given up.
  var collectionDeadline: Instant?
  /// Meanwhile those in front of it have been asked for, and for the others there was no room.
  var firstUnasked = 0
  /// The one behind it in its chain.
  fileprivate(set) var following = EventChain.end
}

/// Events in the order in which they are due, and of the same moment in that of the configuration: whoever wants those
/// that are due need not look at any other.
struct EventChain: BitwiseCopyable {
  /// In place of an event where there is none.
  static var end: Int { -1 }

  fileprivate(set) var first = EventChain.end
  /// When the first is due.
  fileprivate(set) var due = Instant.never
  /// When one has to be looked at without news: those that wait for slow sources are, when their patience ends.
  fileprivate(set) var wake = Instant.never

  /// Has nobody look at it until it is noted anew.
  mutating func holdBack() {
    due = .never
    wake = .never
  }
}

/// One configured sensor.
struct SensorEntry: BitwiseCopyable {
  /// Its name and its field, as the settings have them.
  let name: Text
  let field: Text
  /// The host's index of its source; the same source serves several sensors with one reading.
  let source: Int
  /// Its member's name, as the envelope takes it.
  let memberName: TextRange
  /// How its value is made.
  var channel: Channel
  /// The last number, or 1 for true and 0 for false; a whole number of more than 18 digits has no more of them here.
  var value = Decimal(0)
  /// When its value was read, where that is not the moment at which its event was published last.
  var readAt = EventTable.unknown
  /// Why it failed last, and the last event before that.
  fileprivate(set) var failure: ReadFailure?
  /// The index of how it is reported; negative where that is as it is read.
  let report: Int16
  /// Its index in the settings, whose sensors are in another order.
  let setting: UInt16
}

/// The events and sensors of one configuration.
struct EventTable: ~Copyable {
  private let pinned = Pinned()
  var events: FixedArray<EventEntry>
  /// Event by event; those of one event that have the same source stand together.
  var sensors: FixedArray<SensorEntry>
  /// How those are reported of which the configuration says something about that.
  var reports: FixedArray<SensorReport>
  var filters: Filters
  /// What decides for those events that are not reported whenever they are due.
  var eventReports: FixedArray<EventReport>
  /// What messages are made of and never changes.
  private var text: ByteBuffer

  /// Before any moment that there is.
  static var unknown: Instant { Instant(milliseconds: .min) }

  /// Takes tables and text from `arena`. `sources` has the host's source index of each configured sensor, in their
  /// order. Every event is due at `now`, and from then on with the device's own phase.
  init(
    settings: borrowing Settings, sources: borrowing FixedArray<Int>, now: Instant, from arena: inout Arena
  ) throws(ArenaExhausted) {
    precondition(sources.count == settings.sensors.count)
    events = FixedArray(capacity: settings.events.count, for: "events", in: &arena)
    sensors = FixedArray(capacity: settings.sensors.count, for: "sensors", in: &arena)
    reports = FixedArray(capacity: settings.reports.count, for: "sensors", in: &arena)
    filters = Filters(filterNeeds(of: settings), in: &arena)
    eventReports = FixedArray(capacity: eventReportCount(of: settings), for: "events", in: &arena)
    text = ByteBuffer(capacity: textBytes(of: settings), for: "events", in: &arena)
    var order = SensorOrder(settings: settings, sources: sources, in: &arena)
    try arena.check()
    makeReports(settings)
    let phase = settings.agent.align ? 0 : phase(of: settings)
    for index in 0..<settings.events.count {
      let firstSensor = sensors.count
      var hasSlowSources = settings.events[index].hasUnits
      while let sensor = order.next(ofEvent: index) {
        if mayTakeTime(settings.sensors[sensor].kind) || settings.sensors[sensor].report >= 0 { hasSlowSources = true }
        _ = sensors.append(entry(ofSensor: sensor, source: sources[sensor], settings, &text))
      }
      let start = text.count
      text.appendEventTopic(name: settings.bytes(settings.events[index].name))
      _ = events.append(
        EventEntry(
          topic: TextRange(start..<text.count), qos: QoS(rawValue: settings.events[index].qos) ?? .atLeastOnce,
          place: WaitingPlace(settings.events[index].keeping, priority: settings.events[index].priority),
          firstSensor: firstSensor, sensorEnd: sensors.count, hasSlowSources: hasSlowSources,
          report: makeEventReport(index, settings, now, phase),
          schedule: Schedule(interval: readingInterval(of: settings.events[index]), startingAt: now, phase: phase),
          collectionDeadline: nil))
    }
    precondition(sensors.count == settings.sensors.count && !text.hasOverflowed)
  }

  /// Adds `event`, which is in no chain, at the place that its due moment gives it, which is looked for from `hint` on
  /// where that is an event in front of it.
  @inline(never)  // small code: this is called from several places
  mutating func place(_ event: Int, in chain: inout EventChain, from hint: Int) {
    var before = EventChain.end
    var after = chain.first
    if hint >= 0, comesBefore(hint, event) {
      before = hint
      after = events[hint].following
    }
    while after >= 0, comesBefore(after, event) {
      before = after
      after = events[after].following
    }
    events[event].following = after
    link(event, behind: before, in: &chain)
  }

  /// Has `event` follow `previous`, or be the first where that is none.
  mutating func link(_ event: Int, behind previous: Int, in chain: inout EventChain) {
    if previous >= 0 { events[previous].following = event } else { chain.first = event }
  }

  private func comesBefore(_ left: Int, _ right: Int) -> Bool {
    let (leftDue, rightDue) = (events[left].schedule.due, events[right].schedule.due)
    return leftDue < rightDue || (leftDue == rightDue && left < right)
  }

  /// Notes when a chain is next to be looked at, from those that wait at its front and the one behind them.
  mutating func noteNext(of chain: inout EventChain) {
    chain.due = chain.first >= 0 ? events[chain.first].schedule.due : .never
    chain.wake = .never
    var event = chain.first
    while event >= 0 {
      guard let deadline = events[event].collectionDeadline else {
        chain.wake = min(chain.wake, events[event].schedule.due)
        return
      }
      chain.wake = min(chain.wake, deadline)
      event = events[event].following
    }
  }

  /// The bytes of one of this table's texts.
  @_lifetime(borrow self)
  @inline(__always)
  func bytes(_ range: TextRange) -> Span<UInt8> {
    let span = text.span.extractingInline(range.range)
    return _overrideLifetime(span, borrowing: self)
  }

  /// Writes the member of a sensor whose source said `text`, with numbers times ten to the power of `exponent`; gives
  /// the reason where it has no value.
  @inline(__always)
  mutating func writeMember(
    _ index: Int, from text: borrowing ByteBuffer, _ exponent: Int, to envelope: inout EventEnvelope,
    into payload: inout ByteBuffer, _ settings: borrowing Settings
  ) -> ReadFailure? {
    let field = sensors[index].field
    let reading = sensors[index].channel.interpret(
      text.span, field: field.isEmpty ? Span() : settings.bytes(field), exponent: exponent)
    if case .failed(let failure) = reading { return failure }
    envelope.name(prepared: bytes(sensors[index].memberName), into: &payload)
    switch reading {
    case .number(let value):
      payload.append(value)
      sensors[index].value = value
    case .counter(let value):
      payload.append(decimal: value)
      sensors[index].value = Decimal(significand: Int64(value / 10), exponent: 1) ?? Decimal(0)
    case .boolean(let value):
      payload.append(value ? "true" : "false")
      sensors[index].value = Decimal(value ? 1 : 0)
    case .text(let range, let isCut):
      payload.append(UInt8(ascii: "\""))
      payload.appendJSON(insideString: text.span.extracting(range))
      if isCut { payload.append(ChannelLimits.cutMark) }
      payload.append(UInt8(ascii: "\""))
    case .failed: break
    }
    return nil
  }
}

extension EventTable {
  /// A sensor of `event` begins to fail, or has a value again.
  @inline(never)  // beside the events in which nothing changes
  mutating func noteChange(ofSensor index: Int, of event: Int, _ failure: ReadFailure?) {
    guard let failure else { return }
    sensors[index].failure = failure
    if !events[event].hasSlowSources { sensors[index].readAt = events[event].published }
  }

  /// The word for why a sensor failed last; empty where it never has.
  @_lifetime(immortal)
  func failureName(ofSensor index: Int) -> Span<UInt8> {
    guard let failure = sensors[index].failure else { return Span() }
    return failure.name.bytes
  }

  /// When the value of a sensor of `event` was read; `unknown` where it has none.
  func readingTime(ofSensor index: Int, of event: Int) -> Instant {
    let isEvents = !events[event].hasSlowSources && !sensors[index].channel.isFailing
    return isEvents ? events[event].published : sensors[index].readAt
  }

  /// Writes the age of the value that was written last, in seconds: `,"NAME-age":1.250`.
  func writeAge(_ age: TimeSpan, ofSensor index: Int, into payload: inout ByteBuffer, _ settings: borrowing Settings) {
    payload.append(",\"")
    payload.append(settings.bytes(sensors[index].name))
    payload.append("-age\":")
    if let seconds = Decimal(significand: age.milliseconds, exponent: -3) { payload.append(seconds) }
  }
}

/// The order in which sensors are read: by event, and within it those that get their values from one reading together,
/// as a slow source has one answer for each event and is not asked again in the middle of it.
///
/// Sorted, for comparing each of two hundred sensors with each other takes a second on a slow board.
private struct SensorOrder: ~Copyable {
  /// Of each sensor its event, then what it is ordered by within that, and its own index, 16 bits each.
  private var keys: FixedArray<UInt64>
  private var position = 0

  init(
    settings: borrowing Settings, sources: borrowing FixedArray<Int>, in arena: inout Arena
  ) {
    keys = FixedArray(capacity: settings.sensors.count, for: "sensors", in: &arena)
    for index in 0..<settings.sensors.count {
      _ = keys.append(key(event: settings.sensors[index].event, place: sources[index], sensor: index))
    }
    sort()
    // Those of one source are together now. They go where the first of them stands in the configuration.
    var group = UInt64.max
    var first = 0
    for index in 0..<keys.count {
      let sensor = Int(keys[index] & 0xFFFF)
      if keys[index] >> 16 != group { first = sensor }
      group = keys[index] >> 16
      keys[index] = key(event: settings.sensors[sensor].event, place: first, sensor: sensor)
    }
    sort()
  }

  /// The next sensor of `event`; nil when there is no more of it. To be asked for the events in their order.
  mutating func next(ofEvent event: Int) -> Int? {
    guard position < keys.count, keys[position] >> 32 == UInt64(event) else { return nil }
    position += 1
    return Int(keys[position - 1] & 0xFFFF)
  }

  /// Heapsort: in place, and never slower than n log n.
  private mutating func sort() {
    for root in stride(from: keys.count / 2 - 1, through: 0, by: -1) { sink(root, below: keys.count) }
    for end in stride(from: keys.count - 1, to: 0, by: -1) {
      let largest = keys[0]
      keys[0] = keys[end]
      keys[end] = largest
      sink(0, below: end)
    }
  }

  private mutating func sink(_ start: Int, below end: Int) {
    var root = start
    while 2 * root + 1 < end {
      var child = 2 * root + 1
      if child + 1 < end, keys[child + 1] > keys[child] { child += 1 }
      guard keys[child] > keys[root] else { return }
      let smaller = keys[root]
      keys[root] = keys[child]
      keys[child] = smaller
      root = child
    }
  }
}

private func key(event: Int, place: Int, sensor: Int) -> UInt64 {
  precondition(max(max(event, place), sensor) <= Int(UInt16.max))
  return UInt64(event) << 32 | UInt64(place) << 16 | UInt64(sensor)
}

/// The phase of a device's schedules in milliseconds, within the longest interval: from its identity, so that it is the
/// same at each start, and those of many devices are spread evenly.
private func phase(of settings: borrowing Settings) -> UInt32 {
  var sum = CRC32C()
  sum.add(settings.bytes(settings.identity.organization))
  sum.add(settings.bytes(settings.identity.type))
  sum.add(settings.bytes(settings.identity.id))
  return sum.value % 604_800_000
}

/// Whether reading a source of `kind` may take longer than a look at it.
private func mayTakeTime(_ kind: SourceKind) -> Bool {
  switch kind.description.reading {
  case .inLoop, .byLine, .fromArgument: false
  case .byBus, .byChild, .fileSystemByChild: true
  }
}

/// How much text a table needs. Names are of `A-Z a-z 0-9 - _ .`, so JSON needs no escapes.
private func textBytes(of settings: borrowing Settings) -> Int {
  var byteCount = settings.events.count * Topics.eventTopicBytesMax
  for index in 0..<settings.sensors.count { byteCount += settings.sensors[index].name.count + 4 }
  return byteCount
}

private func entry(
  ofSensor index: Int, source: Int, _ settings: borrowing Settings, _ text: inout ByteBuffer
) -> SensorEntry {
  let start = text.count
  text.appendMember(name: settings.bytes(settings.sensors[index].name))
  return SensorEntry(
    name: settings.sensors[index].name, field: settings.sensors[index].field, source: source,
    memberName: TextRange(start..<text.count),
    channel: Plan.channel(ofSensor: index, in: settings), report: settings.sensors[index].report,
    setting: UInt16(index))
}

/// What a sensor takes from its source. The configuration has been checked, so an unknown argument cannot come here; if
/// it did, the first number would be tried and its failure logged.
func quantity(ofSensor index: Int, in settings: borrowing Settings) -> Quantity {
  switch settings.sensors[index].valueType {
  case .text: return .text
  case .boolean: return .boolean
  case .number:
    let argument = settings.bytes(settings.sensors[index].argument)
    let hasField = !settings.sensors[index].field.isEmpty
    return Quantity.number(of: settings.sensors[index].kind, argument: argument, hasField: hasField) ?? .onlyNumber
  }
}
