// What the platform is told of the device's own faults: the log's lines about them, as far as they are new.
//
// A line is a cause. Each is told once in an hour, and what comes up in the same second is told together: an error code
// for each kind of fault, and one log entry with the first line and the number of the others.

import Bytes
import HostInterface

/// Faults that the platform is to be told of.
struct Diagnosis: ~Copyable {
  /// The code of the first kind.
  static var firstCode: Int { 1001 }
  static var kindCount: Int { 7 }
  /// The kinds, by the log's words: 1001 to 1007.
  private static var kinds: WordList {
    WordList(
      """
      sensor failed|sensor recovered|queue dropping|management action-ended|management action-failed\
      |firmware update-failed|firmware download-failed
      """)
  }
  private static var recovered: Int { 1 }
  private static var dropping: Int { 2 }

  private struct Cause: BitwiseCopyable {
    var digest: UInt64 = 0
    var until = Instant(milliseconds: .min)
  }

  private let pinned = Pinned()
  /// The last causes that were told.
  private var causes = InlineArray<16, Cause>(repeating: Cause())
  private var next = 0
  /// Bits of the kinds that are to be told.
  private(set) var kinds: UInt8 = 0
  /// How many lines there were besides the first.
  private(set) var otherCount = 0
  /// 0 to 2.
  private(set) var severity = 0
  /// The first line, without its level.
  var text: ByteBuffer

  init(isManaged: Bool, in arena: inout Arena) {
    text = ByteBuffer(capacity: isManaged ? AgentLimits.diagnosisBytesMax : 0, for: "log", in: &arena)
  }

  /// Whether the text of lines is kept at all.
  var isPossible: Bool { text.capacity > 0 }

  /// Takes a line of the log, whose text is `line`, if it tells of a fault.
  ///
  /// - Returns: whether there is something new to tell.
  @inline(never)  // small code
  mutating func take(_ event: StaticString, _ level: LogLevel, _ line: Span<UInt8>, _ now: Instant) -> Bool {
    guard let kind = Diagnosis.kinds.index(of: event.bytes), level < .info || kind == Diagnosis.recovered else {
      return false
    }
    // How many messages wait is another number each time.
    let digest = kind == Diagnosis.dropping ? 1 : line.digest
    for index in causes.indices where causes[index].digest == digest && now < causes[index].until { return false }
    causes[next] = Cause(digest: digest, until: now + AgentLimits.diagnosisPause)
    next = (next + 1) % causes.count
    if kinds == 0 {
      text.removeAll()
      let start = level.name.utf8CodeUnitCount + 1
      text.append(line.extracting(start..<min(line.count, start + text.capacity)))
      severity = 0
      otherCount = -1
    }
    otherCount += 1
    severity = max(severity, level == .error ? 2 : level == .warning ? 1 : 0)
    kinds |= 1 << UInt8(kind)
    return true
  }

  /// All is told.
  mutating func clear() { kinds = 0 }
}
