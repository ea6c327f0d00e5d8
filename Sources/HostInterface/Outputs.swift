// Setting things: lines, lamps, anything that the machine can be told.

import Bytes

/// Outputs, numbered in the order in which the configuration opened them. No configuration opens one yet, so only the
/// simulator has them: see the README's list of what is not done.
public protocol HostOutputs: ~Copyable {
  /// Sets output `index` to `value`.
  ///
  /// `.pending`: it takes time, and is being done elsewhere; the host wakes the loop when it is over, and the caller
  /// asks again with the same value. Another value for an output that is pending takes the place of the earlier one.
  mutating func setOutput(_ index: Int, to value: Decimal) -> OutputAnswer
}

/// What became of setting an output.
public enum OutputAnswer: UInt8, Sendable, BitwiseCopyable {
  /// It has the value.
  case done
  /// Not yet.
  case pending
  /// There is no such output now.
  case notFound
  /// We may not set it, or somebody else owns it.
  case notPermitted
  /// The value is none that it can have.
  case outOfRange
  /// The driver reported an error.
  case inputOutput
}
