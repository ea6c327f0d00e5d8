// How often lines of one kind are written: a burst, then one now and then.

import Bytes

/// An account for each kind of line, told apart by the event in front.
struct LineLimits {
  /// What is known of one kind.
  private struct Account: BitwiseCopyable {
    var event: StaticString = ""
    /// When the whole burst is there again; each line puts it off by an interval.
    var isFullAt = Instant(milliseconds: .min)
    /// How many lines were left out since that was told last.
    var leftOut: Int32 = 0
  }

  /// As many kinds as are written in any short time. Of more, those that were quiet longest are forgotten.
  private var accounts = InlineArray<16, Account>(repeating: Account())

  /// Whether a line of this kind may be written now.
  mutating func admit(_ event: StaticString, at now: Instant) -> Bool {
    let index = place(of: event)
    let isFullAt = max(accounts[index].isFullAt, now) + LogWriter.interval
    let debtMax = LogWriter.interval.milliseconds * Int64(LogWriter.burstMax)
    guard (isFullAt - now).milliseconds <= debtMax else {
      accounts[index].leftOut = min(accounts[index].leftOut, .max - 1) + 1
      return false
    }
    accounts[index].isFullAt = isFullAt
    return true
  }

  private mutating func place(of event: StaticString) -> Int {
    var oldest = 0
    for index in accounts.indices {
      // Each kind is a literal at one or two places, so where it is tells which it is.
      if accounts[index].event.utf8Start == event.utf8Start { return index }
      if accounts[index].isFullAt < accounts[oldest].isFullAt { oldest = index }
    }
    accounts[oldest] = Account()
    accounts[oldest].event = event
    return oldest
  }

  /// A kind of which lines were left out, and how many; nil when all has been told.
  mutating func takeLeftOut() -> (event: StaticString, count: Int)? {
    for index in accounts.indices where accounts[index].leftOut > 0 {
      let count = Int(accounts[index].leftOut)
      accounts[index].leftOut = 0
      return (accounts[index].event, count)
    }
    return nil
  }
}
