// Sensors that are reported otherwise than as they are read.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
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
  /// The last value that was there to be reported.
  var value = Decimal(0)
  /// The value that was reported last, and whether there was one.
  var reported = Decimal(0)
  var isReported = false
}

/// When an event is reported, and where that stands.
struct EventReport: BitwiseCopyable {
  /// The longest and the shortest time between two of them; zero for none.
  let heartbeat: TimeSpan
  let minInterval: TimeSpan
  /// Whether somebody has asked for it.
  var isForced = false
}

/// How many events are not reported whenever they are due.
func eventReportCount(of settings: borrowing Settings) -> Int {
  var count = 0
  for index in 0..<settings.events.count where settings.isByException(index) { count += 1 }
  return count
}

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
      filters.append(settings.bytes(settings.reports[reports.count].filter))
      _ = reports.append(
        SensorReport(
          firstStep: firstStep, stepEnd: Int16(filters.stepCount), fractionDigits: settings.sensors[index].decimals,
          deadband: Deadband(parsing: settings.bytes(settings.reports[reports.count].deadband))))
    }
  }

  /// Makes what decides whether an event is reported; gives its index, which is negative where it always is.
  mutating func makeEventReport(_ event: Int, _ settings: borrowing Settings) -> Int16 {
    guard settings.isByException(event) else { return -1 }
    _ = eventReports.append(
      EventReport(
        heartbeat: settings.events[event].heartbeat, minInterval: settings.events[event].minInterval))
    return Int16(eventReports.count - 1)
  }

  // MARK: By exception

  /// Has an event reported the next time, whatever its values are.
  mutating func force(_ event: Int) {
    if events[event].report >= 0 { eventReports[Int(events[event].report)].isForced = true }
  }

  /// Whether an event that has been read is to be reported: it has not been so yet or for long, or one of its sensors
  /// has moved far enough from what was reported, which is never what was passed over, so that a slow drift is not
  /// missed. Looks at each of its sensors.
  @inline(never)  // beside the events that always are
  func isWorthReporting(_ event: Int, at now: Instant) -> Bool {
    guard events[event].report >= 0 else { return true }
    let report = eventReports[Int(events[event].report)]
    guard !report.isForced, events[event].published != EventTable.unknown else { return true }
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
    _ index: Int, _ readAt: Instant, _ envelope: inout EventEnvelope, _ payload: inout ByteBuffer,
    _ settings: borrowing Settings
  ) throws(ReadFailure) -> Bool {
    let report = reports[Int(sensors[index].report)]
    guard report.firstStep < report.stepEnd else { return true }
    let filtered = try filters.apply(
      sensors[index].value, from: Int(report.firstStep), to: Int(report.stepEnd), at: readAt)
    guard let filtered else {
      // What was there before still holds.
      sensors[index].value = report.value
      takeBack(index, &envelope, &payload)
      return false
    }
    let value = report.fractionDigits.map { filtered.rounded(toFractionDigits: $0) } ?? filtered
    sensors[index].value = value
    reports[Int(sensors[index].report)].value = value
    payload.truncate(to: valueStart(in: payload))
    if sensors[index].channel.quantity == .boolean {
      payload.append(value.significand == 0 ? "false" : "true")
    } else {
      payload.append(value)
    }
    return true
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
