// Randomness for jitter and identifiers; nothing here is fit for keys.

/// A small generator (SplitMix64) that a seed fully determines, so that a simulated run can be replayed.
public struct RandomSource: Sendable {
  private var state: UInt64

  /// Starts from `seed`; any value will do.
  public init(seed: UInt64) { state = seed }

  /// The next 64 bits.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  /// A length of time from `range`, both ends included. The tiny bias of the remainder does not matter for jitter.
  public mutating func timeSpan(in range: ClosedRange<TimeSpan>) -> TimeSpan {
    // Wrapping, so that even the widest range cannot trap; that one has 2^64 values and wants no remainder.
    let width = UInt64(bitPattern: range.upperBound.milliseconds &- range.lowerBound.milliseconds) &+ 1
    let distance = width == 0 ? next() : next() % width
    return .milliseconds(range.lowerBound.milliseconds &+ Int64(bitPattern: distance))
  }
}
