import Bytes
import Firmware
import TestSupport
import Testing

@Suite struct BundleTests {
  /// A header of BUNDLE.md with everything as small as possible: one byte of image, no signature.
  private func header(_ changes: [Int: [UInt8]] = [:]) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 512)
    let parts: [Int: [UInt8]] = [
      0: [0x89, 0x4D, 0x4F, 0x54, 0x45, 0x0D, 0x0A, 0x1A], 8: [0, 1], 10: [2, 0], 16: [1], 18: [1], 19: [14],
      24: [0, 0, 0, 0, 0, 0, 0, 1], 32: [0, 0, 0, 0, 0, 0, 0, 1], 48: Array("acme-e7".utf8), 112: Array("1.5.0".utf8),
    ]
    for (offset, part) in Array(parts) + Array(changes) {
      bytes.replaceSubrange(offset..<(offset + part.count), with: part)
    }
    return bytes
  }

  private func parse(_ bytes: [UInt8]) throws(BundleDefect) -> BundleHeader { try BundleHeader(parsing: bytes.span) }

  /// What is said about a header with these changes; nil where it is understood.
  private func defect(_ changes: [Int: [UInt8]]) -> BundleDefect? { defect(header(changes)) }

  private func defect(_ bytes: [UInt8]) -> BundleDefect? {
    do throws(BundleDefect) {
      _ = try parse(bytes)
      return nil
    } catch { return error }
  }

  private func big(_ value: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(56 - $0 * 8)) }
  }

  // MARK: Header

  @Test func understandsEachField() throws {
    let bytes = header([
      16: [2], 19: [12], 20: [0, 0, 0, 7], 24: big(4064 + 32 + 1), 32: big(4064 + 1), 40: big(1_790_000_000),
      144: [0, 40], 148: [UInt8](repeating: 0xAA, count: 32), 180: [UInt8](repeating: 0xBB, count: 32),
    ])
    let header = try parse(bytes)
    #expect(header.kind == .slot)
    #expect(header.securityVersion == 7)
    #expect(header.machine == 40)
    #expect(header.created == WallTime(milliseconds: 1_790_000_000_000))
    #expect(header.blocks.blockByteCount == 4096)
    #expect(header.blocks.count == 2)
    #expect(header.blocks.imageByteCount == 4065)
    #expect(header.imageDigest.equals(Digest([UInt8](repeating: 0xAA, count: 32).span)))
    #expect(header.firstBlockDigest.equals(Digest([UInt8](repeating: 0xBB, count: 32).span)))
    #expect(Array(bytes[header.compatible]) == Array("acme-e7".utf8))
    #expect(Array(bytes[header.version]) == Array("1.5.0".utf8))
  }

  @Test func textsMayFillTheirRoom() throws {
    let bytes = header([48: [UInt8](repeating: 0x21, count: 64), 112: [UInt8](repeating: 0x7E, count: 32)])
    let header = try parse(bytes)
    #expect(header.compatible == 48..<112)
    #expect(header.version == 112..<144)
  }

  @Test(
    arguments: [
      (BundleDefect.truncated, "512 bytes of header"), (.badImageSize, "an image of 1 byte to 1 TB"),
      (.badText, "names of printable ASCII with zeros behind them"), (.isDelta, "an image that needs no other one"),
      (.badSignature, "signatures of at most 74 bytes with zeros behind them"),
    ] as [(BundleDefect, StaticString)])
  func eachDefectSaysWhatWasExpected(_ defect: BundleDefect, _ text: StaticString) {
    let isSaid = defect.expectation.equals(text)
    #expect(isSaid)
    #expect(BundleDefect(rawValue: BundleDefect.badSignature.rawValue + 1) == nil)
  }

  @Test(
    arguments: [
      (0, [0x88], BundleDefect.notABundle), (7, [0x0A], .notABundle), (8, [1], .unknownFormat),
      (9, [2], .unknownFormat),
      (10, [2, 1], .unknownFormat), (12, [1], .unknownFlag), (15, [1], .unknownFlag), (16, [0], .unknownKind),
      (16, [4], .unknownKind), (17, [1], .unknownCompression), (18, [0], .unknownHash), (18, [2], .unknownHash),
      (19, [11], .badBlockSize), (19, [17], .badBlockSize), (19, [255], .badBlockSize), (39, [0], .badImageSize),
      (32, [0x7F], .badImageSize), (39, [2], .badStoredLength), (31, [2], .badStoredLength),
      (24, [1], .badStoredLength),
      (42, [0x80], .badTime), (48, [0], .badText), (48, [0x20], .badText), (48, [0x80], .badText),
      (56, [0x41], .badText),
      (111, [0x41], .badText), (112, [0], .badText), (143, [0x41], .badText), (146, [1], .reservedBytes),
      (147, [1], .reservedBytes), (212, [1], .isDelta), (243, [1], .isDelta), (244, [1], .reservedBytes),
      (351, [1], .reservedBytes), (352, [1], .badSignature), (357, [1], .badSignature), (358, [1], .badSignature),
      (356, [1], .badSignature), (356, [1, 75], .badSignature), (356, [1, 255], .badSignature),
      (511, [1], .badSignature),
    ] as [(Int, [UInt8], BundleDefect)])
  func refusesWhatIsNotOfThisVersion(_ offset: Int, _ bytes: [UInt8], _ expected: BundleDefect) {
    let found = defect([offset: bytes])
    #expect(found == expected)
    // The place that is named is where the field begins or before the byte that is wrong.
    if let found { #expect(found.offset <= offset) }
  }

  @Test func refusesEachLength() {
    let whole = header()
    for count in 0..<512 {
      #expect(defect(Array(whole[..<count])) == .truncated, "of \(count) bytes")
    }
    #expect(defect(whole + [1, 2, 3]) == nil)
    #expect(defect(Array("<html><body>Please log in</body></html>".utf8)) == .notABundle)
    #expect(defect(Array("<html>".utf8)) == .truncated)
  }

  @Test func imagesHaveBounds() {
    let largest = BundleLimits.imageBytesMax
    #expect(defect([32: big(largest), 24: big(largest + ((largest - 1) / 16352) * 32)]) == nil)
    #expect(defect([32: big(largest + 1)]) == .badImageSize)
    #expect(defect([32: big(1 << 63)]) == .badImageSize)
    #expect(defect([32: big(.max), 24: big(.max)]) == .badImageSize)
  }

  // MARK: Signatures

  @Test func findsBothSignatures() throws {
    let bytes = header([
      352: [0xDE, 0xAD, 0xBE, 0xEF, 1, 70] + [UInt8](repeating: 0x30, count: 70),
      432: [1, 2, 3, 4, 2, 74] + [UInt8](repeating: 0x31, count: 74),
    ])
    _ = try parse(bytes)
    let first = try #require(try BundleHeader.signature(0, in: bytes.span))
    #expect(first.keyIdentifier == 0xDEAD_BEEF && first.range == 358..<428)
    guard case .ecdsaP256 = first.algorithm else {
      Issue.record("another algorithm")
      return
    }
    let second = try #require(try BundleHeader.signature(1, in: bytes.span))
    #expect(second.keyIdentifier == 0x0102_0304 && second.range == 438..<512)
    guard case .unknown = second.algorithm else {
      Issue.record("an algorithm that nobody knows")
      return
    }
  }

  // MARK: Blocks

  @Test(
    arguments: [
      (12, 1, 1, 1), (12, 4064, 1, 4064), (12, 4065, 2, 4097), (12, 8128, 2, 8160), (12, 8129, 3, 8193),
      (14, 16352, 1, 16352), (14, 16353, 2, 16385), (16, 65504, 1, 65504), (16, 65505, 2, 65537),
    ] as [(UInt8, UInt64, UInt64, UInt64)])
  func cutsImages(_ exponent: UInt8, _ image: UInt64, _ count: UInt64, _ stored: UInt64) throws {
    let blocks = try BundleBlocks(exponent: exponent, imageByteCount: image)
    #expect(blocks.count == count && blocks.storedByteCount == stored)
    var sum: UInt64 = 0
    for index in 0..<count {
      #expect(blocks.offset(ofBlock: index) == sum)
      sum += UInt64(blocks.byteCount(ofBlock: index))
    }
    #expect(sum == stored)
  }

  @Test func aChainTakesNothingElse() throws {
    // Digests need not be real here: who computes them is somebody else.
    let blocks = try BundleBlocks(exponent: 12, imageByteCount: 4065)
    let next = Digest([UInt8](repeating: 7, count: 32).span)
    let first = [UInt8](repeating: 1, count: 4064) + [UInt8](repeating: 7, count: 32)
    let known = Digest([UInt8](repeating: 5, count: 32).span)
    let last: [UInt8] = [9]
    var chain = BlockChain(index: 0, expected: known)
    func take(_ block: [UInt8], _ digest: Digest) -> Bool { chain.take(block.span, digest: digest, of: blocks) }
    #expect(take(first, next) == false)
    #expect(chain.index == 0 && chain.expected.equals(known))
    #expect(take(first, known))
    #expect(chain.index == 1 && chain.expected.equals(next))
    #expect(take(last, known) == false)
    #expect(take(last, next))
    #expect(chain.index == blocks.count)
  }
}
