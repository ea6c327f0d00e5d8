// What is known about the firmware and must outlive the power: which image is wanted, how far it has come, for which
// request, and what the server has not been told yet.
//
// The record is one of `HostStorage`, replaced whole. Whatever bytes are found there have a meaning: those that this
// file did not write count as a device that was never asked for anything.

import Bytes
import HostInterface

/// How far an image has come.
enum FirmwareStage: UInt8 {
  /// There is none.
  case idle = 0
  /// It is to be downloaded.
  case downloading
  /// It is there, and checked.
  case downloaded
  /// It is to be installed.
  case installing
  /// Its installation has been begun, and must not be begun again.
  case begun
  /// It is installed once the machine has restarted.
  case restarting

  /// What the protocol calls it: 0 idle, 1 downloading, 2 downloaded.
  var state: UInt8 { min(rawValue, 2) }
}

/// What became of an image, in the protocol's numbers (section 4.12).
enum UpdateStatus: UInt8 {
  case success = 0
  case inProgress
  case outOfMemory
  case connectionLost
  case verificationFailed
  case unsupportedImage
  case invalidURI
}

/// The record.
struct FirmwareJob: ~Copyable {
  /// Its texts, in their order.
  enum Text: Int {
    /// The identifier of the request that is being done, as it stands there.
    case identifier = 0
    case version
    case name
    case uri
    case verifier
    /// The version that was installed last.
    case installed
    /// How far the download has come.
    case checkpoint
    /// The word for why the last one came to nothing.
    case reason
  }

  // The record: version, stage, update status, flags, a zero, how often the result was told, next place in the ring, a
  // zero, 16 bytes of the machine's run, 32 of the image's digest, 8 of its length, the digest of the version that the
  // configuration had when the last one was installed, the digests of the last requests as a ring, the lengths of the
  // texts, the texts.
  private static var layoutVersion: UInt8 { 1 }
  private static var runOffset: Int { 8 }
  private static var targetOffset: Int { 24 }
  private static var targetCountOffset: Int { 56 }
  private static var baseOffset: Int { 64 }
  private static var ringOffset: Int { 72 }
  private static var ringCount: Int { 8 }
  private static var lengthsOffset: Int { ringOffset + 8 * ringCount }
  private static var textCount: Int { 8 }
  private static var textsOffset: Int { lengthsOffset + 2 * textCount }

  /// The longest text of a kind, in bytes.
  static func bytesMax(_ text: Text) -> Int { bytesMax(at: text.rawValue) }

  private static func bytesMax(at index: Int) -> Int {
    switch index {
    case Text.uri.rawValue: AgentLimits.uriBytesMax
    case Text.checkpoint.rawValue: ImageCheckpoint.byteCount
    default: PendingAction.identifierBytesMax
    }
  }

  private let pinned = Pinned()
  private(set) var record: ByteBuffer

  init(isSupported: Bool, in arena: inout Arena) {
    record = ByteBuffer(
      capacity: isSupported ? StorageRecord.firmware.roomNeeded : 0, for: "firmware", in: &arena)
    if isSupported { clear() }
  }

  /// A device that was never asked for anything.
  private mutating func clear() {
    record.removeAll()
    record.append(FirmwareJob.layoutVersion)
    for _ in 1..<FirmwareJob.textsOffset { record.append(0) }
  }

  // MARK: As bytes

  /// Has the host append the record to what is empty then, and takes it.
  mutating func read<H: HostStorage & ~Copyable>(_ host: inout H) -> StorageAnswer {
    record.removeAll()
    var answer = host.readRecord(.firmware, into: &record)
    guard answer != .pending else { return answer }
    if answer == .done, !isUsable { answer = .damaged }
    if answer != .done { clear() }
    return answer
  }

  /// Takes over what `content` has, which is a record of this layout.
  mutating func copy(_ content: borrowing ByteBuffer) {
    record.removeAll()
    record.append(content)
  }

  /// Whether a reader knows what all of it means.
  private var isUsable: Bool {
    guard record.count >= FirmwareJob.textsOffset, record[0] == FirmwareJob.layoutVersion,
      FirmwareStage(rawValue: record[1]) != nil, UpdateStatus(rawValue: record[2]) != nil,
      Int(record[6]) < FirmwareJob.ringCount
    else { return false }
    var end = FirmwareJob.textsOffset
    for index in 0..<FirmwareJob.textCount {
      let byteCount = length(at: index)
      guard byteCount <= FirmwareJob.bytesMax(at: index) else { return false }
      end += byteCount
    }
    return end == record.count
  }

  // MARK: Numbers

  var stage: FirmwareStage {
    get { FirmwareStage(rawValue: record[1]) ?? .idle }
    set { record[1] = newValue.rawValue }
  }

  var status: UpdateStatus {
    get { UpdateStatus(rawValue: record[2]) ?? .success }
    set { record[2] = newValue.rawValue }
  }

  /// Whether the server wants to be told of changes: one bit for each of the attributes that it can observe.
  var observed: UInt8 {
    get { record[3] & 7 }
    set { record[3] = record[3] & ~7 | newValue & 7 }
  }

  /// Whether the server has the answer to the request that is being done.
  var isAnswered: Bool {
    get { record[3] & 8 != 0 }
    set { setFlag(8, newValue) }
  }

  /// Whether the server does not know yet what it has come to.
  var owesReport: Bool {
    get { record[3] & 16 != 0 }
    set { setFlag(16, newValue) }
  }

  private mutating func setFlag(_ bit: UInt8, _ isSet: Bool) {
    record[3] = isSet ? record[3] | bit : record[3] & ~bit
  }

  /// In how many runs of the agent the server was told what it came to.
  var reportCount: UInt8 {
    get { record[5] }
    set { record[5] = newValue }
  }

  /// The run of the machine in which the last step was taken.
  var run: BootIdentifier {
    get { BootIdentifier(word(at: FirmwareJob.runOffset), word(at: FirmwareJob.runOffset + 8)) }
    set {
      put(newValue.words.0, at: FirmwareJob.runOffset)
      put(newValue.words.1, at: FirmwareJob.runOffset + 8)
    }
  }

  /// The digest of the version that the configuration had when the last one was installed.
  var base: UInt64 {
    get { word(at: FirmwareJob.baseOffset) }
    set { put(newValue, at: FirmwareJob.baseOffset) }
  }

  /// Whether `digest` is the image's SHA-256.
  func isTarget(_ digest: Span<UInt8>) -> Bool {
    record.span.extracting(FirmwareJob.targetOffset..<FirmwareJob.targetCountOffset).equals(digest)
  }

  /// The length of the image, in bytes.
  var targetByteCount: UInt64 { word(at: FirmwareJob.targetCountOffset) }

  /// It is about the image with this SHA-256 and length.
  mutating func setTarget(_ digest: Span<UInt8>, byteCount: UInt64) {
    record.overwrite(at: FirmwareJob.targetOffset, with: digest)
    put(byteCount, at: FirmwareJob.targetCountOffset)
  }

  // MARK: Requests

  /// Whether a request with this digest was accepted.
  func hasAccepted(_ digest: UInt64) -> Bool {
    for place in 0..<FirmwareJob.ringCount where word(at: FirmwareJob.ringOffset + 8 * place) == digest { return true }
    return false
  }

  /// The request whose identifier is noted is being done from now on.
  mutating func accept(in run: BootIdentifier) {
    put(text(.identifier).digest, at: FirmwareJob.ringOffset + 8 * Int(record[6]))
    record[6] = UInt8(truncatingIfNeeded: (Int(record[6]) + 1) % FirmwareJob.ringCount)
    isAnswered = false
    self.run = run
  }

  // MARK: Texts

  private func length(at index: Int) -> Int {
    let offset = FirmwareJob.lengthsOffset + 2 * index
    return Int(record[offset]) << 8 | Int(record[offset + 1])
  }

  private func range(_ text: Text) -> Range<Int> {
    var start = FirmwareJob.textsOffset
    for index in 0..<text.rawValue { start += length(at: index) }
    return start..<(start + length(at: text.rawValue))
  }

  /// A text; empty where there is none.
  @_lifetime(borrow self)
  @inline(never)  // small code
  func text(_ text: Text) -> Span<UInt8> {
    let span = record.span.extracting(range(text))
    return _overrideLifetime(span, borrowing: self)
  }

  /// Puts `bytes`, at most `bytesMax(text)` of them, in the place of a text.
  @inline(never)  // small code
  mutating func set(_ text: Text, _ bytes: Span<UInt8>) {
    resize(text, to: bytes.count)
    record.overwrite(at: range(text).lowerBound, with: bytes)
  }

  /// What was wanted is what is installed.
  mutating func noteInstalled() {
    resize(.installed, to: text(.version).count)
    record.move(range(.version), to: range(.installed).lowerBound)
  }

  /// So far has the download come.
  mutating func set(_ checkpoint: ImageCheckpoint) {
    resize(.checkpoint, to: ImageCheckpoint.byteCount)
    let end = record.count
    checkpoint.append(to: &record)
    record.move(end..<record.count, to: range(.checkpoint).lowerBound)
    record.truncate(to: end)
  }

  /// Gives a text this length, and not its bytes.
  private mutating func resize(_ text: Text, to byteCount: Int) {
    precondition(byteCount <= FirmwareJob.bytesMax(text))
    let old = range(text)
    let end = record.count
    let newEnd = end + byteCount - old.count
    while record.count < newEnd { record.append(0) }
    record.move(old.upperBound..<end, to: old.lowerBound + byteCount)
    record.truncate(to: newEnd)
    let offset = FirmwareJob.lengthsOffset + 2 * text.rawValue
    record[offset] = UInt8(truncatingIfNeeded: byteCount >> 8)
    record[offset + 1] = UInt8(truncatingIfNeeded: byteCount)
  }

  // MARK: Words

  private mutating func put(_ word: UInt64, at offset: Int) { record.overwrite(at: offset, bigEndian: word) }

  private func word(at offset: Int) -> UInt64 { record.bigEndian(at: offset) }
}
