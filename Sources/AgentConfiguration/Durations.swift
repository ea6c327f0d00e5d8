// Durations outside configuration files: on the command line and in commands the same rules hold.

import Bytes

/// A duration as the configuration writes it, `250ms`, `10s`, `5m`, `1h`, `2d`; nil for anything else, a number without
/// a unit included.
public func parseDuration(_ text: Span<UInt8>) -> TimeSpan? {
  guard case .amount(let milliseconds) = Values.duration(text) else { return nil }
  return .milliseconds(milliseconds)
}

extension ConfigurationLimits {
  /// The shortest and longest time between two events.
  public static var eventInterval: ClosedRange<TimeSpan> { Key.interval.description.times }
}
