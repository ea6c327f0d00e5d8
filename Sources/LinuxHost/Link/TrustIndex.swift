// Where in a file of trusted certificates each of them is. Reading all of a system's bundle takes as long as half of a
// handshake with RSA keys, and a connection wants one certificate of it, or knows with the index that there is none.
//
// The index is of one version of one file, and worth nothing for any other; a folder has none.

import Bytes
import CLinux

/// What changes when a file is replaced or written to. Times cannot be set back unnoticed: `changed` is set by the
/// system alone.
struct FileVersion: Equatable, BitwiseCopyable {
  private let device: UInt64
  private let inode: UInt64
  private let byteCount: Int64
  private let modified: Moment
  private let changed: Moment

  private struct Moment: Equatable, BitwiseCopyable {
    let seconds: Int64
    let nanoseconds: Int64
    var milliseconds: Int64 { seconds &* 1000 &+ nanoseconds / 1_000_000 }

    init(_ time: timespec) {
      seconds = Int64(time.tv_sec)
      nanoseconds = Int64(time.tv_nsec)
    }
  }

  /// Of a status that fstat(2) gave.
  init(_ status: stat) {
    device = UInt64(truncatingIfNeeded: status.st_dev)
    inode = UInt64(truncatingIfNeeded: status.st_ino)
    byteCount = Int64(truncatingIfNeeded: status.st_size)
    modified = Moment(status.st_mtim)
    changed = Moment(status.st_ctim)
  }

  /// Whether the last change was at least `span` before the wall time `now`, or after it: by another clock, or before
  /// this one was set back.
  func isAway(from now: WallTime, by span: TimeSpan) -> Bool {
    let (age, overflow) = now.milliseconds.subtractingReportingOverflow(changed.milliseconds)
    return overflow || age >= span.milliseconds || age <= -span.milliseconds
  }
}

/// The places of a file's certificates, by their subjects.
struct TrustIndex: ~Copyable {
  /// How many certificates fit; those of a larger file are looked for one by one. A system's bundle has 150.
  static var certificatesMax: Int { 256 }

  /// A certificate.
  struct Entry: BitwiseCopyable {
    /// `DER.hash` of its subject.
    let subjectHash: UInt32
    /// Where its first line begins.
    let offset: UInt32
  }

  /// In the order of the file.
  private(set) var entries: FixedArray<Entry>
  /// Whose places these are; nil if nobody's.
  private var version: FileVersion?
  /// Whether everything fitted.
  private var isWhole = false

  init(for name: StaticString, from arena: inout Arena) throws(ArenaExhausted) {
    entries = try FixedArray(capacity: TrustIndex.certificatesMax, for: name, from: &arena)
  }

  /// Whether it has every certificate of a file of this version.
  func isOf(_ present: FileVersion) -> Bool { version == present }

  /// Forgets everything.
  mutating func removeAll() {
    version = nil
    entries.removeAll()
    isWhole = true
  }

  /// Adds the next certificate of the file that is being read.
  mutating func append(_ entry: Entry) {
    if !entries.append(entry) { isWhole = false }
  }

  /// Becomes valid if it is whole: the file was read to its end, and was of this version before and afterwards.
  mutating func finish(as newVersion: FileVersion) {
    if isWhole, !entries.span.isEmpty { version = newVersion }
  }
}
