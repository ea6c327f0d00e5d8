// Units of what the kernel reports.

import Bytes
import HostInterface

/// A unit, and how the kernel's whole numbers relate to it.
public struct SensorUnit: BitwiseCopyable, Sendable {
  private let kind: SourceKind
  private let index: UInt8
  private let tens: Int8

  /// The unit `index` of a kind's units, or the only one.
  init(_ kind: SourceKind, _ index: Int = 0, exponent: Int = 0) {
    self.kind = kind
    self.index = UInt8(index)
    tens = Int8(exponent)
  }

  /// The kernel's number times ten to this power is the value in the unit.
  public var exponent: Int { Int(tens) }

  /// The unit's symbol; empty for plain numbers.
  public var symbol: Span<UInt8> {
    @_lifetime(immortal)
    @inline(never)
    get {
      let symbols = kind.description.units
      let isOnly = symbols.bytes.firstIndex(of: UInt8(ascii: "|")) == nil
      return symbols.word(isOnly ? 0 : Int(index))
    }
  }
}
