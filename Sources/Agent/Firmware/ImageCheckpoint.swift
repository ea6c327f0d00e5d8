// How far an image has come: what its receiver needs to go on after a restart.

import Bytes
import Firmware
import HostInterface

/// All in front of it is checked and durable.
struct ImageCheckpoint: BitwiseCopyable, Sendable {
  /// Its size where it is stored.
  static var byteCount: Int { 104 }

  /// SHA-256 of the header (of a file without one, of its first 512 bytes): whether it is the same image still.
  var header: Digest
  /// The next block, and what its SHA-256 must be.
  var chain: BlockChain
  /// The state of SHA-256 of the file so far.
  var file: InlineArray<8, UInt32>

  init(header: Digest, chain: BlockChain, file: InlineArray<8, UInt32>) {
    self.header = header
    self.chain = chain
    self.file = file
  }

  /// Takes it from the first `byteCount` bytes of `bytes`, as `append` has written them.
  init(_ bytes: Span<UInt8>) {
    var offset = 0
    func number(_ byteCount: Int) -> UInt64 {
      var value: UInt64 = 0
      for index in 0..<byteCount { value |= UInt64(bytes[offset + index]) << UInt64(8 * index) }
      offset += byteCount
      return value
    }
    let index = number(8)
    var words = InlineArray<8, UInt32>(repeating: 0)
    for word in words.indices { words[word] = UInt32(truncatingIfNeeded: number(4)) }
    header = Digest(bytes.extracting(offset..<bytes.count))
    chain = BlockChain(index: index, expected: Digest(bytes.extracting((offset + Digest.byteCount)..<bytes.count)))
    file = words
  }

  func append(to buffer: inout ByteBuffer) {
    buffer.append(word: chain.index, byteCount: 8)
    for index in file.indices { buffer.append(word: UInt64(file[index]), byteCount: 4) }
    buffer.append(header.bytes.span)
    buffer.append(chain.expected.bytes.span)
  }
}
