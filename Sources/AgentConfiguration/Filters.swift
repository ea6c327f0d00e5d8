// What `filter = …` says: a few steps, one behind the other, separated by commas.

import Bytes

/// Bounds of filters.
public enum FilterLimits {
  /// Steps of one sensor.
  public static var stepsMax: Int { 8 }
  /// Values of which a median is taken.
  public static var medianMax: Int { 15 }
  /// Values of which a mean is taken.
  public static var averageMax: Int { 16 }
  /// Points of a calibration.
  public static var pointsMax: Int { 8 }
  /// Bits of a counter that wraps.
  static var bits: ClosedRange<UInt64> { 8...62 }
  /// Digits behind the point.
  static var digitsMax: UInt64 { 18 }
  /// The longest time of a step, in milliseconds.
  static var millisecondsMax: Int64 { 86_400_000 }
}

/// What a filter makes of values.
public enum FilterKind: UInt8, Sendable, BitwiseCopyable {
  /// Multiplies.
  case scale
  /// Adds.
  case offset
  /// Goes along straight lines between points.
  case calibrate
  /// The median of the last values.
  case median
  /// The mean of the last values.
  case average
  /// Keeps within bounds.
  case clamp
  /// Keeps so many digits behind the point.
  case round
  /// What was added since the value before.
  case delta
  /// How fast a counter counts.
  case rate
  /// Follows when a value stays.
  case debounce

  /// In the order of the raw values.
  static var words: WordList { WordList("scale|offset|calibrate|median|average|clamp|round|delta|rate|debounce") }
  /// How each is written, in the same order.
  static var forms: WordList {
    WordList(
      """
      scale FACTOR|offset NUMBER|calibrate X Y X Y ... of 2 to 8 points, X rising\
      |median COUNT, odd, 3 to 15|average COUNT, 2 to 16|clamp LOW HIGH|round DIGITS, 0 to 18|delta\
      |rate TIME [BITS [MAX]], 1ms to 1d, 8 to 62|debounce TIME, 1ms to 1d
      """)
  }
}

/// One step.
public struct FilterStep: BitwiseCopyable, Sendable {
  /// What it does.
  public let kind: FilterKind
  /// A factor, a number that is added, a lower bound, the highest rate.
  public fileprivate(set) var first = Decimal(0)
  /// An upper bound.
  public fileprivate(set) var second = Decimal(0)
  /// How many values, points, digits or bits; 0 bits where a counter does not wrap.
  public fileprivate(set) var count = 0
  /// Whether a rate has a highest one.
  public fileprivate(set) var hasMaximum = false
  /// What a rate is told for, or how long a value has to stay.
  public fileprivate(set) var time = TimeSpan.zero
  /// Where the points of a calibration stand in the text.
  fileprivate var pointsStart = 0
  fileprivate var pointsEnd = 0

  /// How many numbers it keeps in memory.
  public var slotCount: Int {
    switch kind {
    case .calibrate: 2 * count
    case .median, .average: count
    default: 0
    }
  }

  /// The number `index` of a calibration's in the text that it was read from: X, Y, X, Y and so on.
  public func point(_ index: Int, in text: Span<UInt8>) -> Decimal {
    var words = FilterWords(rest: pointsStart..<pointsEnd)
    for _ in 0..<index { _ = words.next(in: text) }
    return words.number(in: text) ?? Decimal(0)
  }
}

/// What is wrong with a filter; ranges are of its text.
enum FilterFault: Error {
  /// There is no such filter.
  case unknown(Range<Int>)
  /// The filter is there, and what is behind its name is not as it should be.
  case malformed(FilterKind, Range<Int>)
  /// More steps than there may be.
  case tooMany
}

/// Reads the steps of a filter's text, front to back. Each byte is read a few times at most.
public struct FilterReader: BitwiseCopyable {
  private var position = 0
  private var stepCount = 0

  /// A reader at the beginning of a text.
  public init() {}

  /// The next step of a text that has been found right; nil behind the last.
  @inline(never)  // small code: this is called from several places
  public mutating func nextChecked(in text: Span<UInt8>) -> FilterStep? { try? next(in: text) }

  /// The next step; nil behind the last.
  mutating func next(in text: Span<UInt8>) throws(FilterFault) -> FilterStep? {
    guard position < text.count else { return nil }
    guard stepCount < FilterLimits.stepsMax else { throw .tooMany }
    let end = text.firstIndex(of: UInt8(ascii: ","), from: position) ?? text.count
    let whole = text.trimmed(position..<end)
    // A comma with nothing behind it is one too many.
    position = end + 1 == text.count ? end : end + 1
    stepCount += 1
    var words = FilterWords(rest: whole)
    let word = words.next(in: text) ?? whole
    guard let index = FilterKind.words.index(of: text.extracting(word)),
      let kind = FilterKind(rawValue: UInt8(index))
    else { throw .unknown(whole) }
    var step = FilterStep(kind: kind)
    guard step.read(&words, in: text), words.rest.isEmpty else { throw .malformed(kind, whole) }
    return step
  }
}

extension FilterStep {
  /// Reads what stands behind the name; false where that is not as it should be.
  fileprivate mutating func read(_ words: inout FilterWords, in text: Span<UInt8>) -> Bool {
    switch kind {
    case .delta: return true
    case .scale, .offset: return words.take(&first, in: text)
    case .clamp: return words.take(&first, in: text) && words.take(&second, in: text) && !second.isLess(than: first)
    case .median: return words.take(&count, 3...UInt64(FilterLimits.medianMax), in: text) && count % 2 == 1
    case .average: return words.take(&count, 2...UInt64(FilterLimits.averageMax), in: text)
    case .round: return words.take(&count, 0...FilterLimits.digitsMax, in: text)
    case .debounce: return words.take(&time, in: text)
    case .rate:
      guard words.take(&time, in: text) else { return false }
      if words.rest.isEmpty { return true }
      guard words.take(&count, FilterLimits.bits, in: text) else { return false }
      if words.rest.isEmpty { return true }
      hasMaximum = true
      return words.take(&first, in: text)
    case .calibrate: return readPoints(&words, in: text)
    }
  }

  private mutating func readPoints(_ words: inout FilterWords, in text: Span<UInt8>) -> Bool {
    pointsStart = words.rest.lowerBound
    pointsEnd = words.rest.upperBound
    var before: Decimal?
    while !words.rest.isEmpty, count < FilterLimits.pointsMax {
      var (x, y) = (first, first)
      guard words.take(&x, in: text), words.take(&y, in: text) else { return false }
      if let before, !before.isLess(than: x) { return false }
      before = x
      count += 1
    }
    return count >= 2
  }
}

/// Words between blanks.
struct FilterWords {
  /// What has not been read.
  var rest: Range<Int>

  mutating func next(in text: Span<UInt8>) -> Range<Int>? {
    var start = rest.lowerBound
    while start < rest.upperBound, text[start].isBlank { start += 1 }
    var end = start
    while end < rest.upperBound, !text[end].isBlank { end += 1 }
    rest = end..<rest.upperBound
    return end > start ? start..<end : nil
  }

  @inline(never)
  mutating func number(in text: Span<UInt8>) -> Decimal? {
    guard let word = next(in: text) else { return nil }
    return Decimal(parsing: text.extracting(word))
  }

  mutating func take(_ value: inout Decimal, in text: Span<UInt8>) -> Bool {
    guard let number = number(in: text) else { return false }
    value = number
    return true
  }

  @inline(never)
  mutating func take(_ value: inout Int, _ range: ClosedRange<UInt64>, in text: Span<UInt8>) -> Bool {
    guard let word = next(in: text), let number = parseUnsigned(text.extracting(word)), range.contains(number) else {
      return false
    }
    value = Int(truncatingIfNeeded: number)
    return true
  }

  /// A time from 1 ms to a day.
  @inline(never)
  mutating func take(_ value: inout TimeSpan, in text: Span<UInt8>) -> Bool {
    guard let word = next(in: text), case .amount(let milliseconds) = Values.duration(text.extracting(word)),
      milliseconds > 0, milliseconds <= FilterLimits.millisecondsMax
    else { return false }
    value = .milliseconds(milliseconds)
    return true
  }
}
