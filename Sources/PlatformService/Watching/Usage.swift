// How much went over the platform's connections on each day.

import Bytes
import PlatformProtocol

/// Bytes between MQTT clients and the platform on one day.
public struct DayUsage: Equatable, Sendable {
  /// The day, `2024-05-01`, in UTC.
  public let day: String
  /// What came and went.
  public let byteCount: Int64
}

extension PlatformService {
  /// What went over the connections from one day to another, both included.
  public func usage(from start: String, to end: String, now: Moment) -> [DayUsage] {
    begin(now)
    noteUsage()
    return usage.filter { start <= $0.key && $0.key <= end }.map { DayUsage(day: $0.key, byteCount: $0.value) }
      .sorted { $0.day < $1.day }
  }

  /// Adds what went since the last time to the day; stored once in a while.
  func noteUsage(isEnd: Bool = false) {
    guard trafficBytes > 0 || isEnd else { return }
    let day = String(now.wall.text.prefix(10))
    usage[day, default: 0] += trafficBytes
    trafficBytes = 0
    if usage.count > ServiceLimits.usageDaysMax, let oldest = usage.keys.min() { usage[oldest] = nil }
    guard isEnd || now.instant - usageStored >= ServiceLimits.usageStoreInterval, let count = usage[day] else { return }
    usageStored = now.instant
    // Nobody waits for this.
    _ = output.store(.putUsage(day: day, byteCount: count))
  }
}
