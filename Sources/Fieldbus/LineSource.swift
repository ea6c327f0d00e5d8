// `gpio:PLACE [active-low] [bias=…] [debounce=…] [QUANTITY]`: one input line, how it is asked for, and what of it.

import Bytes

/// What a sensor takes of a line, in the order of the words of its kind.
public enum LineQuantity: UInt8, Sendable, BitwiseCopyable {
  /// 1 where it is active, 0 where it is not.
  case level
  /// How often it has become active since it was asked for.
  case count
  /// How often a second it became active since the last reading.
  case frequency
  /// Edges that the kernel had no room for; they are counted all the same.
  case lost

  static var words: WordList { WordList("level|count|frequency|lost") }
}

/// What holds the level of an input that nothing drives.
public enum LineBias: UInt8, Sendable, BitwiseCopyable {
  /// Whatever it is.
  case unchanged
  case off, pullUp, pullDown
}

/// How a line is asked for.
public struct LineOptions: Equatable, Sendable, BitwiseCopyable {
  /// Whether a low voltage is active.
  public var isActiveLow = false
  /// What holds its level.
  public var bias = LineBias.unchanged
  /// How long a level must last to be one, in microseconds; 0 for none of that.
  public var debounceMicroseconds: UInt32 = 0

  /// As the machine has it.
  public init() {}
}

/// What stands behind `gpio:`, taken apart.
public struct LineSource: Sendable, BitwiseCopyable {
  /// Where the line's place ends in the text; it begins at its start.
  public private(set) var placeEnd = 0
  /// How it is asked for.
  public private(set) var options = LineOptions()
  /// What of it.
  public private(set) var quantity = LineQuantity.level

  /// Whether all that it says can be said of an output.
  public var isForOutput: Bool { quantity == .level && options.bias == .unchanged && options.debounceMicroseconds == 0 }

  /// The longest debounce period, in microseconds: a second.
  public static var debounceMax: UInt32 { 1_000_000 }

  /// Takes `text` apart: a place without blanks, and words behind it.
  ///
  /// - Returns: nil where it is not understood.
  public init?(_ text: Span<UInt8>) {
    var start = 0
    while start < text.count {
      let end = text.firstIndex(of: UInt8(ascii: " "), from: start) ?? text.count
      let word = text.extracting(start..<end)
      if start == 0 { placeEnd = end } else if !word.isEmpty, !take(word) { return nil }
      start = end + 1
    }
    guard placeEnd > 0 else { return nil }
  }

  /// Takes one word; false where it is none of ours.
  private mutating func take(_ word: Span<UInt8>) -> Bool {
    if let index = LineQuantity.words.index(of: word), let found = LineQuantity(rawValue: UInt8(index)) {
      quantity = found
      return true
    }
    guard let equals = word.firstIndex(of: UInt8(ascii: "=")) else {
      guard word.equals("active-low") else { return false }
      options.isActiveLow = true
      return true
    }
    let value = word.extracting((equals + 1)..<word.count)
    let name = word.extracting(0..<equals)
    if name.equals("bias"), let index = WordList("off|pull-up|pull-down").index(of: value) {
      options.bias = LineBias(rawValue: UInt8(index + 1)) ?? .unchanged
      return true
    }
    guard name.equals("debounce"), let period = microseconds(value) else { return false }
    options.debounceMicroseconds = period
    return true
  }
}

/// `20ms`, `500us`: more than 0 and at most `LineSource.debounceMax`.
private func microseconds(_ text: Span<UInt8>) -> UInt32? {
  guard text.count > 2, text[text.count - 1] == UInt8(ascii: "s") else { return nil }
  let unit = text[text.count - 2]
  guard unit == UInt8(ascii: "m") || unit == UInt8(ascii: "u"),
    let number = parseUnsigned(text.extracting(0..<(text.count - 2))), number > 0,
    number <= UInt64(LineSource.debounceMax)
  else { return nil }
  let period = unit == UInt8(ascii: "m") ? number * 1000 : number
  return period <= UInt64(LineSource.debounceMax) ? UInt32(period) : nil
}
