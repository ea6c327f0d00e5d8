// Units of what the kernel reports.

/// A unit, and how the kernel's whole numbers relate to it.
public struct SensorUnit: BitwiseCopyable, Sendable {
  /// The unit's symbol; empty for plain numbers.
  public let symbol: StaticString
  /// The kernel's number times ten to this power is the value in the unit.
  public let exponent: Int

  init(_ symbol: StaticString, exponent: Int) {
    self.symbol = symbol
    self.exponent = exponent
  }
}
