// Feeds replies to the reader of Modbus frames. Whatever comes: nothing traps, values lie inside of what came and are
// as many as were asked for, what is found stays found when more comes, and every register type makes a number of them.

import Bytes
import Fieldbus

/// What libFuzzer calls with each input: unit, table, count, whether it is TCP, and what comes.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzModbus(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = Array(UnsafeBufferPointer(start: start, count: count))
  guard input.count >= 4, let table = ModbusTable(rawValue: input[1] & 3 + 1) else { return 0 }
  let request = ModbusRequest(
    unit: input[0], table: table, first: 0, count: UInt16(max(1, min(Int(input[2]), table.countMax))),
    transaction: input[3] & 1 == 1 ? 0x1501 : nil)
  let bytes = Array(input[4...])
  let whole = request.findReply(in: bytes.span)
  for end in 0...bytes.count {
    let part = Array(bytes[..<end])
    let found = request.findReply(in: part.span)
    if case .incomplete = found { continue }
    precondition(request.transaction == nil || found == whole, "more bytes have changed a reply over TCP")
    if case .values(let values) = found { check(values, request, part) }
  }
  return 0
}

private func check(_ values: ModbusValues, _ request: ModbusRequest, _ bytes: [UInt8]) {
  precondition(values.range.lowerBound >= 0 && values.range.upperBound <= bytes.count, "values outside of the reply")
  var registers = InlineArray<4, UInt16>(repeating: 0)
  for index in 0..<Int(request.count) {
    registers[index & 3] = values.value(index, of: request.table, in: bytes.span)
    for type in 0..<7 {
      _ = RegisterType(rawValue: UInt8(type))?.number(registers, RegisterOrder(rawValue: UInt8(index & 3)) ?? .abcd)
    }
  }
}
