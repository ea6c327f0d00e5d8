// `mote supervise`: starts the program of the slot that the record names, and another one where that is no good.
//
// It is as old as the system, while what it starts is renewed. So it takes as little as it can: no network, no
// configuration, no heap. It reads the record, counts a try before it, checks signature and hash of what it is going to
// execute, waits, and writes down what has failed. What it is killed in, it goes on with at its next start.

import Bytes
import CLinux
import Firmware
import HostInterface
import Storage

/// The statuses by which a program gives itself up to its supervisor.
extension SupervisedEnd {
  /// For exit(3).
  public var status: Int32 {
    switch self {
    case .slotsChanged: 80
    case .trialFailed: 81
    }
  }
}

/// A supervisor.
public struct Supervisor: ~Copyable {
  private let folder: CString
  private let home: Int32
  private let signals: Int32
  private let keys: TrustedKeys
  /// The command line from the word on that the program's path takes the place of.
  private let words: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
  private var buffer: ByteBuffer
  private var line: ByteBuffer
  /// The slot record as it was read last, and which of its copies is written next.
  private var record = SlotRecord()
  private var nextCopy = 0
  /// Whether the record could not be written: nothing is tried then, since it would not be counted.
  private var isReadOnly = false

  private static var pieceBytes: Int { 16_384 }
  private static var lineBytes: Int { 256 }
  /// How long a program may take for its end where its time is over, in milliseconds.
  private static var endMsMax: Int32 { 10_000 }

  /// Takes over the process's signals, and becomes the owner of the state folder where it is root's.
  ///
  /// - Parameters:
  ///   - path: the state folder, a C string that lives as long as the process.
  ///   - key: which word of the command line is the path of a PEM file of trusted keys; without, no slot is started.
  ///   - arguments: the command line, of which the words from `firstArgument` on are for the program.
  /// - Throws: `HostSetupFailure` where the system refuses memory, descriptors, or to become another user.
  public init(
    folder path: StaticString, key: Int?, arguments: borrowing Arguments, from firstArgument: Int,
    in arena: inout Arena
  ) throws(HostSetupFailure) {
    // DEVIATION(unsafe-pointer): literals end with a zero.
    let newFolder = CString(UnsafeRawPointer(path.utf8Start).assumingMemoryBound(to: CChar.self))
    let newHome = mote_open_folder()
    let newSignals = mote_take_all_signals()
    guard newSignals >= 0, newHome >= 0, mote_become_owner(newFolder.start) == 0 else {
      throw .noResources(mote_errno())
    }
    var newKeys = try makeKeys(from: &arena)
    // What is wrong with them the log says, of each slot that nobody trusted has signed.
    if let key { do throws(PublicKeyFailure) { try newKeys.read(arguments[key]) } catch {} }
    let newBuffer = try makeBuffer(Supervisor.pieceBytes, from: &arena)
    let newLine = try makeBuffer(Supervisor.lineBytes, from: &arena)
    folder = newFolder
    home = newHome
    signals = newSignals
    keys = newKeys
    buffer = newBuffer
    line = newLine
    words = arguments.words(from: firstArgument - 1)
  }

  /// Supervises until there is nothing to be started any more, and ends the process as the last program has ended. Does
  /// not return.
  public mutating func run() {
    while true {
      readRecord()
      let before = record.trial
      let prepared = record.prepareStart()
      let start = prepared.hasChanged && !store() ? record.settled : prepared.start
      if let before, record.trial == nil { tell("reverted", before) }
      switch start {
      case .trial(let place): tryOut(place)
      case .good(let place):
        if isUsable(place) {
          execute(place)
        } else {
          tell("slot-unusable", place)
          // The one before it is better than none.
          let isOther = record[place.other].state == .good && isUsable(place.other)
          execute(isOther ? place.other : nil)
        }
      case .packaged: execute(nil)
      }
    }
  }

  // MARK: The record

  private func openFolder() -> StateFolder? { try? StateFolder(firmwareIn: folder, isKept: false) }

  /// Reads the record; an empty one where there is none.
  private mutating func readRecord() {
    (record, nextCopy) = (SlotRecord(), 0)
    guard var medium = openFolder() else { return }
    buffer.removeAll()
    let answer = readSlotRecord(into: &buffer, on: &medium)
    medium.close()
    if answer == .done, let newest = SlotRecord.newest(of: buffer.span) {
      (record, nextCopy) = newest
    } else if answer != .notFound {
      tell("record-damaged", nil)
    }
  }

  /// Makes the changed record durable; false where it cannot be.
  private mutating func store() -> Bool {
    record.advance()
    let bytes = record.bytes
    if !isReadOnly, var medium = openFolder() {
      let answer = replaceSlotRecord(copy: nextCopy, bytes.span, through: &buffer, on: &medium)
      medium.close()
      if answer == .done { return true }
    }
    isReadOnly = true
    tell("not-stored", nil)
    return false
  }

  /// Whether the image in a slot is the one that the record has, and signed by a trusted key.
  private mutating func isUsable(_ place: FirmwarePlace) -> Bool {
    guard var medium = openFolder() else { return false }
    buffer.removeAll()
    var byteCount: UInt64 = 0
    let wanted = record[place].digest
    var isGood = readImageHeader(place, into: &buffer, on: &medium) == .done && isTrusted(wanted, &byteCount)
    if isGood {
      var hash = SHA256()
      isGood = readImage(place, byteCount: byteCount, through: &buffer, on: &medium) { hash.add($0) } == .done
      isGood = Digest(hash.finish()).equals(wanted) && isGood
    }
    medium.close()
    return isGood
  }

  /// Whether `buffer` has the header of a program with this SHA-256, signed by a trusted key; and its size.
  private func isTrusted(_ digest: Digest, _ byteCount: inout UInt64) -> Bool {
    do throws(BundleDefect) {
      let header = try BundleHeader(parsing: buffer.span)
      guard header.kind == .agent, header.imageDigest.equals(digest) else { return false }
      byteCount = header.blocks.imageByteCount
      let signed = SHA256.digest(of: buffer.span.extracting(0..<BundleLimits.signedBytes))
      for index in 0..<BundleLimits.signaturesMax {
        guard let signature = try BundleHeader.signature(index, in: buffer.span), signature.algorithm == .ecdsaP256
        else { continue }
        let bytes = buffer.span.extracting(signature.range)
        if keys.haveSigned(signed, signature.keyIdentifier, bytes) { return true }
      }
    } catch {}
    return false
  }

  // MARK: Programs

  /// Starts a program that has nothing to prove, and ends with it, unless the slots have changed.
  private mutating func execute(_ place: FirmwarePlace?) {
    guard let child = begin(place) else {
      tell("not-executable", place)
      guard place == nil else { return execute(nil) }
      _exit(126)
    }
    var status: Int32 = 0
    var isAsked: Int32 = 0
    while mote_wait_supervised(signals, child, -1, &status, &isAsked) == 0 {}
    let hasHandedOver = mote_has_exited(status) != 0 && mote_exit_status(status) == SupervisedEnd.slotsChanged.status
    if !hasHandedOver || isAsked != 0 { mote_end_like(status) }
  }

  /// Starts the program of a slot that has to prove itself. What it comes to is in the record then.
  private mutating func tryOut(_ place: FirmwarePlace) {
    guard isUsable(place) else { return fail(place, .damaged, isFinal: true) }
    tell("trial", place)
    guard let child = begin(place) else { return fail(place, .notExecutable, isFinal: true) }
    var status: Int32 = 0
    var isAsked: Int32 = 0
    var isLate = false
    if mote_wait_supervised(signals, child, Int32(record.trialSeconds) * 1000, &status, &isAsked) == 0 {
      // The program says by the record that it has proved itself, and nobody else tells.
      readRecord()
      isLate = record.trial == place
      if isLate {
        kill(child, SIGTERM)
        if mote_wait_supervised(signals, child, Supervisor.endMsMax, &status, &isAsked) == 0 { kill(child, SIGKILL) }
      }
      while mote_wait_supervised(signals, child, -1, &status, &isAsked) == 0 {}
    }
    readRecord()
    // Whoever asks for an end is no failure of the program, unless it hung.
    if isAsked != 0 {
      if isAsked == MOTE_GIVEN_UP, record.trial == place { fail(place, .timeout, isFinal: false) }
      mote_end_like(status)
    }
    let hasExited = mote_has_exited(status) != 0
    let detail = hasExited ? mote_exit_status(status) : mote_end_signal(status)
    guard record.trial == place else {
      // It has been committed since.
      if hasExited, detail == SupervisedEnd.slotsChanged.status { return }
      mote_end_like(status)
    }
    let isWrong = hasExited && detail == SupervisedEnd.trialFailed.status
    fail(
      place, isLate ? .timeout : isWrong ? .wrong : hasExited ? .exited : .signalled,
      detail: UInt8(truncatingIfNeeded: detail), isFinal: isWrong && !isLate)
  }

  /// Writes down that a try has failed.
  @inline(never)
  private mutating func fail(_ place: FirmwarePlace, _ reason: RevertReason, detail: UInt8 = 0, isFinal: Bool) {
    record.noteFailure(reason, detail: detail, isFinal: isFinal)
    tell(record.trial == nil ? "reverted" : "trial-failed", place)
    _ = store()
  }

  private mutating func begin(_ place: FirmwarePlace?) -> pid_t? {
    // This very program is there also where its file has been replaced since.
    let path = place.map { imagePath($0, in: folder) } ?? PathText(StaticString("/proc/self/exe").bytes)
    let child = path.withPointer { mote_start_supervised($0, words, home) }
    return child > 0 ? child : nil
  }

  // MARK: Telling

  /// Writes a line to standard error.
  @inline(never)
  private mutating func tell(_ event: StaticString, _ place: FirmwarePlace?) {
    line.removeAll()
    line.append(LogSink.priority(of: .warning))
    line.append("warning supervise ")
    line.append(event)
    if let place {
      line.append(" slot=")
      line.append(place.fileName)
      line.append(" reason=")
      line.append(record.revertReason.name)
    }
    line.append(UInt8(ascii: "\n"))
    _ = StandardStream.error.write(line.span)
  }
}

// A `~Copyable` value cannot be bound in a `do` whose `catch` leaves it unbound, hence functions.

private func makeBuffer(_ byteCount: Int, from arena: inout Arena) throws(HostSetupFailure) -> ByteBuffer {
  do throws(ArenaExhausted) {
    return try ByteBuffer(capacity: byteCount, for: "supervise", from: &arena)
  } catch { throw .memory(error) }
}

private func makeKeys(from arena: inout Arena) throws(HostSetupFailure) -> TrustedKeys {
  do throws(ArenaExhausted) { return try TrustedKeys(from: &arena) } catch { throw .memory(error) }
}
