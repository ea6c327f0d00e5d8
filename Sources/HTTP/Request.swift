// What is asked of a server: one file, or the rest of it.

import Bytes

extension ByteBuffer {
  /// Appends a GET request (RFC 9110, RFC 9112) for the file at `address`, which is of `text`, from its byte `offset`
  /// on. With an `entityTag` the server is told to send all of it if the file is another one by now; without it is
  /// empty, or `isTagged` false.
  ///
  /// It needs `HTTPLimits.addressBytesMax`, the host once more, the entity tag and some 200 bytes.
  public mutating func appendRequest(
    _ address: WebAddress, of text: borrowing ByteBuffer, from offset: UInt64, entityTag: borrowing ByteBuffer,
    isTagged: Bool
  ) {
    append("GET ")
    let path = text.span.extracting(address.pathStart..<address.end)
    if path.isEmpty || path[0] != UInt8(ascii: "/") { append(UInt8(ascii: "/")) }
    append(path)
    append(" HTTP/1.1\r\nHost: ")
    appendHost(address, of: text)
    append("\r\nUser-Agent: mote\r\nAccept-Encoding: identity\r\nConnection: close\r\n")
    if offset > 0 {
      append("Range: bytes=")
      append(decimal: offset)
      append("-\r\n")
      if isTagged, !entityTag.isEmpty {
        append("If-Range: ")
        append(entityTag)
        append("\r\n")
      }
    }
    append("\r\n")
  }

  /// Appends the host of `address`, and its port if it is not the scheme's own: all that may be told of an address,
  /// whose path and query may be secrets. A zone means nothing to anybody else (RFC 6874).
  public mutating func appendHost(_ address: WebAddress, of text: borrowing ByteBuffer) {
    let host = text.span.extracting(address.host)
    let isIPv6 = host.firstIndex(of: UInt8(ascii: ":")) != nil
    if isIPv6 { append(UInt8(ascii: "[")) }
    append(host.extracting(0..<(host.firstIndex(of: UInt8(ascii: "%")) ?? host.count)))
    if isIPv6 { append(UInt8(ascii: "]")) }
    guard address.port != (address.isSecure ? 443 : 80) else { return }
    append(UInt8(ascii: ":"))
    append(decimal: Int(address.port))
  }
}
