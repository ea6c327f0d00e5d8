// Texts whose form others define, and which are passed on as they are.

/// Whether `text` is a date and time of ISO 8601 in the form `2024-05-01T10:20:00Z`: seconds, their fraction and the
/// offset may be missing.
func isDateTime(_ text: String) -> Bool {
  let form =
    #/
    ([0-9]{4})-([0-9]{2})-([0-9]{2})
    T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,][0-9]+)?)?
    (?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?
    /#
  guard let parts = text.wholeMatch(of: form), let year = Int(parts.1), let month = Int(parts.2),
    let day = Int(parts.3), let hour = Int(parts.4), let minute = Int(parts.5)
  else { return false }
  let isLeapYear = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
  let days = [31, isLeapYear ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
  // A leap second is the sixtieth.
  return (1...12).contains(month) && (1...days[month - 1]).contains(day) && hour <= 23 && minute <= 59
    && parts.6.map { $0 <= "60" } ?? true
}

/// Whether `text` is base64 (RFC 4648, section 4).
func isBase64(_ text: String) -> Bool {
  let bytes = text.utf8
  let padding = bytes.reversed().prefix { $0 == UInt8(ascii: "=") }.count
  return bytes.count % 4 == 0 && padding <= 2
    && bytes.dropLast(padding).allSatisfy {
      switch $0 {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"):
        true
      default: false
      }
    }
}
