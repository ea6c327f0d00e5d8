// Addresses of files (RFC 3986, RFC 9110 section 4.2), and where a redirect leads.

import Bytes

/// Why an address is not taken.
public enum AddressFault: UInt8, Error, Sendable, BitwiseCopyable {
  /// It has more than `HTTPLimits.addressBytesMax` bytes.
  case tooLong
  /// A blank, a control character or a backslash is in it.
  case character
  /// It begins neither with http:// nor with https://.
  case scheme
  /// It has a name or a password: those would be seen by whoever sees the address.
  case credentials
  /// There is no host, or it has characters that no name has.
  case host
  /// The port is not 1 to 65535.
  case port

  /// What is wrong, for a person.
  public var text: StaticString {
    switch self {
    case .tooLong: "the address has more than 4096 bytes"
    case .character: "the address has a blank, a control character or a backslash"
    case .scheme: "the address is neither http nor https"
    case .credentials: "the address has a user name"
    case .host: "the address has no valid host"
    case .port: "the address has no valid port"
    }
  }
}

/// The parts of an absolute http or https address, as places in its text. Nothing is decoded: signed addresses would
/// not survive it.
public struct WebAddress: BitwiseCopyable, Sendable {
  /// Whether it is https.
  public let isSecure: Bool
  /// The TCP port, the scheme's own where none is given.
  public let port: UInt16
  private let hostStart: Int
  private let hostEnd: Int
  /// Where the path begins, or what stands in its place.
  let pathStart: Int
  /// Where path and query end: a fragment is never sent.
  let end: Int

  /// The host's name, or its address, without the brackets of IPv6.
  public var host: Range<Int> { hostStart..<hostEnd }

  /// Takes `text` apart.
  public init(parsing text: Span<UInt8>) throws(AddressFault) {
    guard text.count <= HTTPLimits.addressBytesMax else { throw .tooLong }
    for index in text.indices {
      let byte = text[index]
      if byte <= 0x20 || byte == 0x7F || byte == UInt8(ascii: "\\") { throw .character }
    }
    isSecure = text.startsIgnoringCase(with: "https://")
    guard isSecure || text.startsIgnoringCase(with: "http://") else { throw .scheme }
    var start = isSecure ? 8 : 7
    var authorityEnd = start
    while authorityEnd < text.count, !text[authorityEnd].endsAuthority {
      if text[authorityEnd] == UInt8(ascii: "@") { throw .credentials }
      authorityEnd += 1
    }
    pathStart = authorityEnd
    end = text.firstIndex(of: UInt8(ascii: "#"), from: authorityEnd) ?? text.count
    let isBracketed = start < authorityEnd && text[start] == UInt8(ascii: "[")
    if isBracketed { start += 1 }
    var index = start
    while index < authorityEnd, text[index].isOfHost(inBrackets: isBracketed) { index += 1 }
    guard index > start, index - start <= 253 else { throw .host }
    hostStart = start
    hostEnd = index
    if isBracketed {
      guard index < authorityEnd, text[index] == UInt8(ascii: "]") else { throw .host }
      index += 1
    }
    guard index < authorityEnd else {
      port = isSecure ? 443 : 80
      return
    }
    guard text[index] == UInt8(ascii: ":") else { throw .host }
    guard let number = parseUnsigned(text.extracting((index + 1)..<authorityEnd)), number > 0, number <= 65535 else {
      throw .port
    }
    port = UInt16(number)
  }

  /// Whether it has a query: then it may be signed, for a time.
  public func hasQuery(in text: Span<UInt8>) -> Bool {
    text.extracting(0..<end).firstIndex(of: UInt8(ascii: "?"), from: pathStart) != nil
  }

  /// Makes `text`, which this is of, what `reference` means that stands in `source` (RFC 3986, section 5.2). Segments
  /// of dots are left to the server.
  public func resolve(_ reference: Range<Int>, in source: borrowing ByteBuffer, into text: inout ByteBuffer) {
    let target = source.span.extracting(reference)
    var index = 0
    while index < target.count, !target[index].endsAuthority, target[index] != UInt8(ascii: ":") { index += 1 }
    if index < target.count, target[index] == UInt8(ascii: ":") {
      text.removeAll()
    } else if target.starts(with: "//") {
      text.truncate(to: isSecure ? 6 : 5)
    } else if target.starts(with: "/") {
      text.truncate(to: pathStart)
    } else {
      text.truncate(to: end)
      if !target.isEmpty, target[0] != UInt8(ascii: "#") {
        dropLastSegment(of: &text, isQuery: target[0] == UInt8(ascii: "?"))
      }
    }
    text.append(target)
  }

  private func dropLastSegment(of text: inout ByteBuffer, isQuery: Bool) {
    let query = text.span.firstIndex(of: UInt8(ascii: "?"), from: pathStart) ?? end
    text.truncate(to: query)
    if isQuery { return }
    guard let slash = text.span.extracting(pathStart..<query).lastIndex(of: UInt8(ascii: "/")) else {
      text.append(UInt8(ascii: "/"))
      return
    }
    text.truncate(to: pathStart + slash + 1)
  }
}

extension UInt8 {
  /// Whether this ends the part of an address that names the host.
  fileprivate var endsAuthority: Bool {
    self == UInt8(ascii: "/") || self == UInt8(ascii: "?") || self == UInt8(ascii: "#")
  }

  /// Whether the name of a host has this, or a numeric address; in brackets a zone may stand behind the address.
  fileprivate func isOfHost(inBrackets: Bool) -> Bool {
    if isDigit || self == UInt8(ascii: ".") || self == UInt8(ascii: "-") || self == UInt8(ascii: "_") { return true }
    if lowercased >= UInt8(ascii: "a"), lowercased <= UInt8(ascii: "z") { return true }
    return inBrackets && (self == UInt8(ascii: ":") || self == UInt8(ascii: "%"))
  }
}

extension Span where Element == UInt8 {
  /// Whether this begins with a literal, in letters of any case.
  @inline(never)  // small code: called from several places
  func startsIgnoringCase(with literal: StaticString) -> Bool {
    let prefix = literal.bytes
    return count >= prefix.count && extracting(0..<prefix.count).equalsIgnoringCase(prefix)
  }
}
