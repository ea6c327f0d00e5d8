// Feeds headers of bundles. Whatever the bytes: nothing traps, and what is understood has its texts and signatures in
// their rooms, and blocks that add up to the stored length.

import Bytes
import Firmware

/// What libFuzzer calls with each header.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzBundle(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  guard let header = try? BundleHeader(parsing: bytes.span) else { return 0 }
  precondition(count >= BundleLimits.headerBytes, "a header was made up")
  precondition(48 <= header.compatible.lowerBound && header.compatible.upperBound <= 112, "a text outside of its room")
  precondition(112 <= header.version.lowerBound && header.version.upperBound <= 144, "a text outside of its room")
  for index in 0..<BundleLimits.signaturesMax {
    guard let signature = try? BundleHeader.signature(index, in: bytes.span) else { continue }
    precondition(
      352 <= signature.range.lowerBound && signature.range.upperBound <= 512, "a signature outside of its room")
  }
  checkBlocks(header.blocks)
  return 0
}

private func checkBlocks(_ blocks: BundleBlocks) {
  precondition(blocks.count > 0 && blocks.imageByteCount > 0)
  // The first, the last two, and one in between stand for all: there may be 2^28 of them.
  let last = blocks.count - 1
  for index in [0, last / 2, last > 0 ? last - 1 : 0, last] {
    let byteCount = blocks.byteCount(ofBlock: index)
    precondition(byteCount > 0 && byteCount <= blocks.blockByteCount, "a block of another size")
    let end = blocks.offset(ofBlock: index) + UInt64(byteCount)
    precondition(index == last ? end == blocks.storedByteCount : end == blocks.offset(ofBlock: index + 1), "a gap")
  }
}
