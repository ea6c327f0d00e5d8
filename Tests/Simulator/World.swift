// What all parts of a simulation share: time, what is planned, what went wrong, and what was seen.

import Bytes

/// One simulated world. Everything in it happens in one thread, one thing after the other.
public final class World {
  /// The seed that determines everything.
  public let seed: UInt64
  /// The boot-time clock.
  public internal(set) var now: Instant
  /// The first broken promise; the simulation ends with it.
  public private(set) var violation: String?
  /// How often rare things happened, so that a test can prove that they did.
  public private(set) var marks: [String: Int] = [:]
  /// Set when the host would wake the agent's loop.
  var hasNews = false
  var timeline = Timeline()

  private let isTracing: Bool
  private var trace: [String] = []

  init(seed: UInt64, start: Instant, isTracing: Bool) {
    self.seed = seed
    now = start
    self.isTracing = isTracing
  }

  /// Plans `action` for `delay` from now.
  func after(_ delay: TimeSpan, _ action: @escaping () -> Void) { timeline.plan(at: now + delay, action) }

  /// Plans `action` for `time`.
  func at(_ time: Instant, _ action: @escaping () -> Void) { timeline.plan(at: time, action) }

  /// A rare thing happened.
  func mark(_ name: String) { marks[name, default: 0] += 1 }

  /// A promise was broken. Only the first one counts: the others may follow from it.
  func violate(_ what: @autoclosure () -> String) {
    guard violation == nil else { return }
    violation = "\(clock) \(what())"
    note("VIOLATION \(violation ?? "")")
  }

  /// Remembers a line for the report of a failing seed.
  func note(_ line: @autoclosure () -> String) {
    guard isTracing else { return }
    if trace.count >= 4000 { trace.removeFirst(2000) }
    trace.append("\(clock) \(line())")
  }

  /// The last lines of what happened.
  public func lastNotes(_ count: Int) -> [String] { Array(trace.suffix(count)) }

  /// The virtual time for people.
  var clock: String {
    let milliseconds = now.milliseconds
    let (hours, minutes, seconds) = (milliseconds / 3_600_000, milliseconds / 60_000 % 60, milliseconds / 1000 % 60)
    func padded(_ value: Int64, _ width: Int) -> String {
      let text = String(value)
      return String(repeating: "0", count: max(0, width - text.count)) + text
    }
    return "\(hours):\(padded(minutes, 2)):\(padded(seconds, 2)).\(padded(milliseconds % 1000, 3))"
  }
}
