// What simulated and scripted hosts give for SHA-256: a digest that is none, but differs where bytes do.

import Bytes
import HostInterface

extension RunningHash {
  /// Adds whole blocks.
  public mutating func addForStandIn(_ bytes: Span<UInt8>) {
    for index in bytes.indices {
      let place = index % 8
      words[place] = (words[place] ^ UInt32(bytes[index])) &* 0x0100_0193 &+ words[(place + 1) % 8]
    }
    byteCount += UInt64(bytes.count)
  }

  /// The digest of what was added and of `rest`.
  public func standIn(behind rest: Span<UInt8>) -> InlineArray<32, UInt8> {
    var whole = self
    whole.addForStandIn(rest)
    return InlineArray<32, UInt8> { UInt8(truncatingIfNeeded: whole.words[$0 / 4] >> UInt32(8 * ($0 % 4))) }
  }
}

/// The digest of all of `bytes`.
func standInDigest(_ bytes: [UInt8]) -> InlineArray<32, UInt8> { RunningHash().standIn(behind: bytes.span) }
