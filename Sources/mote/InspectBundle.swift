// `mote firmware inspect`: what a bundle is, whether it is whole, and who signed it.

import Bytes
import Firmware
import HostInterface
import LinuxHost

/// Why a file is no bundle that one could install.
private enum InspectionFailure: Error {
  case file(FileFailure)
  case header(BundleDefect)
  /// The file ends before this block does.
  case truncated(block: UInt64)
  /// This block is not the one that was signed.
  case damaged(block: UInt64)
  /// All blocks are right, and together they are not the image.
  case wrongImage
  /// There is more behind the last block.
  case surplus
  /// The key that was named has not signed it.
  case notSigned
}

/// Prints what the bundle is that `invocation` names. Throws `.data` where it is none, is damaged, or is not signed by
/// the key that was named.
func inspectBundle(_ invocation: Invocation, _ arguments: borrowing Arguments) throws(ExitStatus) {
  guard var memory = MemoryBlock() else { throw .system }
  let key = try readKey(invocation.key, arguments, from: &memory.arena)
  var block = try takeBuffer(1 << Int(BundleLimits.blockExponents.upperBound), from: &memory.arena)
  var output = ByteBuffer(memory.takeRest())
  var failure: InspectionFailure?
  do throws(InspectionFailure) { try inspect(arguments[invocation.file], key, &block, &output) } catch {
    failure = error
  }
  // What could be understood is of use in any case.
  try printOut(output.span)
  guard let failure else { return }
  begin(&output, about: arguments[invocation.file])
  output.append(failure)
  _ = StandardStream.error.write(output.span)
  throw .data
}

/// The key of the file that argument `index` names; nil where none is named.
private func readKey(
  _ index: Int?, _ arguments: borrowing Arguments, from arena: inout Arena
) throws(ExitStatus) -> PublicKey? {
  guard let index else { return nil }
  do throws(PublicKeyFailure) { return try PublicKey(readingFrom: arguments[index], from: &arena) } catch {
    var line = try takeBuffer(1024, from: &arena)
    begin(&line, about: arguments[index])
    switch error {
    case .file(let failure): line.append(reason(failure))
    case .noKey: line.append("no public key in it; expected PEM, as `openssl pkey -pubout` writes it")
    case .notP256: line.append("expected a key of P-256, as `openssl ecparam -name prime256v1` makes it")
    }
    line.append(UInt8(ascii: "\n"))
    _ = StandardStream.error.write(line.span)
    throw .data
  }
}

private func begin(_ line: inout ByteBuffer, about path: Span<UInt8>) {
  line.removeAll()
  line.append("mote: ")
  line.append(path)
  line.append(": ")
}

private func inspect(
  _ path: Span<UInt8>, _ key: PublicKey?, _ block: inout ByteBuffer, _ output: inout ByteBuffer
) throws(InspectionFailure) {
  let stream = try open(path)
  try read(BundleLimits.headerBytes, of: stream, into: &block)
  let header: BundleHeader
  let isSigned: Bool
  do throws(BundleDefect) {
    header = try BundleHeader(parsing: block.span)
    output.append(header, of: block.span)
    isSigned = try output.appendSignatures(of: block.span, key)
  } catch { throw .header(error) }
  try check(header, stream, &block)
  output.append("content      whole\n")
  guard isSigned || key == nil else { throw .notSigned }
}

private func open(_ path: Span<UInt8>) throws(InspectionFailure) -> FileStream {
  do throws(FileFailure) { return try FileStream(path) } catch { throw .file(error) }
}

/// Reads as many bytes, or as there are.
private func read(
  _ byteCount: Int, of stream: borrowing FileStream, into block: inout ByteBuffer
) throws(InspectionFailure) {
  block.removeAll()
  do throws(FileFailure) { _ = try stream.read(byteCount, into: &block) } catch { throw .file(error) }
}

/// Checks all blocks, as an installation would.
private func check(
  _ header: BundleHeader, _ stream: borrowing FileStream, _ block: inout ByteBuffer
) throws(InspectionFailure) {
  var chain = BlockChain(of: header)
  var image = SHA256()
  // One turn for each block.
  while chain.index < header.blocks.count {
    let index = chain.index
    let byteCount = header.blocks.byteCount(ofBlock: index)
    try read(byteCount, of: stream, into: &block)
    guard block.count == byteCount else { throw .truncated(block: index) }
    guard chain.take(block.span, digest: Digest(SHA256.digest(of: block.span)), of: header.blocks) else {
      throw .damaged(block: index)
    }
    image.add(block.span.extracting(0..<header.blocks.dataByteCount(ofBlock: index)))
  }
  guard Digest(image.finish()).equals(header.imageDigest) else { throw .wrongImage }
  try read(1, of: stream, into: &block)
  guard block.isEmpty else { throw .surplus }
}

extension ByteBuffer {
  /// What the header says, a line each.
  fileprivate mutating func append(_ header: BundleHeader, of bytes: Span<UInt8>) {
    append("kind         ")
    append(header.kind.name)
    append("\nversion      ")
    append(bytes.extracting(header.version))
    append("\nsecurity     ")
    append(decimal: UInt64(header.securityVersion))
    append("\ncompatible   ")
    append(bytes.extracting(header.compatible))
    append("\nmachine      ")
    append(machine: header.machine)
    append("\ncreated      ")
    append(header.created)
    append("\nimage        ")
    append(decimal: header.blocks.imageByteCount)
    append(" bytes\nsha256       ")
    append(hexadecimal: header.imageDigest.bytes.span)
    append("\nblocks       ")
    append(decimal: header.blocks.count)
    append(" of ")
    append(decimal: header.blocks.blockByteCount)
    append(" bytes\n")
  }

  /// The signatures of the header `bytes`, a line each; whether `key` made one of them.
  fileprivate mutating func appendSignatures(of bytes: Span<UInt8>, _ key: PublicKey?) throws(BundleDefect) -> Bool {
    let digest = SHA256.digest(of: bytes.extracting(0..<BundleLimits.signedBytes))
    var isSigned = false
    var isAny = false
    for index in 0..<BundleLimits.signaturesMax {
      guard let signature = try BundleHeader.signature(index, in: bytes) else { continue }
      isAny = true
      append("signature    key ")
      for byte in 0..<4 {
        append(hexadecimal: UInt8(truncatingIfNeeded: signature.keyIdentifier >> UInt32(24 - byte * 8)))
      }
      guard case .ecdsaP256 = signature.algorithm else {
        append(", of a kind that this version does not know\n")
        continue
      }
      append(", ECDSA with P-256")
      if let key {
        let isGood =
          key.identifier == signature.keyIdentifier && key.hasSigned(digest, bytes.extracting(signature.range))
        append(isGood ? ": good\n" : ": not by the key that was named\n")
        if isGood { isSigned = true }
      } else {
        append("; not checked, since no --key was named\n")
      }
    }
    if !isAny { append("signature    none\n") }
    return isSigned
  }

  /// What ELF (`e_machine`) calls a machine.
  private mutating func append(machine: UInt16) {
    switch machine {
    case 0: append("any")
    case 40: append("arm")
    case 62: append("x86_64")
    case 183: append("aarch64")
    case 243: append("riscv")
    default: append(decimal: UInt64(machine))
    }
  }

  private mutating func append(hexadecimal bytes: Span<UInt8>) {
    for index in bytes.indices { append(hexadecimal: bytes[index]) }
  }

  /// What is wrong, and what was expected.
  fileprivate mutating func append(_ failure: InspectionFailure) {
    switch failure {
    case .file(let failure): append(reason(failure))
    case .header(let defect):
      append("byte ")
      append(decimal: defect.offset)
      append(": ")
      append(defect.name)
      append("; expected ")
      append(defect.expectation)
    case .truncated(let block): append("ends within block ", block)
    case .damaged(let block): append("not what was signed in block ", block)
    case .wrongImage: append("the image of all blocks has another SHA-256 than the header says")
    case .surplus: append("more bytes behind the last block")
    case .notSigned: append("not signed by the key that was named")
    }
    append(UInt8(ascii: "\n"))
  }

  /// Blocks are counted from 0, as their offsets are.
  private mutating func append(_ text: StaticString, _ block: UInt64) {
    append(text)
    append(decimal: block)
    append(" of those behind the header, counted from 0")
  }
}
