// What one turn of the loop waits for.

import Bytes
import CLinux
import HostInterface

/// What ended a wait.
enum WaitEnd: Equatable {
  /// Its time is over, and nothing is ready.
  case time
  /// At least one descriptor is ready.
  case ready
  /// A signal interrupted it, and nothing is known.
  case signal
}

/// The file descriptors of one `poll` call: filled anew for each call, but for a few that stay, and asked afterwards.
struct PollSet: ~Copyable {
  private let pinned = Pinned()
  private typealias Entries = InlineArray<16, pollfd>

  // What a turn of the loop waits for at most, as a sum with a term for each.
  static var signalTerms: Int { 1 }  // the pipe that handlers write to
  static var linkTerms: Int { HostLimits.linksMax }  // a socket, or the answer of a look-up
  static var programTerms: Int { HostLimits.programsMax }  // its output
  static var controlTerms: Int { 2 }  // the listener, and the client
  static var lineTerms: Int { 1 }  // all lines
  static var firmwareTerms: Int { 2 }  // the process that writes an image, and an installer's output
  /// How many descriptors fit.
  static var entriesMax: Int { Entries.count }

  /// Holds the sum against the room that there is; to be called once at start.
  static func check() {
    precondition(signalTerms + linkTerms + programTerms + controlTerms + firmwareTerms + lineTerms <= entriesMax)
  }

  private var entries = Entries(repeating: pollfd(fd: -1, events: 0, revents: 0))
  /// How many descriptors are in the set.
  private(set) var count = 0

  // What stays in the set from turn to turn, so that no turn has to add it.
  static var signalIndex: Int { 0 }
  static var listenerIndex: Int { 1 }
  static var clientIndex: Int { 2 }
  private static var standingCount: Int { 3 }

  /// Has `fd` waited for in each turn at one of the indices that stay; -1 for nothing.
  @inline(never)
  mutating func stand(_ fd: Int32, events: Int32, at index: Int) {
    precondition(index < PollSet.standingCount)
    entries[index] = pollfd(fd: fd, events: Int16(truncatingIfNeeded: events), revents: 0)
    count = max(count, PollSet.standingCount)
  }

  /// Empties the set but for what stays.
  mutating func removeAll() { count = min(count, PollSet.standingCount) }

  /// Adds `fd` with the events (POLLIN, POLLOUT) to wait for; gives the index to ask `readyEvents` with, or nil when
  /// the set is full.
  mutating func add(_ fd: Int32, events: Int16) -> Int? {
    guard count < PollSet.entriesMax else { return nil }
    entries[count] = pollfd(fd: fd, events: events, revents: 0)
    count += 1
    return count - 1
  }

  /// What the last `wait` found for the descriptor at `index`: POLLIN, POLLOUT, POLLERR, POLLHUP.
  func readyEvents(_ index: Int) -> Int16 {
    precondition(index >= 0 && index < count)
    return entries[index].revents
  }

  /// Waits until a descriptor is ready or `milliseconds` have passed; -1 waits for ever.
  ///
  /// An interruption by a signal counts as a wake-up without ready descriptors: the caller computes its deadlines anew.
  ///
  /// - Returns: what ended it.
  @discardableResult
  mutating func wait(milliseconds: Int32) -> WaitEnd {
    let used = count
    var span = entries.mutableSpan
    return span.withUnsafeMutableBufferPointer { buffer in
      let readyCount = poll(buffer.baseAddress, nfds_t(used), milliseconds)
      if readyCount >= 0 { return readyCount > 0 ? .ready : .time }
      let isInterrupted = mote_errno() == EINTR
      for index in 0..<used { buffer[index].revents = 0 }
      return isInterrupted ? .signal : .time
    }
  }
}
