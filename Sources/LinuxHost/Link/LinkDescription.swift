// What a log line says about a link.

import Bytes
import CLinux
import HostInterface

/// The most telling failure of an attempt: among several addresses, the one that came furthest.
struct FailureAccount {
  private(set) var failure: LinkFailure?
  /// `errno` (positive), or getaddrinfo's number (negative); 0 if there is none.
  private(set) var code: Int32 = 0
  /// The address it happened with; -1 for none.
  private(set) var address = -1

  mutating func note(_ newFailure: LinkFailure, code newCode: Int32, address newAddress: Int) {
    if let failure, FailureAccount.rank(newFailure) < FailureAccount.rank(failure) { return }
    failure = newFailure
    code = newCode
    address = newAddress
  }

  /// An address that cannot be reached tells less than one that does not answer, and that less than one that refuses.
  private static func rank(_ failure: LinkFailure) -> Int {
    switch failure {
    case .unreachable: 0
    case .connectTimeout: 1
    case .connectionRefused: 2
    default: 3
    }
  }

  /// Whether the TLS connection knows more.
  var isAboutTLS: Bool {
    switch failure {
    case .tlsUnknownIssuer, .tlsWrongName, .tlsExpired, .tlsNotYetValid: true
    case .tlsRefusedByPeer, .tlsTrustUnreadable, .tlsFailed: true
    default: false
    }
  }

  /// Appends the system's number, if there is one.
  func describe(into line: inout ByteBuffer) {
    guard code != 0 else { return }
    line.append(code > 0 ? " errno=" : " lookup-error=")
    line.append(decimal: Int(code))
  }
}

/// What a failed connection attempt means.
func connectFailure(_ failure: Errno) -> LinkFailure {
  switch failure.code {
  case ECONNREFUSED: .connectionRefused
  case ETIMEDOUT: .connectTimeout
  default: .unreachable
  }
}

/// The address that `text` is; nil if it is a name.
func numericAddress(_ text: borrowing CText) -> mote_address? {
  var answer = mote_lookup_answer()
  mote_parse_address(text.start, &answer)
  return answer.count > 0 ? answer.addresses.0 : nil
}

/// A name as certificates and SNI have it: without the dot that ends a complete name (RFC 6066 3).
@_lifetime(copy name)
func certificateName(_ name: Span<UInt8>) -> Span<UInt8> {
  guard name.count > 1, name[name.count - 1] == UInt8(ascii: ".") else { return name }
  return name.extracting(0..<(name.count - 1))
}

extension ByteBuffer {
  /// Appends an address and a port: `127.0.0.1:8883`, `[::1]:8883`.
  ///
  /// Not by the C library's inet_ntop: musl's is built on snprintf, which brings 11 KB of code for formatting
  /// floating-point numbers with it.
  mutating func append(_ address: mote_address, port: UInt16) {
    withUnsafeBytes(of: address.bytes) { raw in
      let isIPv6 = address.byte_count == 16
      for index in 0..<(isIPv6 ? 0 : 4) {
        if index > 0 { append(UInt8(ascii: ".")) }
        append(decimal: Int(raw[index]))
      }
      guard isIPv6 else { return }
      append(UInt8(ascii: "["))
      var groups = InlineArray<8, Int>(repeating: 0)
      for index in 0..<8 { groups[index] = Int(raw[2 * index]) << 8 | Int(raw[2 * index + 1]) }
      append(groups: groups)
      append(UInt8(ascii: "]"))
    }
    append(UInt8(ascii: ":"))
    append(decimal: Int(port))
  }

  /// Appends the groups of an IPv6 address in the form of RFC 5952 4: the first of the longest runs of zeros becomes
  /// `::`, unless it is a single group.
  private mutating func append(groups: InlineArray<8, Int>) {
    var gap = 0..<0
    var start = 0
    for index in 0..<8 {
      if groups[index] != 0 { start = index + 1 }
      if index + 1 - start > max(gap.count, 1) { gap = start..<(index + 1) }
    }
    for index in 0..<8 {
      if gap.contains(index) {
        if index == gap.lowerBound { append("::") }
        continue
      }
      if index > 0, index != gap.upperBound { append(UInt8(ascii: ":")) }
      append(group: groups[index])
    }
  }

  /// Appends 16 bits in hexadecimal, without leading zeros.
  private mutating func append(group: Int) {
    var shift = 12
    while shift > 0, group >> shift == 0 { shift -= 4 }
    while shift >= 0 {
      append(hexDigit(UInt8(truncatingIfNeeded: group >> shift & 15)))
      shift -= 4
    }
  }

  /// Appends text for a log line, what is not plain ASCII as question marks.
  mutating func append(plain text: borrowing CText) {
    for index in 0..<text.count {
      let byte = UInt8(bitPattern: text.start[index])
      let isPlain = byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "=")
      append(isPlain ? byte : UInt8(ascii: "?"))
    }
  }
}
