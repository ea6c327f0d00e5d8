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
  /// SHA-256 of the file so far.
  var file: RunningHash

  init(header: Digest, chain: BlockChain, file: RunningHash) {
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
    let fileBytes = number(8)
    var words = InlineArray<8, UInt32>(repeating: 0)
    for word in words.indices { words[word] = UInt32(truncatingIfNeeded: number(4)) }
    header = Digest(bytes.extracting(offset..<bytes.count))
    chain = BlockChain(index: index, expected: Digest(bytes.extracting((offset + Digest.byteCount)..<bytes.count)))
    // A multiple of 64, whatever was stored: it is only shifted out here, and would be found out by the verifier.
    file = RunningHash(words: words, byteCount: fileBytes & ~63)
  }

  func append(to buffer: inout ByteBuffer) {
    buffer.append(word: chain.index, byteCount: 8)
    buffer.append(word: file.byteCount, byteCount: 8)
    for index in file.words.indices { buffer.append(word: UInt64(file.words[index]), byteCount: 4) }
    buffer.append(header.bytes.span)
    buffer.append(chain.expected.bytes.span)
  }
}
