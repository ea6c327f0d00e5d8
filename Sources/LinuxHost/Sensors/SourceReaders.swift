// Children that read what could block.
//
// A read of a file on FUSE or NFS, or of an attribute whose driver waits for a slow bus, blocks inside the kernel
// whatever flags the file was opened with, and a thread cannot be given up. So such a read happens in a child of its
// own, which finds the file (names of zones and chips are files, too), reads once, answers and ends. A child per read
// is the simplest thing that can be killed: there is no protocol, nothing to bring back to a known state, and nothing
// in memory while nothing slow is being read. A fork of a process of this size costs a fraction of a millisecond,
// little against what such a source takes.

import Bytes
import CLinux
import Fieldbus
import HostInterface

/// The running readers.
struct SourceReaders: ~Copyable {
  private let pinned = Pinned()
  private struct Reader: BitwiseCopyable {
    var process: pid_t
    var source: Int
    var deadline: Instant
    var isKilled: Bool
  }

  /// Readers at the same time. A read that cannot even be killed (a dead NFS server) keeps its place until it ends.
  private var readers = InlineArray<4, Reader?>(repeating: nil)
  private var count = 0

  init() {
    precondition(HostLimits.sourceBytesMax <= MOTE_READ_BYTES_MAX, "a child's answer has room for as much")
  }

  init(copying other: borrowing SourceReaders) {
    readers = other.readers
    count = other.count
  }

  /// Whether another one can be started. One for a source that has failed leaves a place to those that have not, or
  /// some that hang together could keep all others from ever being read.
  func hasRoom(afterFailure: Bool) -> Bool {
    let freeCount = readers.count - count
    return freeCount > 1 || (freeCount == 1 && (!afterFailure || deadline == .never))
  }

  /// Whether there is no room, and one will end or be killed. Those that were killed already may be stuck.
  var areAllBusy: Bool { count == readers.count && deadline != .never }

  /// Whether any has not ended.
  var areRunning: Bool { count > 0 }

  /// Whether all places are taken by readers that were killed and do not end: nothing can be read until one does.
  func areStuck(at now: Instant) -> Bool {
    for index in readers.indices {
      guard let reader = readers[index], reader.isKilled, reader.deadline + SourceLimits.endTimeMax <= now else {
        return false
      }
    }
    return true
  }

  /// The moment at which the first reader has to be killed.
  var deadline: Instant {
    var first = Instant.never
    for index in readers.indices {
      if let reader = readers[index], !reader.isKilled { first = min(first, reader.deadline) }
    }
    return first
  }

  /// Starts a reader of source `index`, whose place is in `text`; there must be room.
  ///
  /// - Returns: the descriptor at which its answer can be received once it has ended.
  mutating func start(
    _ source: Source, _ index: Int, _ text: borrowing ByteBuffer, _ roots: borrowing MachineRoots, deadline: Instant
  ) throws(Errno) -> Int32 {
    guard let slot = freeSlot() else { preconditionFailure("no room for a reader") }
    var answer: Int32 = -1
    let process = mote_fork_reader(&answer)
    if process == 0 { readAndAnswer(source, text.span.extracting(source.place), roots) }
    guard process > 0 else { throw .last }
    readers[slot] = Reader(process: process, source: index, deadline: deadline, isKilled: false)
    count += 1
    return answer
  }

  /// What a child does.
  private func readAndAnswer(_ source: Source, _ place: Span<UInt8>, _ roots: borrowing MachineRoots) -> Never {
    if source.reading == .byBus { askAndAnswer(source, place) }
    let kind = source.kind
    let what = Int32(kind.description.reading == .fileSystemByChild ? MOTE_READ_DISK : MOTE_READ_FILE)
    var known = mote_answer()
    var path = PathText()
    if let found = roots.path(of: kind, place: place) { path = found }
    if path.count == 0 || path.isTooLong {
      known.failure = ENOENT
    } else if let numbers = path.withBytes({ kind.numbers(at: $0) }) {
      known.note(numbers)
    } else {
      known.failure = EIO
    }
    let wasMounted: Int32 = source.wasMounted ? 1 : 0
    path.withPointer { start -> Void in
      mote_read_and_answer(start, what, HostLimits.sourceBytesMax, wasMounted, &known)
    }
    preconditionFailure("the child has ended")
  }

  /// What a child does that asks a bus.
  private func askAndAnswer(_ source: Source, _ place: Span<UInt8>) -> Never {
    guard let bus = ModbusSource(place), let memory = StartupMemory(byteCount: 2 * HostLimits.sourceBytesMax) else {
      mote_answer_text(ENOMEM, nil, 0)
    }
    var arena = Arena(memory.region)
    var text = ByteBuffer(capacity: HostLimits.sourceBytesMax, for: "source", in: &arena)
    var bytes = ByteBuffer(capacity: HostLimits.sourceBytesMax - 64, for: "source", in: &arena)
    let name = place.extracting(0..<bus.placeEnd)
    var reader = ModbusReader(bus, first: source.first, count: source.count, isTCP: name.starts(with: "tcp://"))
    let failure = reader.read(name, into: &text, &bytes)
    text.span.withUnsafeBufferPointer { buffer -> Void in mote_answer_text(failure, buffer.baseAddress, buffer.count) }
    preconditionFailure("a child ends with its answer")
  }

  private func freeSlot() -> Int? {
    for index in readers.indices where readers[index] == nil { return index }
    return nil
  }

  /// Kills one reader whose time is up, if there is any.
  ///
  /// - Returns: its source.
  @inline(never)  // beside the turns of quick sources
  mutating func killNext(at now: Instant) -> Int? {
    for index in readers.indices {
      guard let reader = readers[index], !reader.isKilled, reader.deadline <= now else { continue }
      kill(reader.process, SIGKILL)
      readers[index]?.isKilled = true
      return reader.source
    }
    return nil
  }

  /// Collects one reader that has ended, if there is any.
  ///
  /// - Returns: its source; nil in it when the reader had been given up before.
  mutating func reapNext() -> Int?? {
    for index in readers.indices {
      guard let reader = readers[index], waitpid(reader.process, nil, WNOHANG) == reader.process else { continue }
      precondition(count > 0, "only what was started can end")
      readers[index] = nil
      count -= 1
      return .some(reader.isKilled ? nil : reader.source)
    }
    return nil
  }

  /// Kills all of them and forgets their sources.
  mutating func killAll() {
    for index in readers.indices {
      guard let reader = readers[index], !reader.isKilled else { continue }
      kill(reader.process, SIGKILL)
      readers[index]?.isKilled = true
    }
  }
}
