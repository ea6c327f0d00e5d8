// What a host keeps for the agent over power cuts: records, which are replaced whole, and segments, which only grow.
//
// Durable storage is slow, wears out, fills up and dies, and none of that may hold the loop up. So every call here
// answers at once, and whoever asked asks again.
//
// Asking. A call is asked again with the same arguments, the same bytes included, in every turn of the loop until it
// answers something else than `.pending`. One operation is under way at a time. `.pending` means that it is this one,
// or that another one is in the way and this one has not begun; which of the two, nobody needs to know. The host wakes
// the loop when the one under way has ended, which is at most `StorageLimits.timeMax` after it began, so that its owner
// gets the answer and the next one can begin. An answer that nobody fetches in the turn after its wake-up is forgotten:
// its owner is gone, and the others must not wait for him. Every operation may therefore be done twice. Whoever tries
// again what has failed does so later, not in the same turn.
//
// Promises. After `.done` of a replacement, of an append with `isFlushed`, or of a deletion, the effect survives a
// power cut. Before, and after any other answer, it may have happened or not: of a record either the old or the new
// content is found, never a mix; a segment keeps everything up to the last successful flush, and behind it may be less
// than was appended, or bytes that nobody wrote.

import Bytes

/// Records and segments that outlive power cuts. A part that keeps something is generic over this.
public protocol HostStorage: ~Copyable {
  // MARK: Records

  /// Appends the content of `record` to `buffer`, which needs `record.roomNeeded`.
  ///
  /// `.notFound`: it was never stored. `.damaged`: its file is not as it was written; nothing was appended, and the
  /// next replacement mends it.
  mutating func readRecord(_ record: StorageRecord, into buffer: inout ByteBuffer) -> StorageAnswer

  /// Puts `content`, at most `record.bytesMax` bytes, in the place of what `record` has.
  mutating func replaceRecord(_ record: StorageRecord, _ content: Span<UInt8>) -> StorageAnswer

  // MARK: Segments

  /// Writes `bytes`, which may be none, into `segment` from `offset` on, and cuts off what was behind. An offset of 0
  /// begins the segment, or begins it anew.
  ///
  /// `.damaged`: the segment is shorter than `offset`. After `.failed` of a call, this segment can promise nothing more
  /// about what is behind its last successful flush, whatever later calls answer: its owner writes what he still has
  /// into another one.
  ///
  /// - Parameter isFlushed: whether `.done` waits until all of the segment would survive a power cut.
  mutating func appendToSegment(
    _ segment: StorageSegment, at offset: Int, _ bytes: Span<UInt8>, isFlushed: Bool
  ) -> StorageAnswer

  /// Appends bytes of `segment` from `offset` on to `buffer`, until that is full or the segment ends. `.done` without
  /// bytes: there are none behind `offset`.
  mutating func readSegment(
    _ segment: StorageSegment, at offset: Int, into buffer: inout ByteBuffer
  ) -> StorageAnswer

  /// Tells which segments of `series` there are from `number` on; `.notFound` when there are none.
  mutating func findSegments(
    of series: StorageSeries, from number: UInt64, _ found: inout StorageSegmentRange
  ) -> StorageAnswer

  /// Deletes `segment`. One that is not there counts as deleted.
  mutating func deleteSegment(_ segment: StorageSegment) -> StorageAnswer

  /// Gives `segment` a name by which no segment is found, for a person to look at. One that is not there counts as set
  /// aside.
  mutating func setSegmentAside(_ segment: StorageSegment) -> StorageAnswer
}

/// What became of an operation.
public enum StorageAnswer: UInt8, Equatable, Sendable, BitwiseCopyable {
  /// Ask again after a wake-up.
  case pending
  /// It is done.
  case done
  /// There is no such record or segment.
  case notFound
  /// There is no room, or no more than others may use.
  case noSpace
  /// Nothing can be kept here: the file system is read-only, or the folder is missing or not ours.
  case readOnly
  /// Something else uses it, a file system for instance.
  case inUse
  /// What was stored is not as it was written.
  case damaged
  /// The system reported an error twice, or gave no answer in time. What hangs may hang on: until it ends, everything
  /// answers this.
  case failed
}

/// Bounds of what a host keeps.
public enum StorageLimits {
  /// How long an operation may take. Flash that is busy with itself takes seconds; what takes longer is dying.
  public static var timeMax: TimeSpan { .seconds(30) }
}

/// The records that there are.
public enum StorageRecord: UInt8, Sendable, BitwiseCopyable {
  /// The clock floor: a time that has certainly passed.
  case clock = 1
  /// What device management has been asked to do to the machine, and is not done with.
  case action = 2
  /// Which firmware is wanted, and how far it has come.
  case firmware = 3
  /// What has become of messages that were kept on flash.
  case queue = 4

  /// The name of its file, at most `StorageRecord.nameBytesMax` bytes.
  public var fileName: StaticString {
    switch self {
    // Not `clock`: that file of earlier versions was text, and losing the time that it has costs nothing that the build
    // time does not make good.
    case .clock: "clock-floor"
    case .action: "action"
    case .firmware: "firmware-job"
    case .queue: "queue-account"
    }
  }

  /// The longest name of a file.
  public static var nameBytesMax: Int { 16 }

  /// The longest content, in bytes.
  public var bytesMax: Int {
    switch self {
    case .clock: 16
    case .action: 288
    case .firmware: 5120
    case .queue: 104
    }
  }

  /// What a file has in front of its content, in bytes.
  public static var headerBytes: Int { 16 }

  /// The free room that reading takes: a whole file, and one byte more, by which one that is too long is noticed.
  public var roomNeeded: Int { StorageRecord.headerBytes + bytesMax + 1 }
}

/// The series of segments that there are.
public enum StorageSeries: UInt8, Sendable, BitwiseCopyable {
  /// Messages that wait to be sent, a series for each priority.
  case queue = 1
  case queueLow = 2
  case queueHigh = 3
  case queueCritical = 4

  /// How the names of its files begin, at most `StorageRecord.nameBytesMax` bytes.
  public var fileName: StaticString {
    switch self {
    case .queue: "queue"
    case .queueLow: "queue-low"
    case .queueHigh: "queue-high"
    case .queueCritical: "queue-critical"
    }
  }
}

/// One segment.
public struct StorageSegment: Sendable, BitwiseCopyable {
  /// The series that it belongs to.
  public var series: StorageSeries
  /// Its place there. Gaps are allowed.
  public var number: UInt64

  /// The segment with this number.
  public init(_ series: StorageSeries, _ number: UInt64) {
    self.series = series
    self.number = number
  }
}

/// Which segments there are from some number on.
public struct StorageSegmentRange: Sendable, BitwiseCopyable {
  /// How many.
  public var count = 0
  /// The lowest number.
  public var first: UInt64 = 0
  /// The highest number.
  public var last: UInt64 = 0
  /// The sum of their lengths.
  public var byteCount: UInt64 = 0

  /// None.
  public init() {}
}

extension StorageAnswer {
  /// The word for a log line.
  public var name: StaticString {
    switch self {
    case .done: "done"
    case .pending: "pending"
    case .notFound: "not-found"
    case .noSpace: "no-space"
    case .readOnly: "read-only"
    case .inUse: "in-use"
    case .damaged: "damaged"
    case .failed: "failed"
    }
  }
}
