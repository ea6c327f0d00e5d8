// The beginning of an answer: status and fields (RFC 9110, RFC 9112).

import Bytes

/// Why an answer cannot be used.
public enum ResponseFault: UInt8, Error, Sendable, BitwiseCopyable {
  /// It is not what an HTTP server sends.
  case malformed
  /// Its fields, or what belongs to its chunks, are too long.
  case tooLong
}

/// Which bytes of a file an answer has (RFC 9110, section 14.4).
public struct ContentRange: Equatable, BitwiseCopyable, Sendable {
  /// The first of them and the last one; nil where it only says how many there are.
  public var first: UInt64?
  /// See `first`.
  public var last: UInt64
  /// How many bytes the whole file has, where that is known.
  public var total: UInt64?

  /// These bytes of a file.
  public init(first: UInt64?, last: UInt64, total: UInt64?) {
    self.first = first
    self.last = last
    self.total = total
  }
}

/// What an answer says before its body.
public struct ResponseHead: BitwiseCopyable, Sendable {
  /// 100 to 599, or anything else of three digits.
  public private(set) var status = 0
  /// How many bytes of the input it has.
  public private(set) var byteCount = 0
  /// Content-Length, at most 2^62.
  public private(set) var contentLength: UInt64?
  /// Whether the body comes in chunks.
  public private(set) var isChunked = false
  /// Content-Range, if it is one of bytes.
  public private(set) var range: ContentRange?
  /// Whether the body is compressed, unasked.
  public private(set) var isEncoded = false
  /// Whether it says that the body is a page for a browser.
  public private(set) var isPage = false
  /// How long to wait before asking again, in seconds. A date is taken by the server's own clock.
  public private(set) var retryAfter: UInt64?
  private var tagStart = 0
  private var tagEnd = 0
  private var locationStart = 0
  private var locationEnd = 0

  /// Where in the input the entity tag is, quotes included, if it is a strong one; empty otherwise.
  public var entityTag: Range<Int> { tagStart..<tagEnd }
  /// Where in the input the address is that a redirect leads to; empty otherwise.
  public var location: Range<Int> { locationStart..<locationEnd }

  /// Takes apart what an answer in `bytes` begins with; nil as long as not all of it is there.
  public static func parse(_ bytes: Span<UInt8>) throws(ResponseFault) -> ResponseHead? {
    guard let end = try headEnd(bytes) else { return nil }
    var head = ResponseHead()
    head.byteCount = end
    var dates = Dates()
    var index = 0
    // Each turn takes a line.
    while let lineEnd = bytes.firstIndex(of: 0x0A, from: index), lineEnd + 1 < end {
      let line = bytes.withoutReturn(index..<lineEnd)
      if index == 0 { try head.takeStatus(bytes.extracting(line)) } else { try head.takeField(bytes, line, &dates) }
      index = lineEnd + 1
    }
    // RFC 9112, section 6.3: an answer with both is an attempt at deceiving somebody.
    if head.isChunked && head.contentLength != nil { throw .malformed }
    if let wanted = dates.retry, let date = dates.date { head.retryAfter = wanted > date ? wanted - date : 0 }
    return head
  }

  /// Where the empty line ends; nil where there is none yet.
  private static func headEnd(_ bytes: Span<UInt8>) throws(ResponseFault) -> Int? {
    // Another protocol need not be waited for.
    let known = min(bytes.count, 7)
    let version: StaticString = "HTTP/1."
    guard bytes.extracting(0..<known).equals(version.bytes.extracting(0..<known)) else { throw .malformed }
    var lineStart = 0
    for index in bytes.indices {
      if index >= HTTPLimits.headBytesMax { throw .tooLong }
      if bytes[index] == 0 { throw .malformed }
      guard bytes[index] == 0x0A else { continue }
      if bytes.withoutReturn(lineStart..<index).isEmpty { return index + 1 }
      lineStart = index + 1
    }
    if bytes.count >= HTTPLimits.headBytesMax { throw .tooLong }
    return nil
  }

  private mutating func takeStatus(_ line: Span<UInt8>) throws(ResponseFault) {
    guard line.count >= 12, line[8] == 0x20, line.count == 12 || line[12] == 0x20 else { throw .malformed }
    guard let number = parseUnsigned(line.extracting(9..<12)) else { throw .malformed }
    status = Int(number)
  }

  private mutating func takeField(
    _ bytes: Span<UInt8>, _ line: Range<Int>, _ dates: inout Dates
  ) throws(ResponseFault) {
    let text = bytes.extracting(line)
    // RFC 9112, section 5.2: lines that go on in the next one are of the past; section 5.1: no blank before the colon.
    guard let colon = text.firstIndex(of: UInt8(ascii: ":")), colon > 0, !text[0].isBlank, !text[colon - 1].isBlank
    else { throw .malformed }
    let name = text.extracting(0..<colon)
    let place = bytes.trimmed((line.lowerBound + colon + 1)..<line.upperBound)
    let value = bytes.extracting(place)
    if name.isName("content-length") {
      guard let count = parseUnsigned(value), count <= 1 << 62, contentLength == nil || contentLength == count else {
        throw .malformed
      }
      contentLength = count
    } else if name.isName("transfer-encoding") {
      guard !isChunked, value.isName("chunked") else { throw .malformed }
      isChunked = true
    } else if name.isName("content-range") {
      range = ContentRange(parsing: value)
    } else if name.isName("content-encoding") {
      if !value.isName("identity") { isEncoded = true }
    } else if name.isName("content-type") {
      isPage = value.startsIgnoringCase(with: "text/html")
    } else if name.isName("etag") {
      if value.isStrongTag { (tagStart, tagEnd) = (place.lowerBound, place.upperBound) }
    } else if name.isName("location") {
      (locationStart, locationEnd) = (place.lowerBound, place.upperBound)
    } else if name.isName("date") {
      dates.date = secondsOfDate(value)
    } else if name.isName("retry-after") {
      retryAfter = parseUnsigned(value)
      dates.retry = secondsOfDate(value)
    }
  }

  private struct Dates: BitwiseCopyable {
    var date: UInt64?
    var retry: UInt64?
  }
}

extension ContentRange {
  /// Of the value of a field: `bytes 0-499/1234`, `bytes 0-499/*`, `bytes */1234`.
  init?(parsing value: Span<UInt8>) {
    guard value.startsIgnoringCase(with: "bytes "), let slash = value.firstIndex(of: UInt8(ascii: "/")) else {
      return nil
    }
    let part = value.extracting(6..<max(6, slash))
    let whole = value.extracting((slash + 1)..<value.count)
    let total = parseUnsigned(whole)
    guard whole.equals("*") || total != nil, total ?? 0 <= 1 << 62 else { return nil }
    if part.equals("*") {
      self.init(first: nil, last: 0, total: total)
      return
    }
    guard let dash = part.firstIndex(of: UInt8(ascii: "-")), let lower = parseUnsigned(part.extracting(0..<dash)),
      let upper = parseUnsigned(part.extracting((dash + 1)..<part.count)), lower <= upper, upper < total ?? 1 << 62
    else { return nil }
    self.init(first: lower, last: upper, total: total)
  }
}

extension Span where Element == UInt8 {
  /// Whether this is `name` in letters of any case.
  @inline(never)  // small code: called from several places
  fileprivate func isName(_ name: StaticString) -> Bool { equalsIgnoringCase(name.bytes) }

  /// A line without the carriage return that it may end with.
  func withoutReturn(_ line: Range<Int>) -> Range<Int> {
    let end = line.upperBound
    return line.lowerBound..<(end > line.lowerBound && self[end - 1] == 0x0D ? end - 1 : end)
  }

  /// Whether this is an entity tag that is the same only for the same bytes (RFC 9110, section 8.8.3), and may be sent
  /// back.
  fileprivate var isStrongTag: Bool {
    guard count >= 2, count <= HTTPLimits.entityTagBytesMax, self[0] == 0x22, self[count - 1] == 0x22 else {
      return false
    }
    for index in 1..<(count - 1) where self[index] <= 0x20 || self[index] == 0x22 || self[index] == 0x7F {
      return false
    }
    return true
  }
}

/// The seconds of a date since some moment, the same for all dates; nil unless it is one in the form that servers have
/// to use (RFC 9110, section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
private func secondsOfDate(_ text: Span<UInt8>) -> UInt64? {
  guard text.count == 29 else { return nil }
  let months: StaticString = "JanFebMarAprMayJunJulAugSepOctNovDec"
  var month: UInt64 = 0
  while !text.extracting(8..<11).equals(months.bytes.extracting(Int(month * 3)..<Int(month * 3 + 3))) {
    month += 1
    if month == 12 { return nil }
  }
  guard let day = parseUnsigned(text.extracting(5..<7)), let year = parseUnsigned(text.extracting(12..<16)),
    let hour = parseUnsigned(text.extracting(17..<19)), let minute = parseUnsigned(text.extracting(20..<22)),
    let second = parseUnsigned(text.extracting(23..<25))
  else { return nil }
  // Years from March on, so that a leap day is the last day of its year; in years all of which may be leap years the
  // days before each month are (153 m + 2) / 5.
  let isEarly = month < 2
  let marchYear = year + 400 - (isEarly ? 1 : 0)
  let marchMonth = isEarly ? month + 10 : month - 2
  let days = marchYear * 365 + marchYear / 4 - marchYear / 100 + marchYear / 400 + (153 * marchMonth + 2) / 5 + day
  return ((days * 24 + hour) * 60 + minute) * 60 + second
}
