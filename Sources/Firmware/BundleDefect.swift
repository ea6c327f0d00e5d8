// What can be wrong with a bundle before any signature is looked at.

import Bytes

/// Why 512 bytes are no header that this version understands.
public enum BundleDefect: UInt8, Error, Sendable, BitwiseCopyable {
  /// There are fewer than 512 bytes.
  case truncated
  /// It does not begin as a bundle does: another kind of file, or a web page in its place.
  case notABundle
  /// A later format, or a header of another length.
  case unknownFormat
  /// A flag that this version does not know.
  case unknownFlag
  /// None of the kinds of image.
  case unknownKind
  /// Compressed in a way that this version does not know.
  case unknownCompression
  /// Another hash than SHA-256.
  case unknownHash
  /// Blocks smaller or larger than `BundleLimits` allows.
  case badBlockSize
  /// An image without a byte, or larger than `BundleLimits.imageBytesMax`.
  case badImageSize
  /// The stored length is not that of the image and its hashes.
  case badStoredLength
  /// Made later than time stamps reach.
  case badTime
  /// A text that is empty, has other characters than printable ASCII, or something behind its end.
  case badText
  /// The image needs another one that it is a difference to.
  case isDelta
  /// Bytes that must be 0 and are not.
  case reservedBytes
  /// A signature longer than its room, or with something behind its end.
  case badSignature

  /// In a word, for a log.
  public var name: StaticString {
    switch self {
    case .truncated: "truncated"
    case .notABundle: "not-a-bundle"
    case .unknownFormat: "unknown-format"
    case .unknownFlag: "unknown-flag"
    case .unknownKind: "unknown-kind"
    case .unknownCompression: "unknown-compression"
    case .unknownHash: "unknown-hash"
    case .badBlockSize: "bad-block-size"
    case .badImageSize: "bad-image-size"
    case .badStoredLength: "bad-stored-length"
    case .badTime: "bad-time"
    case .badText: "bad-text"
    case .isDelta: "is-delta"
    case .reservedBytes: "reserved-bytes"
    case .badSignature: "bad-signature"
    }
  }

  /// Where in the header it is, in bytes.
  public var offset: Int {
    switch self {
    case .truncated, .notABundle: 0
    case .unknownFormat: 8
    case .unknownFlag: 12
    case .unknownKind: 16
    case .unknownCompression: 17
    case .unknownHash: 18
    case .badBlockSize: 19
    case .badStoredLength: 24
    case .badImageSize: 32
    case .badTime: 40
    case .badText: 48
    case .reservedBytes: 146
    case .isDelta: 212
    case .badSignature: 352
    }
  }

  /// What was expected there.
  public var expectation: Span<UInt8> {
    @_lifetime(immortal)
    get { BundleDefect.expectations.word(Int(rawValue)) }
  }

  // In the order of the cases: as a switch it would be twice as large.
  static var expectations: WordList {
    WordList(
      """
      512 bytes of header|the first bytes of a bundle|format 1 with a header of 512 bytes|no flags|\
      kind 1 (agent), 2 (slot) or 3 (file)|no compression|hash 1 (SHA-256)|\
      blocks of 2 to the power of 12 to 16 bytes|an image of 1 byte to 1 TB|\
      the length of the image and of 32 bytes for each block but the last|\
      seconds since 1970, before the year 10000|names of printable ASCII with zeros behind them|\
      an image that needs no other one|zeros|signatures of at most 74 bytes with zeros behind them
      """)
  }
}
