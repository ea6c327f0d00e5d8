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
  /// The last value that was there to be reported.
  var value = Decimal(0)
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
          firstStep: firstStep, stepEnd: Int16(filters.stepCount), fractionDigits: settings.sensors[index].decimals))
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
