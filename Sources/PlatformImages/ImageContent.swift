// What an image is, as far as its first bytes tell: an operator sees it before a device does.

import Bytes
import Firmware
import Foundation

/// What an image says of itself.
public enum ImageContent: Equatable, Sendable {
  /// A bundle whose header is whole. Whether it is to be trusted its signatures say, to who has the keys.
  case bundle(BundleSummary)
  /// It begins as a bundle does, and no device will take it; why, in words.
  case damagedBundle(String)
  /// Another kind of file.
  case other

  /// Looks at a file's first bytes: `BundleLimits.headerBytes` of them, or all that there are.
  ///
  /// - Parameter byteCount: the size of the whole file.
  public init(beginning: [UInt8], byteCount: Int64) {
    do throws(BundleDefect) {
      let header = try BundleHeader(parsing: beginning.span)
      let stored = Int64(BundleLimits.headerBytes) + Int64(clamping: header.blocks.storedByteCount)
      guard stored == byteCount else {
        self = .damagedBundle("it has \(byteCount) bytes, and says that it has \(stored)")
        return
      }
      self = .bundle(try BundleSummary(header, beginning))
    } catch {
      // Too short for anything is too short for a bundle as well.
      guard error != .notABundle, beginning.count >= 8, BundleHeader.isBundle(beginning.span) else {
        self = .other
        return
      }
      let expectation = error.expectation.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
      self = .damagedBundle("\(text(error.name)) at byte \(error.offset); expected \(expectation)")
    }
  }

  /// Looks at the file at `path`; `other` where it cannot be read.
  public init(ofFile path: String) {
    guard let file = FileHandle(forReadingAtPath: path), let size = try? file.seekToEnd(),
      (try? file.seek(toOffset: 0)) != nil, let beginning = try? file.read(upToCount: BundleLimits.headerBytes)
    else {
      self = .other
      return
    }
    self.init(beginning: Array(beginning), byteCount: Int64(clamping: size))
  }

  /// What it is; nil of another kind of file.
  public var bundle: BundleSummary? {
    if case .bundle(let summary) = self { return summary }
    return nil
  }
}

/// What a bundle's header says.
public struct BundleSummary: Equatable, Sendable {
  /// `agent`, `slot` or `file`.
  public let kind: String
  /// What it is made for: the `compatible` of devices.
  public let compatible: String
  /// The version that it brings.
  public let version: String
  /// Devices refuse what is below that of what runs.
  public let securityVersion: Int
  /// The machine in a word; empty for any.
  public let machine: String
  /// When it was made, in milliseconds since 1970.
  public let created: Int64
  /// The size of the image in it, in bytes.
  public let imageByteCount: Int64
  /// Who has signed it: the first 32 bits of SHA-256 of each key, in hexadecimal digits.
  public let keys: [String]

  init(_ header: BundleHeader, _ bytes: [UInt8]) throws(BundleDefect) {
    kind = text(header.kind.name)
    compatible = String(decoding: bytes[header.compatible], as: UTF8.self)
    version = String(decoding: bytes[header.version], as: UTF8.self)
    securityVersion = Int(header.securityVersion)
    machine = machineName(header.machine)
    created = header.created.milliseconds
    imageByteCount = Int64(clamping: header.blocks.imageByteCount)
    var keys: [String] = []
    for index in 0..<BundleLimits.signaturesMax {
      guard let signature = try BundleHeader.signature(index, in: bytes.span) else { continue }
      let digits = String(signature.keyIdentifier, radix: 16)
      keys.append(String(repeating: "0", count: 8 - digits.count) + digits)
    }
    self.keys = keys
  }

  /// All of it in a line.
  public var words: String {
    let signed = keys.isEmpty ? "not signed" : "signed by \(keys.joined(separator: " and "))"
    let place = machine.isEmpty ? compatible : "\(compatible) on \(machine)"
    return "a bundle of kind \(kind) for \(place), version \(version), security version \(securityVersion), \(signed)"
  }

  /// What speaks against it, for a device of which this is known: nothing that is nil or empty there. In words that go
  /// on behind a device's name.
  ///
  /// - Parameters:
  ///   - compatible: what the device takes, as its metadata says.
  ///   - runningVersion: the version of its firmware.
  public func doubts(compatible: String?, runningVersion: String?) -> [String] {
    var doubts: [String] = []
    if let compatible, !compatible.isEmpty, compatible != self.compatible {
      doubts.append("takes what is made for \(compatible), and this is made for \(self.compatible)")
    }
    if let runningVersion, runningVersion == version { doubts.append("runs \(version) already") }
    if keys.isEmpty { doubts.append("will not take what nobody has signed, if it has a key") }
    return doubts
  }
}

/// What ELF (`e_machine`) calls a machine, in the words that builds use.
private func machineName(_ machine: UInt16) -> String {
  switch machine {
  case 0: ""
  case 40: "arm"
  case 62: "x86_64"
  case 183: "aarch64"
  case 243: "riscv"
  default: "ELF machine \(machine)"
  }
}

private func text(_ words: StaticString) -> String { words.description }
