// The blocks of a bundle. Each ends with the hash of the next one, so that a stream is checked before it is written,
// with one block and one hash in memory, and can go on anywhere.

import Bytes

/// How an image is cut into blocks.
public struct BundleBlocks: Sendable, BitwiseCopyable {
  /// The size of all blocks but the last one, in bytes.
  public let blockByteCount: Int
  /// The size of the image in bytes.
  public let imageByteCount: UInt64
  /// How many blocks there are.
  public let count: UInt64

  /// An image of `imageByteCount` bytes in blocks of 2 to the power of `exponent`.
  public init(exponent: UInt8, imageByteCount: UInt64) throws(BundleDefect) {
    guard BundleLimits.blockExponents ~= exponent else { throw .badBlockSize }
    guard imageByteCount > 0, imageByteCount <= BundleLimits.imageBytesMax else { throw .badImageSize }
    blockByteCount = 1 << Int(exponent)
    self.imageByteCount = imageByteCount
    let dataByteCount = UInt64(blockByteCount - Digest.byteCount)
    count = (imageByteCount - 1) / dataByteCount + 1
  }

  /// All bytes behind the header: the image, and a hash in each block but the last one.
  public var storedByteCount: UInt64 { imageByteCount + (count - 1) * UInt64(Digest.byteCount) }

  /// How many bytes of the image a block has.
  public func dataByteCount(ofBlock index: UInt64) -> Int {
    precondition(index < count)
    let whole = UInt64(blockByteCount - Digest.byteCount)
    return Int(index + 1 < count ? whole : imageByteCount - index * whole)
  }

  /// How many bytes a block has as it is stored.
  public func byteCount(ofBlock index: UInt64) -> Int {
    dataByteCount(ofBlock: index) + (index + 1 < count ? Digest.byteCount : 0)
  }

  /// Where a block begins, in bytes behind the header.
  public func offset(ofBlock index: UInt64) -> UInt64 { index * UInt64(blockByteCount) }
}

/// Where the check of a bundle's blocks stands: all that is needed to go on after a restart.
public struct BlockChain: Sendable, BitwiseCopyable {
  /// The block that comes next.
  public private(set) var index: UInt64
  /// What its SHA-256 must be.
  public private(set) var expected: Digest

  /// At the beginning of a bundle.
  public init(of header: BundleHeader) {
    index = 0
    expected = header.firstBlockDigest
  }

  /// In front of block `index`, whose digest is known from the block before it.
  public init(index: UInt64, expected: Digest) {
    self.index = index
    self.expected = expected
  }

  /// Takes the whole block that comes next, whose SHA-256 is `digest`; says whether it is the one that belongs here.
  /// Where it is, the first `dataByteCount` bytes of it may be written.
  public mutating func take(_ block: Span<UInt8>, digest: Digest, of blocks: BundleBlocks) -> Bool {
    precondition(block.count == blocks.byteCount(ofBlock: index))
    guard digest.equals(expected) else { return false }
    let dataByteCount = blocks.dataByteCount(ofBlock: index)
    if dataByteCount < block.count { expected = Digest(block.extracting(dataByteCount..<block.count)) }
    index += 1
    return true
  }
}
