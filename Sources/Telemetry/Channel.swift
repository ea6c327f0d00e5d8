// One sensor: from its source's text to the value that goes into an event.

import Bytes
import Fieldbus
import HostInterface

/// A value, or why there is none. Ranges are of the text that was interpreted.
public enum Reading: Equatable, Sendable {
  /// A number, scaled.
  case number(Decimal)
  /// A whole number of 64 bits that has no room in a `Decimal`, as it was read: counters get that far.
  case counter(UInt64)
  /// A truth value.
  case boolean(Bool)
  /// Text, trimmed; whether its end is missing.
  case text(Range<Int>, isCut: Bool)
  /// No value.
  case failed(ReadFailure)
}

/// The longest text value of a sensor, in bytes; of a longer one the end is cut off at a character's boundary, and a
/// mark takes its place.
public enum ChannelLimits {
  /// Enough for a version, a state or a name.
  public static var textBytesMax: Int { 256 }
  /// What stands where text has been cut.
  public static var cutMark: StaticString { "…" }
}

/// Processor time since boot, in the kernel's ticks.
private struct ProcessorTicks: BitwiseCopyable {
  var busy: UInt64 = 0
  var total: UInt64 = 0
}

/// How a sensor's value is made, and what it remembers between readings.
public struct Channel: BitwiseCopyable, Sendable {
  /// What is taken out of the text.
  public let quantity: Quantity
  /// Added first: value = (raw + offset) × scale, as the kernel's IIO interface defines the two.
  public let offset: Decimal
  /// Multiplied then.
  public let scale: Decimal
  /// Digits kept behind the point; nil keeps all.
  public let fractionDigits: Int?
  /// Whether the last reading failed: a lasting fault is logged once, and its end once.
  public private(set) var isFailing = false
  private var lastTicks = ProcessorTicks()

  /// A sensor that takes `quantity` and scales it.
  public init(quantity: Quantity, offset: Decimal, scale: Decimal, fractionDigits: Int?) {
    self.quantity = quantity
    self.offset = offset
    self.scale = scale
    self.fractionDigits = fractionDigits
  }

  /// Remembers whether a reading failed.
  ///
  /// - Returns: whether that is a change worth a line in the log.
  public mutating func note(isFailing nowFailing: Bool) -> Bool {
    defer { isFailing = nowFailing }
    return isFailing != nowFailing
  }

  /// Makes a value of a source's text; `field` is the configured name, empty without one. A number times ten to the
  /// power of `exponent` is in the source's unit.
  public mutating func interpret(_ text: Span<UInt8>, field: Span<UInt8>, exponent: Int = 0) -> Reading {
    switch quantity {
    case .text:
      guard let range = valueRange(in: text, field: field), !range.isEmpty else { return .failed(.notUnderstood) }
      return clipped(range, of: text)
    case .boolean:
      guard let range = valueRange(in: text, field: field), let value = SensorText.boolean(in: text.extracting(range))
      else { return .failed(.notUnderstood) }
      return .boolean(value)
    default:
      do throws(ReadFailure) {
        var (raw, isExact) = try rawNumber(in: text, field: field)
        let value = scaled(raw, exponent, &isExact)
        // Only who asks for other digits gets other ones: those behind the point, or all of them.
        if !isExact, scale == Decimal(1), fractionDigits == nil || raw.exponent >= 0 {
          return counter(in: text, exponent)
        }
        return value.map { .number($0) } ?? .failed(.outOfRange)
      } catch {
        return .failed(error)
      }
    }
  }

  private mutating func rawNumber(in text: Span<UInt8>, field: Span<UInt8>) throws(ReadFailure) -> (
    Decimal, isExact: Bool
  ) {
    let value: Decimal?
    switch quantity {
    case .onlyNumber: return try SensorText.onlyNumber(in: text)
    case .namedNumber:
      guard let range = SensorText.field(field, in: text) else { throw .notUnderstood }
      return try SensorText.leadingNumber(in: text.extracting(range))
    case .column(let index): return try SensorText.column(index, in: text)
    case .memory(let quantity): value = memory(quantity, in: text)
    case .disk(let quantity): value = disk(quantity, in: text)
    case .processorUsage: value = processorUsage(in: text)
    case .oneWire: return (try OneWireText.temperature(in: text), true)
    case .register(let point): value = register(point, in: text)
    case .text, .boolean: value = nil
    }
    guard let value else { throw .notUnderstood }
    return (value, true)
  }

  @inline(__always)  // Otherwise all of the channel is copied for the call.
  private func scaled(_ number: Decimal, _ power: Int, _ isExact: inout Bool) -> Decimal? {
    guard let raw = power == 0 ? number : Decimal(significand: number.significand, exponent: number.exponent + power)
    else { return nil }
    guard let sum = offset.significand == 0 ? raw : raw.adding(offset, &isExact) else { return nil }
    if fractionDigits == nil, scale == Decimal(1) { return sum }
    return sum.scaled(by: scale, fractionDigits: fractionDigits)
  }

  /// All of the text as it is, where nothing is to be done with it.
  private func counter(in text: Span<UInt8>, _ exponent: Int) -> Reading {
    guard quantity == .onlyNumber, exponent == 0, offset.significand == 0,
      let value = parseUnsigned(text.extracting(text.trimmed(0..<text.count)))
    else { return .failed(.outOfRange) }
    return .counter(value)
  }

  private func valueRange(in text: Span<UInt8>, field: Span<UInt8>) -> Range<Int>? {
    if !field.isEmpty { return SensorText.field(field, in: text) }
    return text.trimmed(0..<text.count)
  }

  private func clipped(_ range: Range<Int>, of text: Span<UInt8>) -> Reading {
    guard range.count > ChannelLimits.textBytesMax else { return .text(range, isCut: false) }
    var end = range.lowerBound + ChannelLimits.textBytesMax - ChannelLimits.cutMark.utf8CodeUnitCount
    // Not in the middle of a UTF-8 sequence, whose later bytes are all 10xxxxxx.
    while end > range.lowerBound, text[end] & 0xC0 == 0x80 { end -= 1 }
    return .text(range.lowerBound..<end, isCut: true)
  }

  /// `FIRST VALUE VALUE …`: the address of the first, and all of them.
  @inline(never)  // beside what there is on every machine
  private func register(_ point: RegisterPoint, in text: Span<UInt8>) -> Decimal? {
    guard let first = wholeColumn(0, in: text), first <= Int64(point.address) else { return nil }
    var registers = InlineArray<4, UInt16>(repeating: 0)
    for index in 0..<point.type.registerCount {
      guard let value = wholeColumn(Int(point.address) - Int(first) + 1 + index, in: text), value <= 0xFFFF
      else { return nil }
      registers[index] = UInt16(value)
    }
    return point.type.number(registers, point.order)
  }

  private func memory(_ quantity: MemoryQuantity, in text: Span<UInt8>) -> Decimal? {
    let lines = quantity.lines
    guard var kibibytes = kibibytes(lines.value, in: text) else { return nil }
    if let subtrahend = lines.subtrahend {
      guard let other = self.kibibytes(subtrahend, in: text), other <= kibibytes else { return nil }
      kibibytes -= other
    }
    let (bytes, overflow) = kibibytes.multipliedReportingOverflow(by: 1024)
    return overflow ? nil : Decimal(bytes)
  }

  private func kibibytes(_ line: StaticString, in text: Span<UInt8>) -> Int64? {
    guard let range = SensorText.field(line.bytes, in: text) else {
      return line.bytes.equals(MemoryQuantity.availableLine) ? estimatedAvailable(in: text) : nil
    }
    guard let found = try? SensorText.leadingNumber(in: text.extracting(range))
    else { return nil }
    return wholeNumber(found)
  }

  /// What can be had without swapping where the kernel does not say it: free memory, and caches but those that are in
  /// memory only. Kernels that say it add part of their own tables, of which older ones do not tell how much is in use.
  private func estimatedAvailable(in text: Span<UInt8>) -> Int64? {
    guard let free = kibibytes("MemFree", in: text), let buffers = kibibytes("Buffers", in: text),
      let cached = kibibytes("Cached", in: text), max(max(free, buffers), cached) < 1 << 60
    else { return nil }
    return max(free + buffers + cached - min(kibibytes("Shmem", in: text) ?? 0, cached), 0)
  }

  private func disk(_ quantity: DiskQuantity, in text: Span<UInt8>) -> Decimal? {
    guard let total = wholeColumn(0, in: text), let free = wholeColumn(1, in: text),
      let available = wholeColumn(2, in: text), free <= total
    else { return nil }
    let used = total - free
    switch quantity {
    case .total: return Decimal(total)
    case .free: return Decimal(free)
    case .available: return Decimal(available)
    case .used: return Decimal(used)
    case .percent: return percentage(UInt64(used), of: UInt64(used) &+ UInt64(available))
    }
  }

  /// A column that must be a whole number from 0 to 2^60 - 1, so that sums of two cannot overflow.
  private func wholeColumn(_ index: Int, in text: Span<UInt8>) -> Int64? {
    guard let found = try? SensorText.column(index, in: text), let value = wholeNumber(found), value < 1 << 60
    else { return nil }
    return value
  }

  private func wholeNumber(_ found: (value: Decimal, isExact: Bool)) -> Int64? {
    guard found.isExact, found.value.exponent == 0, found.value.significand >= 0 else { return nil }
    return found.value.significand
  }

  /// proc(5), /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user
  /// already.
  private mutating func processorUsage(in text: Span<UInt8>) -> Decimal? {
    guard text.starts(with: "cpu ") else { return nil }
    var ticks = ProcessorTicks()
    for index in 0..<8 {
      // Behind the name. Old kernels have fewer columns.
      guard let column = wholeColumn(index + 1, in: text) else { break }
      ticks.total &+= UInt64(column)
      if index != 3, index != 4 { ticks.busy &+= UInt64(column) }
    }
    guard ticks.total > 0 else { return nil }
    defer { lastTicks = ticks }
    // The kernel's idle counters may step back; without progress there is nothing new to say.
    guard ticks.total > lastTicks.total, ticks.busy >= lastTicks.busy else { return Decimal(0) }
    return percentage(ticks.busy - lastTicks.busy, of: ticks.total - lastTicks.total)
  }

  /// `part` of `whole` in per cent with one decimal, rounded.
  private func percentage(_ part: UInt64, of whole: UInt64) -> Decimal? {
    guard whole > 0 else { return nil }
    // Shifting keeps ×1000 within 64 bits and costs at most one part in 2^50.
    let part = min(part, whole)  // idle counters that step back would give more than all
    let shift = max(0, 12 - part.leadingZeroBitCount)
    let scaledPart = part >> UInt64(shift)
    let scaledWhole = max(whole >> UInt64(shift), 1)
    return Decimal(significand: Int64((scaledPart * 1000 + scaledWhole / 2) / scaledWhole), exponent: -1)
  }
}
