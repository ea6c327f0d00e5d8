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
func numericAddress(_ text: CText) -> mote_address? {
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
  mutating func append(_ address: mote_address, port: UInt16) {
    var text = InlineArray<64, CChar>(repeating: 0)
    var address = address
    var span = text.mutableSpan
    span.withUnsafeMutableBufferPointer { buffer in
      // DEVIATION(unsafe-pointer): MOTE_ADDRESS_TEXT_MAX is the size of this array.
      if let start = buffer.baseAddress { mote_write_address(&address, start) }
    }
    let isIPv6 = address.byte_count == 16
    if isIPv6 { append(UInt8(ascii: "[")) }
    text.span.withUnsafeBufferPointer { buffer in
      if let start = buffer.baseAddress { append(cString: start) }
    }
    append(isIPv6 ? "]:" : ":")
    append(decimal: Int(port))
  }

  /// Appends text for a log line, what is not plain ASCII as question marks.
  mutating func append(plain text: CText) {
    for index in 0..<text.count {
      let byte = UInt8(bitPattern: text.start[index])
      let isPlain = byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "=")
      append(isPlain ? byte : UInt8(ascii: "?"))
    }
  }
}
