// An image on its way from a transfer to flash: nothing is written that is not known to be what was signed.
//
//     header ─ preparing ─ collecting ─ writing ─┬─ collecting …
//                 (the transfer goes on here)    ├─ flushing ─ collecting …
//                                                └─ finishing ─ reading back ─ verified
//
// A bundle begins with a signed header, and each block pins the next one (Firmware/BUNDLE.md). A file of another kind
// is only taken where no key is configured, for an installer that knows what it is; it is written as it comes, and
// checked by the SHA-256 that came with the request.

import AgentConfiguration
import Bytes
import Firmware
import HostInterface

/// What became of the bytes that a transfer has brought.
enum ReceiverAnswer: Equatable, Sendable {
  /// So many of them are done with. It may be none: more are needed, or the ones there again in a later turn.
  case took(Int)
  /// None of them: flash is busy, and the host wakes the loop when asking again makes sense.
  case pending
  /// The transfer is to go on at this byte of the file.
  case wants(UInt64)
  /// All of it is on flash, and is what it should be.
  case verified
  /// It never will be. The reason is a word for a log line; the status is that of protocol 4.14: 2 no room or no flash,
  /// 4 not verified, 5 not for this device.
  case failed(status: Int, StaticString)

  static func == (left: ReceiverAnswer, right: ReceiverAnswer) -> Bool {
    switch (left, right) {
    case (.took(let count), .took(let other)): count == other
    case (.wants(let offset), .wants(let other)): offset == other
    case (.pending, .pending), (.verified, .verified): true
    case (.failed(let status, let reason), .failed(let otherStatus, let otherReason)):
      status == otherStatus && reason.isSameText(as: otherReason)
    default: false
    }
  }
}

/// What was asked for with an image.
enum ImageVerifier: Equatable, Sendable {
  /// Nothing.
  case none
  /// SHA-256 of the whole file: `sha256:` and 64 hexadecimal digits, or the digits alone.
  case sha256(Digest)
  /// Something that says nothing here: only a signature counts then.
  case unknown

  init(_ text: Span<UInt8>) {
    guard !text.isEmpty else {
      self = .none
      return
    }
    let start = text.starts(with: "sha256:") ? 7 : 0
    guard text.count == start + 2 * Digest.byteCount else {
      self = .unknown
      return
    }
    var bytes = InlineArray<32, UInt8>(repeating: 0)
    for index in bytes.indices {
      guard let high = text[start + 2 * index].hexDigitValue, let low = text[start + 2 * index + 1].hexDigitValue else {
        self = .unknown
        return
      }
      bytes[index] = high << 4 | low
    }
    self = .sha256(Digest(bytes))
  }

  static func == (left: ImageVerifier, right: ImageVerifier) -> Bool {
    switch (left, right) {
    case (.none, .none), (.unknown, .unknown): true
    case (.sha256(let digest), .sha256(let other)): digest.equals(other)
    default: false
    }
  }
}

/// Takes an image in, block by block.
///
/// Who uses it has said in the slot record that `place` is being written before the first `take`, stores `checkpoint`
/// whenever that has changed, and empties place and record where it fails. Its memory is one block and a header.
struct ImageReceiver: ~Copyable {
  private enum Phase: BitwiseCopyable {
    case idle
    case header
    case preparing
    case collecting
    case writing
    case flushing
    case finishing
    case readingBack
    case verified
  }

  /// How much is flushed at a time at least, in bytes, and how often in the course of an image at most.
  private static var flushBytesMin: UInt64 { 1 << 20 }
  private static var flushesMax: UInt64 { 32 }
  /// The blocks of a file that has none: 2 to the power of this, in bytes.
  private static var foreignExponent: Int { 14 }

  private let pinned = Pinned()
  private var phase = Phase.idle
  private(set) var place = FirmwarePlace.file
  /// Which byte of the file comes next.
  private(set) var position: UInt64 = 0
  private var header: ByteBuffer
  private var block: ByteBuffer
  /// Nil of a file without a header.
  private(set) var bundle: BundleHeader?
  private var headerDigest = Digest(InlineArray<32, UInt8>(repeating: 0))
  private var chain = BlockChain(index: 0, expected: Digest(InlineArray<32, UInt8>(repeating: 0)))
  /// SHA-256 of the file as far as whole blocks have come.
  private var file = RunningHash()
  /// The same with all of it, once the last block has come.
  private var fileDigest = Digest(InlineArray<32, UInt8>(repeating: 0))
  private var verifier = ImageVerifier.none
  private var version: ByteBuffer
  /// How much of the image is written, in bytes.
  private var written: UInt64 = 0
  private var flushed: UInt64 = 0
  private var imageBytesMax: UInt64 = 0
  /// Whether the block that is being written is the last one.
  private var isLast = false
  /// What there was of it before this start, until it is known whether that is of the same image.
  private var earlier: ImageCheckpoint?
  /// Whether all began anew, which it does once.
  private var hasRetried = false
  /// Whether part of the image came from an earlier transfer.
  private var isResumed = false
  /// Set in front of what is durable, and nil until something is.
  private(set) var checkpoint: ImageCheckpoint?
  private(set) var imageDigest = Digest(InlineArray<32, UInt8>(repeating: 0))

  /// The longest version that may be asked for is longer than any header has.
  private static var versionBytesMax: Int { BundleLimits.versionBytesMax + 1 }

  /// Takes buffers from `arena` where it is used.
  init(isUsed: Bool, in arena: inout Arena) {
    header = ByteBuffer(capacity: isUsed ? BundleLimits.headerBytes : 0, for: "firmware", in: &arena)
    version = ByteBuffer(capacity: isUsed ? ImageReceiver.versionBytesMax : 0, for: "firmware", in: &arena)
    // Pages of it that no block needs are never touched.
    block = ByteBuffer(capacity: isUsed ? FirmwareLimits.writeBytesMax : 0, for: "firmware", in: &arena)
  }

  /// Begins with an image for `place`, which is to have `version` where that is not empty. The transfer begins at the
  /// first byte of the file; with a `checkpoint` of an earlier start it is asked to skip what there is.
  mutating func begin(
    _ place: FirmwarePlace, version: Span<UInt8>, verifier: Span<UInt8>, checkpoint: ImageCheckpoint? = nil
  ) {
    self.place = place
    self.version.removeAll()
    self.version.append(version.extracting(0..<min(version.count, ImageReceiver.versionBytesMax)))
    self.verifier = ImageVerifier(verifier)
    self.checkpoint = checkpoint
    hasRetried = false
    restart(with: checkpoint)
  }

  private mutating func restart(with checkpoint: ImageCheckpoint?) {
    earlier = checkpoint
    isResumed = false
    bundle = nil
    header.removeAll()
    position = 0
    phase = .header
  }

  /// Forgets the image. What is written stays where it is.
  mutating func stop() { phase = .idle }

  // MARK: What is known

  /// Whether an image is being taken in.
  var isActive: Bool {
    switch phase {
    case .idle, .verified: false
    default: true
    }
  }

  /// The version of a bundle whose header has come.
  var bundleVersion: Span<UInt8> {
    @_lifetime(borrow self)
    get {
      let range = bundle?.version ?? 0..<0
      let span = header.span.extracting(range.lowerBound..<min(range.upperBound, header.count))
      return _overrideLifetime(span, borrowing: self)
    }
  }

  private var blockByteCount: Int { bundle?.blocks.blockByteCount ?? 1 << ImageReceiver.foreignExponent }

  /// Where in the file the next block begins.
  private var chainPosition: UInt64 {
    UInt64(bundle == nil ? 0 : BundleLimits.headerBytes) + chain.index * UInt64(blockByteCount)
  }

  /// How many bytes the next block has; of a file without a header as many as come.
  private var wantedByteCount: Int {
    guard let bundle else { return blockByteCount }
    return chain.index < bundle.blocks.count ? bundle.blocks.byteCount(ofBlock: chain.index) : 0
  }

  /// The length of an image that is verified, in bytes.
  var imageByteCount: UInt64 { written }

  // MARK: Taking

  /// Takes the beginning of `bytes`, which stand at `position` of the file. Handles one block at most. To be called
  /// again after `.took` as long as there are bytes, and after `.pending` in a later turn; without bytes it goes on
  /// with what it has.
  ///
  /// - Parameters:
  ///   - isComplete: whether nothing comes behind `bytes`.
  ///   - total: the size of the whole file, where the transfer knows it.
  mutating func take<H: HostFirmware & ~Copyable>(
    _ bytes: Span<UInt8>, isComplete: Bool, total: UInt64?, _ settings: borrowing Settings, _ slots: SlotRecord,
    _ host: inout H
  ) -> ReceiverAnswer {
    switch phase {
    case .idle: return .pending
    case .verified: return .verified
    case .header:
      let count = min(bytes.count, BundleLimits.headerBytes - header.count)
      header.append(bytes.extracting(0..<count))
      position += UInt64(count)
      let isAll = isComplete && count == bytes.count
      guard header.count == BundleLimits.headerBytes || isAll else { return .took(count) }
      return check(total, settings, slots, host) ?? .took(count)
    case .preparing: return prepare(total, &host)
    case .collecting:
      let count = min(bytes.count, wantedByteCount - block.count)
      block.append(bytes.extracting(0..<count))
      position += UInt64(count)
      return check(count, hasMore: count < bytes.count, isAll: isComplete && count == bytes.count, host)
    case .writing: return write(&host)
    case .flushing: return flush(&host)
    case .finishing: return finish(&host)
    case .readingBack: return readBack(&host)
    }
  }

  /// Looks at a whole header; nil where nothing speaks against it.
  @inline(never)
  private mutating func check<H: HostFirmware & ~Copyable>(
    _ total: UInt64?, _ settings: borrowing Settings, _ slots: SlotRecord, _ host: borrowing H
  ) -> ReceiverAnswer? {
    file = RunningHash()
    headerDigest = Digest(host.digest(of: header.span, behind: file))
    do throws(BundleDefect) {
      let parsed = try BundleHeader(parsing: header.span)
      if let fault = fault(of: parsed, total, settings, slots, host) { return fault }
      bundle = parsed
      imageDigest = parsed.imageDigest
      var begun = file
      host.add(header.span, to: &begun)
      file = begun
      chain = BlockChain(of: parsed)
    } catch {
      let isKnown = error != .notABundle && error != .truncated
      let takesAny = settings.firmware.installer == .command && settings.firmware.keyFile.isEmpty
      guard takesAny, !isKnown else { return .failed(status: 5, error.name) }
      if case .sha256 = verifier {} else { return .failed(status: 4, "no-verifier") }
      guard !header.isEmpty else { return .failed(status: 4, "truncated") }
      imageBytesMax = UInt64(settings.firmware.imageBytesMax)
      if let total, total > imageBytesMax { return .failed(status: 2, "too-large") }
      chain = BlockChain(index: 0, expected: headerDigest)
    }
    written = 0
    isLast = false
    block.removeAll()
    // A file without a header begins with its content.
    if bundle == nil { block.append(header) }
    // Whatever a record says, there is no block behind the last one.
    let blocksMax = bundle?.blocks.count ?? imageBytesMax >> UInt64(ImageReceiver.foreignExponent)
    if let earlier, earlier.header.equals(headerDigest), earlier.chain.index < blocksMax {
      chain = earlier.chain
      block.removeAll()
      file = RunningHash(words: earlier.file, byteCount: chainPosition)
      written = chain.index * UInt64(blockByteCount - (bundle == nil ? 0 : Digest.byteCount))
      isResumed = true
    } else {
      checkpoint = nil
    }
    flushed = written
    earlier = nil
    phase = .preparing
    return nil
  }

  /// Why an image is not for this device, or not trusted.
  private func fault<H: HostFirmware & ~Copyable>(
    of bundle: BundleHeader, _ total: UInt64?, _ settings: borrowing Settings, _ slots: SlotRecord,
    _ host: borrowing H
  ) -> ReceiverAnswer? {
    if !settings.firmware.keyFile.isEmpty, !isSigned(host) { return .failed(status: 4, "not-signed") }
    guard bundle.kind == settings.firmware.installer.kind else {
      return .failed(status: 5, "wrong-kind")
    }
    let compatible = settings.bytes(settings.firmware.compatible)
    guard compatible.isEmpty || header.span.extracting(bundle.compatible).equals(compatible) else {
      return .failed(status: 5, "not-compatible")
    }
    guard bundle.machine == 0 || bundle.machine == BundleHeader.ownMachine else {
      return .failed(status: 5, "wrong-machine")
    }
    guard version.isEmpty || header.span.extracting(bundle.version).equals(version.span) else {
      return .failed(status: 5, "wrong-version")
    }
    guard settings.firmware.allowsDowngrade || bundle.securityVersion >= slots.floor else {
      return .failed(status: 5, "downgrade")
    }
    if slots.isReverted(bundle.imageDigest) { return .failed(status: 5, "reverted") }
    guard bundle.blocks.imageByteCount <= UInt64(settings.firmware.imageBytesMax) else {
      return .failed(status: 2, "too-large")
    }
    let byteCount = bundle.blocks.storedByteCount + UInt64(BundleLimits.headerBytes)
    guard total == nil || total == byteCount else { return .failed(status: 4, "wrong-length") }
    return nil
  }

  /// Whether a trusted key has signed the header.
  private func isSigned<H: HostFirmware & ~Copyable>(_ host: borrowing H) -> Bool {
    let digest = host.digest(of: header.span.extracting(0..<BundleLimits.signedBytes), behind: RunningHash())
    for index in 0..<BundleLimits.signaturesMax {
      do throws(BundleDefect) {
        guard let signature = try BundleHeader.signature(index, in: header.span),
          case .ecdsaP256 = signature.algorithm
        else { continue }
        if host.isSigned(digest, byKey: signature.keyIdentifier, header.span.extracting(signature.range)) {
          return true
        }
      } catch { return false }
    }
    return false
  }

  private mutating func prepare<H: HostFirmware & ~Copyable>(_ total: UInt64?, _ host: inout H) -> ReceiverAnswer {
    let byteCount = bundle?.blocks.imageByteCount ?? total ?? written
    let kept = bundle == nil ? 0 : header.count
    let answer = host.prepareImage(
      place, header: header.span.extracting(0..<kept), byteCount: byteCount, from: written)
    guard answer == .done else { return given(answer) }
    phase = .collecting
    guard isResumed else { return .took(0) }
    position = chainPosition
    return .wants(position)
  }

  // MARK: Blocks

  /// Looks at the block, of which `count` bytes are new, if it is whole.
  private mutating func check<H: HostFirmware & ~Copyable>(
    _ count: Int, hasMore: Bool, isAll: Bool, _ host: borrowing H
  ) -> ReceiverAnswer {
    let isWhole = block.count == wantedByteCount
    guard isWhole || isAll else { return .took(count) }
    if let bundle {
      guard isWhole else { return .failed(status: 4, "truncated") }
      isLast = chain.index + 1 == bundle.blocks.count
      let digest = Digest(host.digest(of: block.span, behind: RunningHash()))
      let dataByteCount = bundle.blocks.dataByteCount(ofBlock: chain.index)
      var next = chain
      guard next.take(block.span, digest: digest, of: bundle.blocks) else {
        // It may be the earlier part that does not belong here: another image, or a file that has changed.
        return isResumed ? retry(orFail: 4, "damaged") : .failed(status: 4, "damaged")
      }
      chain = next
      if isLast, hasMore { return .failed(status: 4, "surplus") }
      addToFile(host)
      block.truncate(to: dataByteCount)
    } else {
      isLast = isAll
      guard written + UInt64(block.count) <= imageBytesMax else { return .failed(status: 2, "too-large") }
      addToFile(host)
      chain = BlockChain(index: chain.index + 1, expected: headerDigest)
    }
    phase = block.isEmpty ? .finishing : .writing
    return .took(count)
  }

  private mutating func addToFile<H: HostFirmware & ~Copyable>(_ host: borrowing H) {
    if isLast {
      fileDigest = Digest(host.digest(of: block.span, behind: file))
    } else {
      // A multiple of 64 bytes, as all blocks but the last one are.
      var longer = file
      host.add(block.span, to: &longer)
      file = longer
    }
  }

  private mutating func write<H: HostFirmware & ~Copyable>(_ host: inout H) -> ReceiverAnswer {
    let answer = host.writeImage(at: written, block.span)
    guard answer == .done else { return given(answer) }
    written += UInt64(block.count)
    block.removeAll()
    let step = max(ImageReceiver.flushBytesMin, (bundle?.blocks.imageByteCount ?? 0) / ImageReceiver.flushesMax)
    phase = isLast ? .finishing : written - flushed >= step ? .flushing : .collecting
    return .took(0)
  }

  private mutating func flush<H: HostFirmware & ~Copyable>(_ host: inout H) -> ReceiverAnswer {
    let answer = host.flushImage()
    guard answer == .done else { return given(answer) }
    flushed = written
    // Only now: what is stored about the image must never be ahead of it.
    checkpoint = ImageCheckpoint(header: headerDigest, chain: chain, file: file.words)
    phase = .collecting
    return .took(0)
  }

  private mutating func finish<H: HostFirmware & ~Copyable>(_ host: inout H) -> ReceiverAnswer {
    if case .sha256(let wanted) = verifier, !fileDigest.equals(wanted) {
      return isResumed ? retry(orFail: 4, "wrong-verifier") : .failed(status: 4, "wrong-verifier")
    }
    let answer = host.finishImage(byteCount: written)
    guard answer == .done else { return given(answer) }
    if bundle == nil { imageDigest = fileDigest }
    phase = .readingBack
    return .took(0)
  }

  private mutating func readBack<H: HostFirmware & ~Copyable>(_ host: inout H) -> ReceiverAnswer {
    var digest = InlineArray<32, UInt8>(repeating: 0)
    let answer = host.readBackImage(place, byteCount: written, &digest)
    guard answer == .done else { return given(answer) }
    guard Digest(digest).equals(imageDigest) else { return retry(orFail: 4, "not-as-written") }
    phase = .verified
    return .verified
  }

  /// What to answer where flash has not done what it should.
  private mutating func given(_ answer: StorageAnswer) -> ReceiverAnswer {
    switch answer {
    case .pending: .pending
    // What it has of the image nobody knows.
    case .failed, .damaged: retry(orFail: 2, answer.name)
    default: .failed(status: 2, answer.name)
    }
  }

  /// Once, all begins anew.
  private mutating func retry(orFail status: Int, _ reason: StaticString) -> ReceiverAnswer {
    guard !hasRetried else { return .failed(status: status, reason) }
    hasRetried = true
    checkpoint = nil
    restart(with: nil)
    return .wants(0)
  }
}

extension FirmwareInstaller {
  /// What it installs.
  fileprivate var kind: BundleKind { self == .agent ? .agent : self == .command ? .file : .slot }
}
