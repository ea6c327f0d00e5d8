// Counting the edges of a line, with those that were lost on the way.

import Bytes

/// What the edges of a line come to.
///
/// The kernel keeps so many edges and drops the oldest of more; their sequence numbers tell how many those were. Rising
/// and falling edges take turns, so it is known how many of each were lost. Two of a kind in a row without a gap are an
/// edge that the interrupt controller has merged: it had no number.
public struct EdgeCounter: Sendable, BitwiseCopyable {
  /// How often the line became active.
  public private(set) var rises: UInt64 = 0
  /// Edges that were not told.
  public private(set) var lost: UInt64 = 0
  /// Whether falling edges are told, too.
  private let hasFallingEdges: Bool
  private var sequence: UInt32 = 0
  private var isActive: Bool
  /// When it became active last, in nanoseconds.
  private var riseTime: UInt64 = 0
  /// Where the period began of which the frequency is told: a rise and its time.
  private var periodRises: UInt64 = 0
  private var periodTime: UInt64 = 0

  /// Begins with the level that the line has when its edges begin to be told.
  public init(isActive: Bool, hasFallingEdges: Bool) {
    self.isActive = isActive
    self.hasFallingEdges = hasFallingEdges
  }

  /// Takes the next edge.
  public mutating func note(_ edge: LineEdge) {
    let gap = edge.sequence &- sequence &- 1
    // The level was read when edges had begun to be told: the first of them knows better.
    if sequence == 0, gap == 0 { isActive = !edge.isRising }
    sequence = edge.sequence
    lost += UInt64(gap)
    if !hasFallingEdges {
      rises += UInt64(gap)
    } else {
      // From the one side to the other: the first that was lost rises where the line was low.
      rises += UInt64(gap) / 2 + (gap & 1 == 1 && !isActive ? 1 : 0)
      let wasActive = gap & 1 == 1 ? !isActive : isActive
      if wasActive == edge.isRising {
        lost += 1
        if !edge.isRising { rises += 1 }
      }
      isActive = edge.isRising
    }
    guard edge.isRising else { return }
    rises += 1
    riseTime = edge.time
    if periodTime == 0 {
      periodTime = edge.time
      periodRises = rises
    }
  }

  /// How often a second the line became active since the last call, from its edges' own times and so without regard to
  /// when it is asked; 0 where it did not.
  public mutating func takeFrequency() -> Decimal {
    var count = rises - periodRises
    var span = riseTime > periodTime ? riseTime - periodTime : 0
    // What is multiplied below has 64 bits.
    while count > 9_000_000 {
      count >>= 1
      span >>= 1
    }
    guard count > 0, span > 0 else { return Decimal(0) }
    periodRises = rises
    periodTime = riseTime
    // In thousandths of a Hertz, rounded.
    let frequency = (count * 1_000_000_000_000 + span / 2) / span
    return Decimal(significand: Int64(frequency), exponent: -3) ?? Decimal(0)
  }
}
