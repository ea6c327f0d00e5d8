// Who decides what a power cut leaves: chance, or one possibility after the other until none is left.

/// Decides between possibilities.
public final class Fate {
  private var dice: Dice?
  /// When enumerating: what was chosen, and among how many.
  private var choices: [(chosen: Int, count: Int)] = []
  private var next = 0
  private let betweenExtremes: Bool

  /// Chance.
  public init(seed: UInt64) {
    dice = Dice(seed: seed, colour: 11)
    betweenExtremes = false
  }

  /// Every possibility once: the first, and then those that `advance` leads to. With `betweenExtremes`, only the first
  /// and the last of each question: all of it, or nothing.
  public init(betweenExtremes: Bool = false) { self.betweenExtremes = betweenExtremes }

  /// A number from 0 to `count` - 1. While enumerating, the first is what comes about when nothing special happens.
  public func choose(_ count: Int) -> Int {
    if dice != nil { return dice?.number(0...(count - 1)) ?? 0 }
    if betweenExtremes, count > 2 { return choose(2) * (count - 1) }
    if next == choices.count { choices.append((0, count)) }
    precondition(choices[next].count == count, "the same choices must lead to the same questions")
    next += 1
    return choices[next - 1].chosen
  }

  /// Goes on to the next possibility.
  ///
  /// - Returns: false when all have been.
  public func advance() -> Bool {
    // Questions that were not asked this time depend on choices that were not made.
    choices.removeLast(choices.count - next)
    next = 0
    while let last = choices.popLast() {
      if last.chosen + 1 < last.count {
        choices.append((last.chosen + 1, last.count))
        return true
      }
    }
    return false
  }
}
