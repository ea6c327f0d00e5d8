// Sensors that are reported otherwise than as they are read.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import JSON
import Telemetry

/// How a sensor is reported, and where that stands.
struct SensorReport: BitwiseCopyable {
  /// The steps of its filter; none where both are the same.
  let firstStep: Int16
  let stepEnd: Int16
  /// Digits kept behind the point; nil keeps all.
  let fractionDigits: Int?
  /// How far its value has to move for an event; nil where it goes with the others.
  let deadband: Deadband?
  /// What is made of several readings; how many there were since the last event, and what they have come to.
  let aggregate: Aggregate
  var count: Int64 = 0
  var total = Decimal(0)
  /// Its alarm's bounds, and on which side it is: 1 too high, -1 too low.
  let alarm: AlarmBounds?
  var side: Int8 = 0
  /// How old the value may become; zero where that is not told.
  let stale: TimeSpan
  var isStale = false
  /// The last value that was there to be reported.
  var value = Decimal(0)
  /// The value that was reported last, and whether there was one.
  var reported = Decimal(0)
  var isReported = false
}

/// When an event is reported, and where that stands.
struct EventReport: BitwiseCopyable {
  /// Whether it is only when one of its sensors has moved.
  let isByException: Bool
  /// When it is, where its sensors are read more often.
  var window: Schedule?
  /// The longest and the shortest time between two of them; zero for none.
  let heartbeat: TimeSpan
  let minInterval: TimeSpan
  /// Whether somebody has asked for it.
  var isForced = false
}

/// How many events are not reported whenever they are due.
func eventReportCount(of settings: borrowing Settings) -> Int {
  var count = 0
  for index in 0..<settings.events.count where settings.hasReport(index) { count += 1 }
  return count
}

/// The time between two readings of an event's sensors.
func readingInterval(of event: EventSettings) -> TimeSpan { event.sample > .zero ? event.sample : event.interval }

/// What the filters of a configuration need.
func filterNeeds(of settings: borrowing Settings) -> FilterNeeds {
  var needs = FilterNeeds()
  for index in 0..<settings.reports.count { needs.add(settings.bytes(settings.reports[index].filter)) }
  return needs
}

extension EventTable {
  /// Makes what the settings say of how sensors are reported.
  @inline(never)  // once for each configuration
  mutating func makeReports(_ settings: borrowing Settings) {
    // They are in the order of their sensors.
    for index in 0..<settings.sensors.count where settings.sensors[index].report >= 0 {
      let firstStep = Int16(filters.stepCount)
      let report = settings.reports[reports.count]
      filters.append(settings.bytes(report.filter))
      _ = reports.append(
        SensorReport(
          firstStep: firstStep, stepEnd: Int16(filters.stepCount), fractionDigits: settings.sensors[index].decimals,
          deadband: Deadband(parsing: settings.bytes(report.deadband)), aggregate: report.aggregate,
          alarm: AlarmBounds(parsing: settings.bytes(report.alarm)), stale: report.stale))
    }
  }

  /// Makes what decides whether an event is reported; gives its index, which is negative where it always is.
  mutating func makeEventReport(
    _ event: Int, _ settings: borrowing Settings, _ now: Instant, _ phase: UInt32
  ) -> Int16 {
    guard settings.hasReport(event) else { return -1 }
    let isSampled = settings.events[event].sample > .zero
    _ = eventReports.append(
      EventReport(
        isByException: settings.isByException(event),
        window: isSampled
          ? Schedule(interval: settings.events[event].interval, startingAt: now, phase: phase) : nil,
        heartbeat: settings.events[event].heartbeat, minInterval: settings.events[event].minInterval))
    return Int16(eventReports.count - 1)
  }

  // MARK: By exception

  /// Has an event reported the next time, whatever its values are.
  mutating func force(_ event: Int) {
    if events[event].report >= 0 { eventReports[Int(events[event].report)].isForced = true }
  }

  /// Changes the time between two reports of an event; its sensors are not read less often than that.
  mutating func setInterval(_ interval: TimeSpan, of event: Int, _ now: Instant) {
    let report = Int(events[event].report)
    guard report >= 0, eventReports[report].window != nil else {
      return events[event].schedule.setInterval(interval, now: now)
    }
    eventReports[report].window?.setInterval(interval, now: now)
    if interval < events[event].schedule.interval { events[event].schedule.setInterval(interval, now: now) }
  }

  /// The time between two reports of an event.
  func interval(of event: Int) -> TimeSpan {
    let report = Int(events[event].report)
    let window = report >= 0 ? eventReports[report].window : nil
    return window?.interval ?? events[event].schedule.interval
  }

  /// What an event has been read for is over, where its time has come: what its sensors are read for now is the next.
  @inline(never)  // beside the events that always are
  mutating func endWindow(_ event: Int, at now: Instant) {
    let report = Int(events[event].report)
    guard report >= 0 else { return }
    if let window = eventReports[report].window {
      guard window.due <= now else { return }
      eventReports[report].window?.advance(past: now)
    }
    for index in events[event].firstSensor..<events[event].sensorEnd where sensors[index].report >= 0 {
      reports[Int(sensors[index].report)].count = 0
    }
  }

  /// Whether an event that has been read is to be reported: its time has come, and it has not been so yet or for long,
  /// or one of its sensors has moved far enough from what was reported, which is never what was passed over, so that a
  /// slow drift is not missed. Looks at each of its sensors.
  @inline(never)  // beside the events that always are
  func isWorthReporting(_ event: Int, at now: Instant) -> Bool {
    guard events[event].report >= 0 else { return true }
    let report = eventReports[Int(events[event].report)]
    if report.isForced { return true }
    if let window = report.window, now < window.due { return false }
    guard report.isByException, events[event].published != EventTable.unknown else { return true }
    let passed = now - events[event].published
    if report.heartbeat > .zero, passed >= report.heartbeat { return true }
    // What has moved meanwhile is compared again when this time is over.
    guard passed >= report.minInterval else { return false }
    for index in events[event].firstSensor..<events[event].sensorEnd where sensors[index].report >= 0 {
      let sensor = reports[Int(sensors[index].report)]
      guard let deadband = sensor.deadband else { continue }
      let hasValue = !sensors[index].channel.isFailing && sensors[index].readAt != EventTable.unknown
      if hasValue != sensor.isReported { return true }
      if hasValue, deadband.isExceeded(from: sensor.reported, to: sensors[index].value) { return true }
    }
    return false
  }

  /// An event has been handed over.
  @inline(never)  // beside the events that always are
  mutating func noteReported(_ event: Int, at now: Instant) {
    guard events[event].report >= 0 else { return }
    eventReports[Int(events[event].report)].isForced = false
    endWindow(event, at: now)
    for index in events[event].firstSensor..<events[event].sensorEnd where sensors[index].report >= 0 {
      let report = Int(sensors[index].report)
      reports[report].reported = sensors[index].value
      reports[report].isReported = !sensors[index].channel.isFailing && sensors[index].readAt != EventTable.unknown
    }
  }

  /// Takes the number or truth value of a sensor, which is at the end of `payload`, and puts in its place what is to be
  /// reported.
  ///
  /// - Returns: false where that is nothing.
  /// - Throws: why there is no value.
  mutating func refine(
    _ index: Int, of event: Int, _ readAt: Instant, _ payload: inout ByteBuffer
  ) throws(ReadFailure) -> Bool {
    let report = Int(sensors[index].report)
    let (firstStep, stepEnd) = (Int(reports[report].firstStep), Int(reports[report].stepEnd))
    let read = sensors[index].value
    // What was there before still holds where nothing comes out.
    sensors[index].value = reports[report].value
    guard let value = try filters.apply(read, from: firstStep, to: stepEnd, at: readAt) else { return false }
    let side = reports[report].alarm?.side(of: value, after: reports[report].side) ?? 0
    if side != reports[report].side || reports[report].isStale { force(event) }
    reports[report].side = side
    reports[report].isStale = false
    guard reports[report].take(value) else { throw .outOfRange }
    payload.truncate(to: valueStart(in: payload))
    write(reports[report].result, index, &payload)
    return true
  }

  /// Writes the value of a sensor with the digits that it is to have.
  @inline(never)  // small code: this is called from several places
  private mutating func write(_ whole: Decimal, _ index: Int, _ payload: inout ByteBuffer) {
    let report = Int(sensors[index].report)
    let value = reports[report].fractionDigits.map { whole.rounded(toFractionDigits: $0) } ?? whole
    sensors[index].value = value
    reports[report].value = value
    if sensors[index].channel.quantity == .boolean {
      payload.append(value.significand == 0 ? "false" : "true")
    } else {
      payload.append(value)
    }
  }

  /// Writes what is told of a sensor that has no value now: what was read of it since the last event, or its last value
  /// with its age, or that this has become too old.
  mutating func writeHeld(
    _ index: Int, of event: Int, _ now: Instant, _ envelope: inout EventEnvelope, _ payload: inout ByteBuffer,
    _ settings: borrowing Settings
  ) {
    let report = Int(sensors[index].report)
    let readAt = sensors[index].readAt
    if reports[report].aggregate != .last, reports[report].count > 0 {
      envelope.name(prepared: bytes(sensors[index].memberName), into: &payload)
      return write(reports[report].result, index, &payload)
    }
    guard reports[report].stale > .zero, readAt != EventTable.unknown else { return }
    let age = now - readAt
    if age < reports[report].stale {
      envelope.name(prepared: bytes(sensors[index].memberName), into: &payload)
      write(reports[report].value, index, &payload)
    } else {
      if !reports[report].isStale { force(event) }
      reports[report].isStale = true
      appendMember(index, "-quality", text: StaticString("stale").bytes, &envelope, &payload)
    }
    writeAge(age, ofSensor: index, into: &payload, settings)
  }

  /// Writes on which side of its bounds a sensor is: `"NAME-alarm":"high"`.
  mutating func writeAlarm(
    _ index: Int, _ envelope: inout EventEnvelope, _ payload: inout ByteBuffer
  ) {
    let report = reports[Int(sensors[index].report)]
    guard report.alarm != nil, sensors[index].readAt != EventTable.unknown else { return }
    let word: StaticString = report.side == 0 ? "none" : report.side > 0 ? "high" : "low"
    appendMember(index, "-alarm", text: word.bytes, &envelope, &payload)
  }

  /// Writes what a sensor is measured in, where that is known: `"NAME-unit":"°C"`.
  func writeUnit(
    _ index: Int, _ envelope: inout EventEnvelope, _ payload: inout ByteBuffer, _ settings: borrowing Settings
  ) {
    let unit = settings.unit(ofSensor: Int(sensors[index].setting))
    if !unit.isEmpty { appendMember(index, "-unit", text: unit, &envelope, &payload) }
  }

  /// Writes a member of text that is named after a sensor.
  @inline(never)  // small code
  private func appendMember(
    _ index: Int, _ suffix: StaticString, text: Span<UInt8>, _ envelope: inout EventEnvelope,
    _ payload: inout ByteBuffer
  ) {
    envelope.name(prepared: bytes(sensors[index].memberName), into: &payload)
    payload.truncate(to: payload.count - 2)
    payload.append(suffix)
    payload.append("\":")
    payload.appendJSON(string: text)
  }

  /// Where the value of the last member begins, which is a number or a truth value.
  private func valueStart(in payload: borrowing ByteBuffer) -> Int {
    (payload.span.lastIndex(of: UInt8(ascii: ":")) ?? 0) + 1
  }

  /// Takes back the member of a sensor, the last one, whose value is a number or a truth value.
  func takeBack(_ index: Int, _ envelope: inout EventEnvelope, _ payload: inout ByteBuffer) {
    // The first member has no comma.
    let nameCount = sensors[index].memberName.range.count - (envelope.memberCount > 1 ? 0 : 1)
    envelope.removeLast(from: valueStart(in: payload) - nameCount, of: &payload)
  }
}

extension SensorReport {
  /// Takes one more reading; false where its sum has no room in a number.
  fileprivate mutating func take(_ value: Decimal) -> Bool {
    let isFirst = count == 0
    count += 1
    switch aggregate {
    case .last: total = value
    case .count: total = Decimal(count)
    case .min: if isFirst || value.isLess(than: total) { total = value }
    case .max: if isFirst || total.isLess(than: value) { total = value }
    case .mean, .sum:
      guard let sum = isFirst ? value : total.adding(value) else { return false }
      total = sum
    }
    return true
  }

  /// What the readings have come to.
  fileprivate var result: Decimal { aggregate == .mean ? total.divided(by: Decimal(count)) ?? total : total }
}

extension AlarmBounds {
  /// On which side `value` is, behind a value that was on `side`: 1 too high, -1 too low. An alarm begins at its bound,
  /// and ends when the value has come back from it by the hysteresis.
  fileprivate func side(of value: Decimal, after side: Int8) -> Int8 {
    if let high, !value.isLess(than: high) || (side > 0 && high.subtracting(hysteresis)?.isLess(than: value) ?? false) {
      return 1
    }
    if let low, !low.isLess(than: value) || (side < 0 && low.adding(hysteresis).map { value.isLess(than: $0) } ?? false)
    {
      return -1
    }
    return 0
  }
}
