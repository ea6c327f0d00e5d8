// Whether a value has moved far enough to be worth an event.

import AgentConfiguration
import Bytes

extension Deadband {
  /// Whether `value` is at least as far from `reported` as this says: the larger one of both where there are two, and
  /// anything but the same where that is 0.
  @inline(never)  // beside the values that are always reported
  public func isExceeded(from reported: Decimal, to value: Decimal) -> Bool {
    guard value != reported else { return false }
    // What is too far apart for a number is far enough.
    guard let distance = value.subtracting(reported)?.magnitude else { return true }
    let share = reported.magnitude.multiplied(by: percent)?.multiplied(by: Decimal.hundredth) ?? absolute
    return !distance.isLess(than: absolute.isLess(than: share) ? share : absolute)
  }
}
