// All chance in a simulation comes from its seed, through dice of several colours: one colour per part of the world, so
// that a change in one part does not reshuffle the others.

import Bytes

/// Seeded chance with the few questions that a simulation asks.
public struct Dice {
  private var source: RandomSource

  /// Dice that `seed` and `colour` fully determine.
  public init(seed: UInt64, colour: UInt64) {
    var mixer = RandomSource(seed: seed &+ colour &* 0x2545_F491_4F6C_DD1D)
    source = RandomSource(seed: mixer.next())
  }

  /// 64 random bits.
  public mutating func bits() -> UInt64 { source.next() }

  /// True once in `odds` times on average; never for 0.
  public mutating func once(in odds: Int) -> Bool {
    odds > 0 && source.next() % UInt64(odds) == 0
  }

  /// A number from `range`.
  public mutating func number(_ range: ClosedRange<Int>) -> Int {
    range.lowerBound + Int(source.next() % UInt64(range.upperBound - range.lowerBound + 1))
  }

  /// A length of time in milliseconds from `range`.
  public mutating func span(_ range: ClosedRange<Int>) -> TimeSpan { .milliseconds(Int64(number(range))) }

  /// One of `choices`, which must not be empty.
  public mutating func pick<Choice>(_ choices: [Choice]) -> Choice { choices[number(0...(choices.count - 1))] }

  /// A length of time whose order of magnitude is random: short ones as likely as long ones.
  public mutating func spanOfAnyMagnitude(_ range: ClosedRange<Int>) -> TimeSpan {
    var upper = range.upperBound
    let halvings = number(0...12)
    for _ in 0..<halvings where upper / 2 > range.lowerBound { upper /= 2 }
    return span(range.lowerBound...upper)
  }
}
