// Values as people write them: truth values, times and sizes with units.

import Bytes

/// What a number with a unit turned out to be.
enum ParsedAmount: Equatable {
  /// In milliseconds or bytes.
  case amount(Int64)
  /// A number without a unit.
  case bare(Int64)
  /// Something else.
  case malformed
}

enum Values {
  /// `yes`, `true`, `on`, `1` and their opposites in any case.
  static func boolean(_ text: Span<UInt8>) -> Bool? {
    guard let index = WordList("yes|true|on|1|no|false|off|0").index(of: text) else { return nil }
    return index < 4
  }

  /// `250ms`, `10s`, `5m`, `1h`, `2d`, and falling combinations such as `1h30m`.
  static func duration(_ text: Span<UInt8>) -> ParsedAmount {
    if let bare = amount(of: text) { return .bare(bare) }
    var total: Int64 = 0
    var largestUnit = Int64.max
    var index = 0
    while index < text.count {
      let start = index
      while index < text.count, text[index].isDigit { index += 1 }
      guard let number = amount(of: text.extracting(start..<index)) else { return .malformed }
      let unitStart = index
      while index < text.count, !text[index].isDigit { index += 1 }
      let unit = milliseconds(in: text.extracting(unitStart..<index))
      guard unit > 0, unit < largestUnit else { return .malformed }
      largestUnit = unit
      total += number * unit
    }
    return index > 0 ? .amount(total) : .malformed
  }

  /// `512B`, `64KB`, `1MB`; K is 1024.
  static func size(_ text: Span<UInt8>) -> ParsedAmount {
    var index = 0
    while index < text.count, text[index].isDigit { index += 1 }
    guard let number = amount(of: text.extracting(0..<index)) else { return .malformed }
    let unit = text.extracting(index..<text.count)
    if unit.isEmpty { return .bare(number) }
    switch WordList("b|kb|mb").index(of: unit) {
    case 0: return .amount(number)
    case 1: return .amount(number * 1024)
    case 2: return .amount(number * 1_048_576)
    default: return .malformed
    }
  }

  /// A whole number below a thousand million, so that no unit can make it overflow.
  private static func amount(of digits: Span<UInt8>) -> Int64? {
    guard let value = parseUnsigned(digits), value < 1_000_000_000 else { return nil }
    return Int64(value)
  }

  private static func milliseconds(in unit: Span<UInt8>) -> Int64 {
    switch WordList("ms|s|m|h|d").index(of: unit) {
    case 0: 1
    case 1: 1000
    case 2: 60_000
    case 3: 3_600_000
    case 4: 86_400_000
    default: 0
    }
  }

  /// Whether `text` may be a host name, an IPv4 or an IPv6 address.
  static func isHost(_ text: Span<UInt8>) -> Bool {
    guard !text.isEmpty, text.count <= ConfigurationLimits.hostBytesMax else { return false }
    var colonCount = 0
    for index in text.indices {
      let byte = text[index]
      let lower = byte.lowercased
      if byte == UInt8(ascii: ":") {
        colonCount += 1
      } else if !byte.isDigit, lower < UInt8(ascii: "a") || lower > UInt8(ascii: "z"), byte != UInt8(ascii: "."),
        byte != UInt8(ascii: "-"), byte != UInt8(ascii: "_"), byte != UInt8(ascii: "%")
      {
        return false
      }
    }
    // One colon would be a port, which has its own key; addresses have at least two.
    return colonCount != 1
  }

  /// Whether `text` may be the absolute path of a file.
  static func isAbsolutePath(_ text: Span<UInt8>) -> Bool {
    text.count > 1 && text.count <= ConfigurationLimits.pathBytesMax && text[0] == UInt8(ascii: "/")
      && text.firstIndex(of: 0) == nil
  }
}

extension ByteBuffer {
  /// Appends `span` in units without a remainder: `1h30m`, `250ms`, `0s`.
  mutating func append(duration span: TimeSpan) {
    var rest = max(span.milliseconds, 0)
    if rest == 0 { append("0s") }
    rest = append(rest, unit: 86_400_000, "d")
    rest = append(rest, unit: 3_600_000, "h")
    rest = append(rest, unit: 60_000, "m")
    rest = append(rest, unit: 1000, "s")
    _ = append(rest, unit: 1, "ms")
  }

  private mutating func append(_ milliseconds: Int64, unit: Int64, _ name: StaticString) -> Int64 {
    guard milliseconds >= unit else { return milliseconds }
    append(decimal: milliseconds / unit)
    append(name)
    return milliseconds % unit
  }

  /// Appends a size in the largest unit without a remainder.
  mutating func append(size: Int) {
    if size > 0, size % 1_048_576 == 0 {
      append(decimal: size / 1_048_576)
      append("MB")
    } else if size > 0, size % 1024 == 0 {
      append(decimal: size / 1024)
      append("KB")
    } else {
      append(decimal: size)
      append("B")
    }
  }
}
