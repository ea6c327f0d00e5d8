// Which slot is started, and what is known of it: the slot record, of which two copies are kept. SLOTS.md draws it.
//
// The supervisor is older than every program that it starts, so the form of this record does not change: a newer
// program writes what an older supervisor understands.

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

/// One of the two slots, as it is stored.
public struct Slot: Sendable, BitwiseCopyable {
  fileprivate static var byteCount: Int { 80 }
  fileprivate enum Offset {
    static var versionCount: Int { 1 }
    static var securityVersion: Int { 4 }
    static var digest: Int { 8 }
    static var version: Int { 40 }
  }

  fileprivate var bytes = InlineArray<80, UInt8>(repeating: 0)

  /// Nothing in it.
  public init() {}

  /// What is in it.
  public var state: SlotState { SlotState(rawValue: bytes[0]) ?? .empty }
  /// SHA-256 of its image.
  public var digest: Digest { Digest(bytes.span.extracting(Offset.digest..<Offset.version)) }
  /// The image's security version.
  public var securityVersion: UInt32 { UInt32(bytes.span.number(at: Offset.securityVersion, byteCount: 4)) }

  /// The image's version.
  public var version: Span<UInt8> {
    @_lifetime(borrow self)
    get {
      let start = Offset.version
      return bytes.span.extracting(start..<(start + min(Int(bytes[Offset.versionCount]), SlotLimits.versionBytesMax)))
    }
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

/// The slot record, as it is stored but for its checksum.
public struct SlotRecord: Sendable, BitwiseCopyable {
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
    static var check: Int { 252 }
  }

  /// Its last start has failed.
  private static var hasFailedLast: UInt8 { 1 }
  /// It has had a start more than it was given; see `prepareStart`.
  private static var hadExtraStart: UInt8 { 2 }
  /// `MoSl`, format 1, 256 bytes.
  private static var beginning: UInt64 { 0x4D6F_536C_0001_0100 }

  private var stored = InlineArray<256, UInt8>(repeating: 0)

  /// Nothing in any slot: the packaged program runs.
  public init() { put(SlotRecord.beginning, at: 0, 8) }

  /// Counts up with each version of the record, and wraps.
  public var sequence: UInt32 { number(Offset.sequence) }
  /// The security version below which no image is installed.
  public var floor: UInt32 { number(Offset.floor) }
  /// The slot that is started where none is tried; nil for the packaged program.
  public private(set) var active: FirmwarePlace? {
    get { stored[Offset.active] == 0 ? nil : FirmwarePlace(rawValue: stored[Offset.active] - 1) }
    set { stored[Offset.active] = newValue.map { $0.rawValue + 1 } ?? 0 }
  }
  /// How many starts are left to the slot that is tried.
  public var tries: UInt8 { stored[Offset.tries] }
  /// How many of its starts have failed.
  public var failures: UInt8 { stored[Offset.failures] }
  /// How long each may take, in seconds.
  public var trialSeconds: UInt16 { UInt16(truncatingIfNeeded: number(Offset.trialSeconds) >> 16) }
  /// Why the last trial was given up, with the status or the signal that its program ended with.
  public var revertReason: RevertReason { RevertReason(rawValue: stored[Offset.revertReason]) ?? .none }
  /// See `revertReason`.
  public var revertDetail: UInt8 { stored[Offset.revertDetail] }
  /// SHA-256 of the image that was given up.
  public var revertedDigest: Digest { Digest(stored.span.extracting(Offset.revertedDigest..<Offset.slots)) }

  /// What is known of a slot.
  public private(set) subscript(place: FirmwarePlace) -> Slot {
    get {
      var slot = Slot()
      for index in 0..<Slot.byteCount { slot.bytes[index] = stored[start(of: place) + index] }
      return slot
    }
    set { put(newValue.bytes.span, at: start(of: place)) }
  }

  private func start(of place: FirmwarePlace) -> Int { Offset.slots + (place == .slotB ? Slot.byteCount : 0) }

  private func state(of place: FirmwarePlace) -> UInt8 { stored[start(of: place)] }

  private mutating func setState(_ state: SlotState, of place: FirmwarePlace) {
    stored[start(of: place)] = state.rawValue
  }

  /// The slot that is tried.
  public var trial: FirmwarePlace? {
    state(of: .slotA) == SlotState.trial.rawValue
      ? .slotA : state(of: .slotB) == SlotState.trial.rawValue ? .slotB : nil
  }

  /// Where the next image goes: never over what runs, and where that is none of the slots, not over what is active.
  public func freeSlot(running: FirmwarePlace?) -> FirmwarePlace { (running ?? active ?? .slotB).other }

  /// Whether the image with this SHA-256 was given up.
  public func isReverted(_ digest: Digest) -> Bool { revertReason != .none && revertedDigest.equals(digest) }

  // MARK: What the program does

  /// An image is going to be written to `place`: from now on it is not started.
  public mutating func beginWriting(_ place: FirmwarePlace) {
    empty(place)
    setState(.writing, of: place)
  }

  /// The image in `place` is whole, checked and durable. `version` has at most `SlotLimits.versionBytesMax` bytes.
  public mutating func noteVerified(
    _ place: FirmwarePlace, _ digest: Digest, version: Span<UInt8>, securityVersion: UInt32
  ) {
    precondition(version.count <= SlotLimits.versionBytesMax)
    empty(place)
    setState(.verified, of: place)
    let start = start(of: place)
    stored[start + Slot.Offset.versionCount] = UInt8(version.count)
    put(UInt64(securityVersion), at: start + Slot.Offset.securityVersion, 4)
    put(digest.bytes.span, at: start + Slot.Offset.digest)
    put(version, at: start + Slot.Offset.version)
  }

  /// There is nothing to be started in `place` any more.
  public mutating func empty(_ place: FirmwarePlace) {
    self[place] = Slot()
    if active == place { active = nil }
  }

  /// The switch: the verified image in `place` is tried from the next start on.
  public mutating func beginTrial(_ place: FirmwarePlace) {
    precondition(self[place].state == .verified && trial == nil, "one image is tried at a time")
    setState(.trial, of: place)
    stored[Offset.tries] = SlotLimits.triesMax
    put(UInt64(SlotLimits.trialSeconds), at: Offset.trialSeconds, 2)
    forgetStarts()
  }

  /// The commit: the image that is tried has proved itself. Nothing rolls back by itself any more.
  public mutating func commit(_ place: FirmwarePlace) {
    guard trial == place else { return }
    setState(.good, of: place)
    active = place
    let slot = self[place]
    put(UInt64(max(floor, slot.securityVersion)), at: Offset.floor, 4)
    // An earlier start of it may have failed.
    if isReverted(slot.digest) { stored[Offset.revertReason] = 0 }
    stored[Offset.tries] = 0
    forgetStarts()
  }

  private mutating func forgetStarts() {
    stored[Offset.failures] = 0
    stored[Offset.flags] = 0
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
      stored[Offset.tries] -= 1
      stored[Offset.flags] &= SlotRecord.hadExtraStart
    } else if stored[Offset.flags] == 0 {
      stored[Offset.flags] = SlotRecord.hadExtraStart
    } else {
      let hasFailed = stored[Offset.flags] & SlotRecord.hasFailedLast != 0
      revert(place, hasFailed ? revertReason : .interrupted, hasFailed ? revertDetail : 0, isOver: true)
      return (settled, true)
    }
    return (.trial(place), true)
  }

  /// What is started where nothing is tried.
  public var settled: SlotStart {
    if let active, state(of: active) == SlotState.good.rawValue { return .good(active) }
    return .packaged
  }

  /// A start of the image that is tried has failed. `isFinal`: another one would, too.
  public mutating func noteFailure(_ reason: RevertReason, detail: UInt8 = 0, isFinal: Bool = false) {
    guard let place = trial else { return }
    if failures < SlotLimits.failuresMax { stored[Offset.failures] += 1 }
    stored[Offset.flags] |= SlotRecord.hasFailedLast
    revert(place, reason, detail, isOver: isFinal || failures >= SlotLimits.failuresMax)
  }

  /// Keeps why. `isOver`: the trial is, and what ran before it is started again.
  private mutating func revert(_ place: FirmwarePlace, _ reason: RevertReason, _ detail: UInt8, isOver: Bool) {
    stored[Offset.revertReason] = reason.rawValue
    stored[Offset.revertDetail] = detail
    put(self[place].digest.bytes.span, at: Offset.revertedDigest)
    guard isOver else { return }
    setState(.bad, of: place)
    stored[Offset.tries] = 0
  }
}

// MARK: Two copies

extension SlotRecord {
  /// The record that `copies` hold, both of them behind one another, and which of the two has to be written next: never
  /// the only one that is whole, and of two the older.
  ///
  /// - Returns: nil where none of them is whole.
  public static func newest(of copies: Span<UInt8>) -> (record: SlotRecord, nextCopy: Int)? {
    let byteCount = FirmwareLimits.slotRecordBytes
    let second = copies.extracting(byteCount..<(2 * byteCount))
    let isSecondWhole = isWhole(second)
    var isSecond = isSecondWhole
    if isWhole(copies), isSecondWhole {
      let first = copies.number(at: Offset.sequence, byteCount: 4)
      let difference = second.number(at: Offset.sequence, byteCount: 4) &- first
      // It has a sign, so that the number may wrap.
      isSecond = Int32(truncatingIfNeeded: difference) > 0
    } else if !isSecondWhole, !isWhole(copies) {
      return nil
    }
    var record = SlotRecord()
    record.put((isSecond ? second : copies).extracting(0..<byteCount), at: 0)
    return (record, isSecond ? 0 : 1)
  }

  /// This version of the record has been stored, or is going to be: the next one is newer.
  public mutating func advance() { put(UInt64(sequence &+ 1), at: Offset.sequence, 4) }

  /// Whether these bytes begin with a copy that a program wrote whole. Anything else that there may be is none.
  @inline(never)
  private static func isWhole(_ bytes: Span<UInt8>) -> Bool {
    guard bytes.number(at: 0, byteCount: 8) == beginning,
      bytes.number(at: Offset.check, byteCount: 4) == UInt64(check(bytes)),
      bytes[Offset.revertReason] <= RevertReason.interrupted.rawValue, bytes[Offset.active] <= 2
    else { return false }
    let (first, second) = (Offset.slots, Offset.slots + Slot.byteCount)
    let (trial, bad) = (SlotState.trial.rawValue, SlotState.bad.rawValue)
    return bytes[first] <= bad && bytes[second] <= bad && (bytes[first] != trial || bytes[second] != trial)
      && bytes[first + Slot.Offset.versionCount] <= SlotLimits.versionBytesMax
      && bytes[second + Slot.Offset.versionCount] <= SlotLimits.versionBytesMax
  }

  /// CRC-32C of all in front of it.
  private static func check(_ bytes: Span<UInt8>) -> UInt32 {
    var check = CRC32C()
    check.add(bytes.extracting(0..<Offset.check))
    return check.value
  }

  /// One copy, as it is stored.
  public var bytes: InlineArray<256, UInt8> {
    var copy = self
    copy.put(UInt64(SlotRecord.check(stored.span)), at: Offset.check, 4)
    return copy.stored
  }

  private func number(_ offset: Int) -> UInt32 {
    UInt32(truncatingIfNeeded: stored.span.number(at: offset, byteCount: 4))
  }

  /// A big-endian number of `byteCount` bytes.
  @inline(never)
  private mutating func put(_ value: UInt64, at offset: Int, _ byteCount: Int) {
    for index in 0..<byteCount {
      stored[offset + index] = UInt8(truncatingIfNeeded: value &>> UInt64((byteCount &- 1 &- index) &* 8))
    }
  }

  @inline(never)
  private mutating func put(_ bytes: Span<UInt8>, at offset: Int) {
    for index in bytes.indices { stored[offset + index] = bytes[index] }
  }
}
