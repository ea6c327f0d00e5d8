// CRC-32C (Castagnoli), the checksum of what is stored: RFC 3720, appendix B.4. It notices every error of up to 32
// bits in a row, and every one of up to five single bits in a record of less than 650 bytes.

/// The checksum of bytes that come in pieces.
public struct CRC32C: Sendable, BitwiseCopyable {
  private var state: UInt32 = 0xFFFF_FFFF

  /// The checksum of no bytes.
  public init() {}

  /// The checksum so far.
  public var value: UInt32 { ~state }

  /// Adds `bytes`.
  @inline(never)
  public mutating func add(_ bytes: Span<UInt8>) {
    var rest = state
    for index in bytes.indices {
      // A table of 16 instead of 256: twice the steps, and a sixteenth of the memory that a step may have to fetch.
      rest ^= UInt32(bytes[index])
      rest = rest >> 4 ^ remainders[Int(rest & 15)]
      rest = rest >> 4 ^ remainders[Int(rest & 15)]
    }
    state = rest
  }
}

/// The remainders of the sixteen values of four bits, for the polynomial 1EDC6F41 with its bits reversed.
private let remainders: InlineArray<16, UInt32> = [
  0x0000_0000, 0x105E_C76F, 0x20BD_8EDE, 0x30E3_49B1, 0x417B_1DBC, 0x5125_DAD3, 0x61C6_9362, 0x7198_540D,
  0x82F6_3B78, 0x92A8_FC17, 0xA24B_B5A6, 0xB215_72C9, 0xC38D_26C4, 0xD3D3_E1AB, 0xE330_A81A, 0xF36E_6F75,
]
