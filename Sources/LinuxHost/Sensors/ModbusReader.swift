// Modbus, in a child: each reading opens the line or the connection, asks once for all that is wanted of a unit's
// table, and ends. So nothing that comes too late is ever taken for the answer to a later request, and what hangs is
// killed.

import Bytes
import CLinux
import Fieldbus
import HostInterface

/// One exchange with a unit.
struct ModbusReader: ~Copyable {
  /// How long a serial line is waited for before it is asked again, in milliseconds, and how often it is asked. Over
  /// TCP what is sent arrives.
  private static var replyTimeMs: Int32 { 1000 }
  private static var requestsMax: Int { 3 }
  /// Silence before a request, in milliseconds: more than three and a half characters at any usual speed.
  private static var silenceMs: Int32 { 20 }
  /// What is looked at for a reply, noise and others' replies included.
  private static var bytesMax: Int { 1024 }

  private let source: ModbusSource
  private let request: ModbusRequest
  private var descriptor: Int32 = -1

  init(_ source: ModbusSource, first: UInt16, count: UInt16, isTCP: Bool) {
    self.source = source
    request = ModbusRequest(
      unit: source.unit, table: source.table, first: first, count: count,
      transaction: isTCP ? UInt16(truncatingIfNeeded: getpid()) : nil)
  }

  /// Reads, and appends `FIRST VALUE VALUE …` to `text`; a number of errno.h otherwise.
  mutating func read(_ place: Span<UInt8>, into text: inout ByteBuffer, _ bytes: inout ByteBuffer) -> Int32 {
    let failure = place.starts(with: "tcp://") ? connect(place.extracting(6..<place.count)) : openLine(place)
    if failure != 0 { return failure }
    for attempt in 0..<ModbusReader.requestsMax {
      bytes.removeAll()
      request.append(to: &bytes)
      let isSent = bytes.span.withUnsafeBufferPointer { CLinux.write(descriptor, $0.baseAddress, $0.count) }
      guard isSent == bytes.count else { return mote_errno() }
      bytes.removeAll()
      let isLast = attempt == ModbusReader.requestsMax - 1 || request.transaction != nil
      while mote_await(descriptor, Int32(POLLIN), isLast ? -1 : ModbusReader.replyTimeMs) > 0 {
        do throws(Errno) {
          let count = try System.read(descriptor, into: &bytes, byteCountMax: ModbusReader.bytesMax - bytes.count)
          // Nothing comes any more, or too much that is no reply.
          if count == 0 { return bytes.count < ModbusReader.bytesMax ? ECONNRESET : EPROTO }
        } catch { return error.code }
        switch request.findReply(in: bytes.span) {
        case .incomplete: continue
        case .broken: return EPROTO
        case .refused(let code): return number(ofException: code)
        case .values(let values):
          write(values, bytes, into: &text)
          return 0
        }
      }
    }
    return ETIMEDOUT
  }

  private func write(_ values: ModbusValues, _ bytes: borrowing ByteBuffer, into text: inout ByteBuffer) {
    text.append(decimal: Int(request.first))
    for index in 0..<Int(request.count) {
      text.append(UInt8(ascii: " "))
      text.append(decimal: Int(values.value(index, of: request.table, in: bytes.span)))
    }
  }

  /// What a unit says: that it has no such thing, that it is not ready, that it is not there.
  private func number(ofException code: UInt8) -> Int32 {
    switch code {
    case 1...3: EOPNOTSUPP
    case 5, 6: EAGAIN
    case 10, 11: ENXIO
    default: EIO
    }
  }

  private mutating func openLine(_ place: Span<UInt8>) -> Int32 {
    let path = PathText(place)
    descriptor = path.withPointer { mote_open_line($0, source.serial.baud, Int32(source.serial.parity)) }
    if descriptor < 0 { return mote_errno() }
    _ = mote_await(descriptor, 0, ModbusReader.silenceMs)
    return 0
  }

  /// `ADDRESS[:PORT]`, an IPv6 address in brackets.
  private mutating func connect(_ place: Span<UInt8>) -> Int32 {
    var end = place.count
    var port = ModbusSource.port
    if let colon = place.lastIndex(of: UInt8(ascii: ":")), place[place.count - 1] != UInt8(ascii: "]") {
      guard let number = parseUnsigned(place.extracting((colon + 1)..<place.count)), number > 0, number <= 0xFFFF else {
        return EINVAL
      }
      port = UInt16(number)
      end = colon
    }
    let isBracketed = place[0] == UInt8(ascii: "[") && end > 2
    let address = PathText(place.extracting(isBracketed ? 1..<(end - 1) : 0..<end))
    var found = mote_lookup_answer()
    address.withPointer { mote_parse_address($0, &found) }
    guard found.count == 1 else { return ENOENT }
    do throws(Errno) {
      descriptor = try System.openSocket(for: found.addresses.0)
      if try !System.connect(descriptor, to: found.addresses.0, port: port) {
        _ = mote_await(descriptor, Int32(POLLOUT), -1)
        try System.checkConnected(descriptor)
      }
    } catch { return error.code }
    return 0
  }
}
