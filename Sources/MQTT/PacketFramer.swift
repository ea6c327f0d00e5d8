// Where a packet ends: the fixed header (section 2.2).

/// The size of the packet at the front of some bytes, known from its fixed header alone.
public struct PacketExtent: Equatable, Sendable, BitwiseCopyable {
  /// Bytes of the fixed header, 2...5.
  public let headerCount: Int
  /// Bytes of the whole packet, 2...268,435,460.
  public let byteCount: Int

  /// Reads the fixed header at the front of `bytes`; nil while more bytes are needed to know. Looks at five bytes at
  /// most.
  ///
  /// - Throws: for a reserved type, wrong flags, or a remaining length of more than four bytes.
  public init?(_ bytes: Span<UInt8>) throws(PeerFault) {
    guard bytes.count >= 2 else {
      if bytes.count == 1 { _ = try packetType(ofFirstByte: bytes[0]) }
      return nil
    }
    _ = try packetType(ofFirstByte: bytes[0])
    if bytes[1] < 0x80 {
      headerCount = 2
      byteCount = 2 + Int(bytes[1])
      return
    }
    var remaining = Int(bytes[1] & 0x7F)
    var index = 2
    while index < 5 {
      guard index < bytes.count else { return nil }
      remaining |= Int(bytes[index] & 0x7F) << (7 * (index - 1))
      index += 1
      if bytes[index - 1] < 0x80 {
        headerCount = index
        byteCount = index + remaining
        return
      }
    }
    throw .remainingLengthTooLong
  }
}

/// The type in a packet's first byte, whose flags are checked [MQTT-2.2.2-2], [MQTT-3.6.1-1].
func packetType(ofFirstByte byte: UInt8) throws(PeerFault) -> PacketType {
  guard let type = PacketType(rawValue: byte >> 4) else { throw .packetTypeReserved }
  if type == .publish {
    if byte & 0b0110 == 0b0110 { throw .publishQoSReserved }
    if byte & 0b1110 == 0b1000 { throw .duplicateWithoutQoS }
  } else if byte & 0x0F != type.fixedFlags {
    throw .flagsInvalid
  }
  return type
}

/// How many bytes the remaining length takes, for values up to `PacketLimits.remainingLengthMax`.
@inline(__always)
func remainingLengthCount(_ value: Int) -> Int {
  1 &+ (value >= 1 << 7 ? 1 : 0) &+ (value >= 1 << 14 ? 1 : 0) &+ (value >= 1 << 21 ? 1 : 0)
}

/// Bounds that the standard sets.
public enum PacketLimits {
  /// The largest remaining length that four bytes can say.
  public static var remainingLengthMax: Int { 268_435_455 }
  /// The longest string or binary field, in bytes [MQTT-4.7.3-3].
  public static var fieldBytesMax: Int { 65_535 }
}
