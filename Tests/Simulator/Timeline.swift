// Virtual time. Nothing ever waits: time jumps to whatever happens next.

import Bytes

extension TimeSpan {
  /// Both one after the other.
  static func + (left: TimeSpan, right: TimeSpan) -> TimeSpan {
    .milliseconds(left.milliseconds + right.milliseconds)
  }
}

/// What will happen, in the order of its time; things at the same time happen in the order in which they were planned.
struct Timeline {
  private struct Entry {
    let time: Int64
    let number: UInt64
    let action: () -> Void
  }

  private var heap: [Entry] = []
  private var nextNumber: UInt64 = 0

  /// Plans `action` for `time`.
  mutating func plan(at time: Instant, _ action: @escaping () -> Void) {
    heap.append(Entry(time: time.milliseconds, number: nextNumber, action: action))
    nextNumber += 1
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard isBefore(child, parent) else { break }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  /// When the next thing happens.
  var next: Instant? { heap.first.map { Instant(milliseconds: $0.time) } }

  /// How many things are planned.
  var count: Int { heap.count }

  /// Takes the next thing if it happens at `time` or before.
  mutating func take(upTo time: Instant) -> (() -> Void)? {
    guard let first = heap.first, first.time <= time.milliseconds else { return nil }
    let last = heap.removeLast()
    if !heap.isEmpty {
      heap[0] = last
      sink()
    }
    return first.action
  }

  private mutating func sink() {
    var parent = 0
    while true {
      var smallest = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && isBefore(child, smallest) {
        smallest = child
      }
      if smallest == parent { return }
      heap.swapAt(parent, smallest)
      parent = smallest
    }
  }

  private func isBefore(_ left: Int, _ right: Int) -> Bool {
    (heap[left].time, heap[left].number) < (heap[right].time, heap[right].number)
  }
}
