// Which slot is started, and what is known of it: the slot record, of which two copies are kept. SLOTS.md draws it.
//
// The supervisor is older than every program that it starts, so the form of this record does not change: a newer program
// writes what an older supervisor understands.

import Bytes
import HostInterface

/// What is in a slot.
public enum SlotState: UInt8, Equatable, Sendable, BitwiseCopyable {
  /// Nothing that could be started.
  case empty = 0
  /// An image that is being written.
  case writing
  /// An image that is whole and was checked. It is not started.
  case verified
  /// An image that is being tried.
  case trial
  /// An image that has proved itself.
  case good
  /// An image that was tried and has failed.
  case bad
}

/// Why a trial was given up.
public enum RevertReason: UInt8, Equatable, Sendable, BitwiseCopyable {
  /// No trial was given up.
  case none = 0
  /// The image was missing, not what was signed, or signed by nobody who is trusted.
  case damaged
  /// The system could not execute it.
  case notExecutable
  /// It ended with a status.
  case exited
  /// A signal ended it.
  case signalled
  /// It did not prove itself in time.
  case timeout
  /// It found itself to be another program than the one that was to be tried, or unable to do its work.
  case wrong
  /// The power failed during each of its tries.
  case interrupted

  /// The word for a log line and a report.
  public var name: StaticString {
    switch self {
    case .none: "none"
    case .damaged: "damaged"
    case .notExecutable: "not-executable"
    case .exited: "exited"
    case .signalled: "signalled"
    case .timeout: "timeout"
    case .wrong: "wrong"
    case .interrupted: "interrupted"
    }
  }
}

/// Bounds of trials.
public enum SlotLimits {
  /// How often a new image is started before it has to have proved itself.
  public static var triesMax: UInt8 { 3 }
  /// How many of these may fail. The power's failures are not the image's.
  public static var failuresMax: UInt8 { 2 }
  /// How long a start may take until it has proved itself, in seconds.
  public static var trialSeconds: UInt16 { 600 }
  /// The longest version, in bytes.
  public static var versionBytesMax: Int { BundleLimits.versionBytesMax }
}

/// One of the two slots.
public struct Slot: Sendable, BitwiseCopyable {
  /// What is in it.
  public var state = SlotState.empty
  /// SHA-256 of its image.
  public var digest = Digest(InlineArray<32, UInt8>(repeating: 0))
  /// The image's security version.
  public var securityVersion: UInt32 = 0
  fileprivate var versionCount: UInt8 = 0
  fileprivate var versionBytes = InlineArray<32, UInt8>(repeating: 0)

  /// Nothing in it.
  public init() {}

  /// The image's version.
  public var version: Span<UInt8> {
    @_lifetime(borrow self)
    get { versionBytes.span.extracting(first: Int(versionCount)) }
  }
}

/// What is to be started next.
public enum SlotStart: Equatable, Sendable {
  /// The program that came with the system.
  case packaged
  /// The program of a slot that has proved itself.
  case good(FirmwarePlace)
  /// The program of a slot that is being tried.
  case trial(FirmwarePlace)
}

/// The slot record.
public struct SlotRecord: Sendable, BitwiseCopyable {
  /// Counts up with each version of the record, and wraps.
  public private(set) var sequence: UInt32 = 0
  /// The security version below which no image is installed.
  public private(set) var floor: UInt32 = 0
  /// The slot that is started where none is tried; nil for the packaged program.
  public private(set) var active: FirmwarePlace?
  /// How many starts are left to the slot that is tried.
  public private(set) var tries: UInt8 = 0
  /// How many of its starts have failed.
  public private(set) var failures: UInt8 = 0
  /// How long each may take, in seconds.
  public private(set) var trialSeconds: UInt16 = 0
  /// Whether its last start has failed.
  private var hasFailedLast = false
  /// Whether it has had a start more than it was given; see `prepareStart`.
  private var hadExtraStart = false
  /// Why the last trial was given up, with the status or the signal that its program ended with.
  public private(set) var revertReason = RevertReason.none
  /// See `revertReason`.
  public private(set) var revertDetail: UInt8 = 0
  /// SHA-256 of the image that was given up.
  public private(set) var revertedDigest = Digest(InlineArray<32, UInt8>(repeating: 0))
  private var slots = InlineArray<2, Slot>(repeating: Slot())

  /// Nothing in any slot: the packaged program runs.
  public init() {}

  /// What is known of a slot.
  public subscript(place: FirmwarePlace) -> Slot { slots[Int(place.rawValue)] }

  /// The slot that is tried.
  public var trial: FirmwarePlace? {
    slots[0].state == .trial ? .slotA : slots[1].state == .trial ? .slotB : nil
  }

  /// Where the next image goes: never over what runs, and where that is none of the slots, not over what is active.
  public func free(running: FirmwarePlace?) -> FirmwarePlace { (running ?? active ?? .slotB).other }

  /// Whether the image with this SHA-256 was given up.
  public func isReverted(_ digest: Digest) -> Bool { revertReason != .none && revertedDigest.equals(digest) }

  // MARK: What the program does

  /// An image is going to be written to `place`: from now on it is not started.
  public mutating func beginWriting(_ place: FirmwarePlace) {
    slots[Int(place.rawValue)] = Slot()
    slots[Int(place.rawValue)].state = .writing
    if active == place { active = nil }
  }

  /// The image in `place` is whole, checked and durable. `version` has at most `SlotLimits.versionBytesMax` bytes.
  public mutating func noteVerified(
    _ place: FirmwarePlace, _ digest: Digest, version: Span<UInt8>, securityVersion: UInt32
  ) {
    precondition(version.count <= SlotLimits.versionBytesMax)
    var slot = Slot()
    slot.state = .verified
    slot.digest = digest
    slot.securityVersion = securityVersion
    slot.versionCount = UInt8(version.count)
    for index in version.indices { slot.versionBytes[index] = version[index] }
    slots[Int(place.rawValue)] = slot
  }

  /// There is nothing to be started in `place` any more.
  public mutating func empty(_ place: FirmwarePlace) {
    slots[Int(place.rawValue)] = Slot()
    if active == place { active = nil }
  }

  /// The switch: the verified image in `place` is tried from the next start on.
  public mutating func beginTrial(_ place: FirmwarePlace) {
    precondition(self[place].state == .verified && trial == nil, "one image is tried at a time")
    slots[Int(place.rawValue)].state = .trial
    tries = SlotLimits.triesMax
    trialSeconds = SlotLimits.trialSeconds
    failures = 0
    hasFailedLast = false
    hadExtraStart = false
  }

  /// The commit: the image that is tried has proved itself. Nothing rolls back by itself any more.
  public mutating func commit(_ place: FirmwarePlace) {
    guard self[place].state == .trial else { return }
    slots[Int(place.rawValue)].state = .good
    active = place
    floor = max(floor, self[place].securityVersion)
    // An earlier start of it may have failed.
    if isReverted(self[place].digest) { revertReason = .none }
    tries = 0
    failures = 0
    hasFailedLast = false
    hadExtraStart = false
  }

  // MARK: What the supervisor does

  /// What is to be started, counted: where this changes the record, it has to be durable before the start.
  ///
  /// A trial that has no try left ends here, unless its last start has not failed: then a commit may have been lost
  /// with one copy, and it gets one more.
  ///
  /// - Returns: what, and whether the record has changed.
  public mutating func prepareStart() -> (start: SlotStart, hasChanged: Bool) {
    guard let place = trial else { return (settled, false) }
    if tries > 0 {
      tries -= 1
    } else if !hasFailedLast, !hadExtraStart {
      hadExtraStart = true
    } else {
      revert(place, hasFailedLast ? revertReason : .interrupted, hasFailedLast ? revertDetail : 0)
      return (settled, true)
    }
    hasFailedLast = false
    return (.trial(place), true)
  }

  /// What is started where nothing is tried.
  public var settled: SlotStart {
    if let active, self[active].state == .good { return .good(active) }
    return .packaged
  }

  /// A start of the image that is tried has failed. `isFinal`: another one would, too.
  public mutating func noteFailure(_ reason: RevertReason, detail: UInt8 = 0, isFinal: Bool = false) {
    guard let place = trial else { return }
    failures = failures < UInt8.max ? failures + 1 : failures
    hasFailedLast = true
    revertReason = reason
    revertDetail = detail
    revertedDigest = self[place].digest
    if isFinal || failures >= SlotLimits.failuresMax { revert(place, reason, detail) }
  }

  /// The trial is over, and what ran before it is started again.
  private mutating func revert(_ place: FirmwarePlace, _ reason: RevertReason, _ detail: UInt8) {
    slots[Int(place.rawValue)].state = .bad
    revertReason = reason
    revertDetail = detail
    revertedDigest = self[place].digest
    tries = 0
  }
}

// MARK: Two copies

extension SlotRecord {
  private enum Offset {
    static var sequence: Int { 8 }
    static var floor: Int { 12 }
    static var active: Int { 16 }
    static var tries: Int { 17 }
    static var failures: Int { 18 }
    static var flags: Int { 19 }
    static var trialSeconds: Int { 20 }
    static var revertReason: Int { 22 }
    static var revertDetail: Int { 23 }
    static var revertedDigest: Int { 32 }
    static var slots: Int { 64 }
    static var slotStride: Int { 80 }
    // Within a slot.
    static var versionCount: Int { 1 }
    static var securityVersion: Int { 4 }
    static var digest: Int { 8 }
    static var version: Int { 40 }
    static var check: Int { 252 }
  }

  /// `MoSl`, format 1, 256 bytes.
  private static var beginning: UInt64 { 0x4D6F_536C_0001_0100 }

  /// The record that `copies` hold, both of them behind one another, and which of the two has to be written next: never
  /// the only one that is whole, and of two the older.
  ///
  /// - Returns: nil where none of them is whole.
  public static func newest(of copies: Span<UInt8>) -> (record: SlotRecord, nextCopy: Int)? {
    let byteCount = FirmwareLimits.slotRecordBytes
    let first = SlotRecord(copies.extracting(0..<byteCount))
    let second = SlotRecord(copies.extracting(byteCount..<(2 * byteCount)))
    guard let first else { return second.map { ($0, 0) } }
    guard let second else { return (first, 1) }
    // The difference has a sign, so that it may wrap.
    return Int32(bitPattern: second.sequence &- first.sequence) > 0 ? (second, 0) : (first, 1)
  }

  /// This version of the record has been stored, or is going to be: the next one is newer.
  public mutating func advance() { sequence &+= 1 }

  /// Understands one copy. Whatever else there may be in these bytes is no record: only what a program wrote whole is.
  private init?(_ bytes: Span<UInt8>) {
    guard bytes.number(at: 0, byteCount: 8) == SlotRecord.beginning,
      bytes.number(at: Offset.check, byteCount: 4) == UInt64(SlotRecord.check(bytes)),
      let reason = RevertReason(rawValue: bytes[Offset.revertReason]), bytes[Offset.active] <= 2
    else { return nil }
    sequence = UInt32(bytes.number(at: Offset.sequence, byteCount: 4))
    floor = UInt32(bytes.number(at: Offset.floor, byteCount: 4))
    active = FirmwarePlace(rawValue: bytes[Offset.active] &- 1)
    tries = bytes[Offset.tries]
    failures = bytes[Offset.failures]
    hasFailedLast = bytes[Offset.flags] & 1 != 0
    hadExtraStart = bytes[Offset.flags] & 2 != 0
    trialSeconds = UInt16(bytes.number(at: Offset.trialSeconds, byteCount: 2))
    revertReason = reason
    revertDetail = bytes[Offset.revertDetail]
    revertedDigest = Digest(bytes.extracting(Offset.revertedDigest..<Offset.slots))
    for index in 0..<2 {
      let start = Offset.slots + index * Offset.slotStride
      guard let state = SlotState(rawValue: bytes[start]),
        Int(bytes[start + Offset.versionCount]) <= SlotLimits.versionBytesMax
      else { return nil }
      slots[index].state = state
      slots[index].versionCount = bytes[start + Offset.versionCount]
      slots[index].securityVersion = UInt32(bytes.number(at: start + Offset.securityVersion, byteCount: 4))
      slots[index].digest = Digest(bytes.extracting((start + Offset.digest)..<(start + Offset.version)))
      for byte in 0..<SlotLimits.versionBytesMax {
        slots[index].versionBytes[byte] = bytes[start + Offset.version + byte]
      }
    }
    guard slots[0].state != .trial || slots[1].state != .trial else { return nil }
  }

  /// CRC-32C of all in front of it.
  private static func check(_ bytes: Span<UInt8>) -> UInt32 {
    var check = CRC32C()
    check.add(bytes.extracting(0..<Offset.check))
    return check.value
  }

  /// One copy, as it is stored.
  public var bytes: InlineArray<256, UInt8> {
    var bytes = InlineArray<256, UInt8>(repeating: 0)
    bytes.put(SlotRecord.beginning, at: 0, 8)
    bytes.put(UInt64(sequence), at: Offset.sequence, 4)
    bytes.put(UInt64(floor), at: Offset.floor, 4)
    bytes[Offset.active] = active.map { $0.rawValue + 1 } ?? 0
    bytes[Offset.tries] = tries
    bytes[Offset.failures] = failures
    bytes[Offset.flags] = (hasFailedLast ? 1 : 0) | (hadExtraStart ? 2 : 0)
    bytes.put(UInt64(trialSeconds), at: Offset.trialSeconds, 2)
    bytes[Offset.revertReason] = revertReason.rawValue
    bytes[Offset.revertDetail] = revertDetail
    bytes.put(revertedDigest.bytes.span, at: Offset.revertedDigest)
    for index in 0..<2 {
      let start = Offset.slots + index * Offset.slotStride
      bytes[start] = slots[index].state.rawValue
      bytes[start + Offset.versionCount] = slots[index].versionCount
      bytes.put(UInt64(slots[index].securityVersion), at: start + Offset.securityVersion, 4)
      bytes.put(slots[index].digest.bytes.span, at: start + Offset.digest)
      bytes.put(slots[index].versionBytes.span, at: start + Offset.version)
    }
    bytes.put(UInt64(SlotRecord.check(bytes.span)), at: Offset.check, 4)
    return bytes
  }
}

extension InlineArray where Element == UInt8 {
  /// A big-endian number of `byteCount` bytes.
  fileprivate mutating func put(_ value: UInt64, at offset: Int, _ byteCount: Int) {
    for index in 0..<byteCount {
      self[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64((byteCount - 1 - index) * 8))
    }
  }

  fileprivate mutating func put(_ bytes: Span<UInt8>, at offset: Int) {
    for index in bytes.indices { self[offset + index] = bytes[index] }
  }
}
