// Durations and sizes outside configuration files: on the command line and in commands the same rules hold.

import Bytes

/// A duration as the configuration writes it, `250ms`, `10s`, `5m`, `1h`, `2d`; nil for anything else, a number without
/// a unit included.
public func parseDuration(_ text: Span<UInt8>) -> TimeSpan? {
  guard case .amount(let milliseconds) = Values.duration(text) else { return nil }
  return .milliseconds(milliseconds)
}

/// A size as the configuration writes it, `512B`, `256KB`, `1MB`, in bytes; nil for anything else.
public func parseSize(_ text: Span<UInt8>) -> Int? {
  guard case .amount(let byteCount) = Values.size(text) else { return nil }
  return Int(clamping: byteCount)
}

extension ConfigurationLimits {
  /// The shortest and longest time between two events.
  public static var eventInterval: ClosedRange<TimeSpan> { Key.interval.description.times }
}
