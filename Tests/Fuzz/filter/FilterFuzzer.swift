// Feeds readings to a filter. The first line is the filter, each other one a reading: a number, behind it perhaps the
// milliseconds since the one before. Whatever they are: nothing traps, what comes out prints as a JSON number, and a
// filter that is a median, a mean or a clamp alone gives nothing beyond what went in, or its bounds.

import AgentConfiguration
import Bytes
import HostInterface
import JSON
import Telemetry

/// Memory that lasts for the whole run.
private struct Block: @unchecked Sendable {
  let region: Region

  init(_ count: Int) {
    region = Region(start: UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 16), count: count)
  }
}

private let filterBlock = Block(16_384)
private let numberBlock = Block(128)

/// What libFuzzer calls with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzFilter(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let lines = Array(UnsafeBufferPointer(start: start, count: count)).split(
    separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
  let text = Array(lines[0])
  var reader = FilterReader()
  var steps: [FilterStep] = []
  while let step = reader.nextChecked(in: text.span) { steps.append(step) }
  precondition(steps.count <= FilterLimits.stepsMax, "more steps than there may be")
  filterBlock.region.start.initializeMemory(as: UInt8.self, repeating: 0, count: filterBlock.region.count)
  var arena = Arena(filterBlock.region)
  var needs = FilterNeeds()
  needs.add(text.span)
  var filters = Filters(needs, in: &arena)
  guard (try? arena.check()) != nil else { fatalError("a filter needs more memory than expected") }
  filters.append(text.span)
  precondition(filters.stepCount == steps.count, "steps were lost")
  var now: Int64 = 0
  var (least, greatest): (Decimal?, Decimal?) = (nil, nil)
  for line in lines.dropFirst().prefix(64) {
    let words = line.split(separator: UInt8(ascii: " ")).map { Array($0) }
    guard let value = number(words.first) else { continue }
    now &+= words.count > 1 ? (number(words[1])?.significand ?? 0) & 0xFFFF_FFFF : 1000
    if least.map({ value.isLess(than: $0) }) ?? true { least = value }
    if greatest.map({ $0.isLess(than: value) }) ?? true { greatest = value }
    let result: Decimal?
    do throws(ReadFailure) {
      result = try filters.apply(value, from: 0, to: filters.stepCount, at: Instant(milliseconds: now))
    } catch {
      continue
    }
    guard let result else { continue }
    check(result)
    guard steps.count == 1, let least, let greatest else { continue }
    switch steps[0].kind {
    case .median: precondition(!result.isLess(than: least) && !greatest.isLess(than: result), "a median beyond all")
    case .clamp:
      precondition(
        !result.isLess(than: steps[0].first) && !steps[0].second.isLess(than: result), "a value beyond its bounds")
    case .rate: precondition(result.significand >= 0, "a negative rate")
    default: break
    }
  }
  return 0
}

private func number(_ word: [UInt8]?) -> Decimal? {
  let word = word ?? []
  return Decimal(parsing: word.span)
}

private func check(_ value: Decimal) {
  var buffer = ByteBuffer(numberBlock.region)
  buffer.append(value)
  precondition(!buffer.hasOverflowed, "a number is longer than expected")
  var reader = JSONReader()
  guard case .number(let range)? = try? reader.next(in: buffer.span), range == 0..<buffer.count else {
    fatalError("a printed number is none")
  }
}
