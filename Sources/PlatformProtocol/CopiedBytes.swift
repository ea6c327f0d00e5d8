// Borrowed bytes as values of their own.

extension String {
  /// The text that these bytes, which must be UTF-8, stand for.
  package init(copying bytes: Span<UInt8>) {
    self = bytes.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
  }
}

extension Array where Element == UInt8 {
  /// These bytes in memory of their own.
  package init(copying bytes: Span<UInt8>) {
    self = bytes.withUnsafeBufferPointer { Array($0) }
  }
}
