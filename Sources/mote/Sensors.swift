// `mote sensors`: what this machine has to read, each with its present value.

import Bytes
import HostInterface
import JSON
import LinuxHost
import Telemetry

/// Bounds of the list.
private enum SensorList {
  /// Sensors that are shown; a machine with more has them in its configuration by hand.
  static var sensorsMax: Int { 512 }
  /// Their names and paths, in bytes.
  static var textBytes: Int { 128 * 1024 }
  /// How long a slow sensor is waited for.
  static var sensorPatience: TimeSpan { .seconds(2) }
  /// How long all of them together are waited for.
  static var patience: TimeSpan { .seconds(30) }
  /// The time over which processor usage is measured.
  static var usagePeriod: TimeSpan { .milliseconds(250) }
  /// Sensors that are read side by side.
  static var sensorsAtOnce: Int { 4 }
}

/// One sensor of the list; ranges are of the list's text.
private struct ListEntry: BitwiseCopyable {
  let kind: SourceKind
  let unit: SensorUnit
  let argument: TextRange
  let name: TextRange
  let path: TextRange
  var channel: Channel
}

/// A range as trivial as the table needs it.
private struct TextRange: BitwiseCopyable {
  let lower: Int
  let upper: Int

  init(_ range: Range<Int>, at offset: Int) {
    lower = range.lowerBound + offset
    upper = range.upperBound + offset
  }

  var range: Range<Int> { lower..<upper }
}

/// Prints every sensor with its present value, as a table or as a JSON array.
func listSensors(asJSON: Bool) throws(ExitStatus) {
  guard var memory = MemoryBlock() else { throw .system }
  let plan = HostPlan(
    sensorCount: SensorList.sensorsMax, sensorTextBytes: SensorList.textBytes, commandCount: 0, commandTextBytes: 0,
    sourceTimeout: SensorList.sensorPatience)
  var host = try makeReadingHost(plan, from: &memory.arena)
  var list = try makeList(&host, from: &memory.arena)
  var raw = try takeBuffer(HostLimits.sourceBytesMax, from: &memory.arena)
  var output = ByteBuffer(memory.takeRest())

  // The first reading of processor usage tells of the whole time since boot, the second one of the present.
  let end = host.now() + SensorList.patience
  for index in 0..<list.entries.count where list.entries[index].channel.quantity.tellsOfPeriod {
    _ = list.read(index, into: &raw, until: end, &host)
  }
  let measured = host.now() + SensorList.usagePeriod
  while host.now() < measured { host.wait(until: measured) }

  output.append(
    asJSON ? "[" : "NAME                      READ                                VALUE             UNIT  FROM\n")
  for index in 0..<list.entries.count {
    let reading = list.read(index, into: &raw, until: end, &host)
    if asJSON {
      output.append(index > 0 ? ",\n " : "\n ")
      list.writeObject(index, reading, into: &output)
    } else {
      list.writeRow(index, reading, into: &output)
    }
  }
  if asJSON { output.append("\n]\n") }
  host.close()
  try printOut(output.span)
}

/// The sensors that were found, with their text.
private struct SensorTable: ~Copyable {
  var entries: FixedArray<ListEntry>
  /// The host's number of each.
  var sources: FixedArray<Int>
  var text: ByteBuffer

  mutating func read(
    _ index: Int, into raw: inout ByteBuffer, until end: Instant, _ host: inout LinuxHost
  ) -> Reading {
    if sources[index] < 0 { return .text(0..<0, isCut: false) }
    return readInTurn(index, of: sources, as: &entries[index].channel, field: Span(), into: &raw, until: end, &host)
  }

  func writeRow(_ index: Int, _ reading: Reading, into output: inout ByteBuffer) {
    let entry = entries[index]
    let nameStart = output.count
    output.append(text.span.extracting(entry.name.range))
    output.pad(to: nameStart + 26)
    let start = output.count
    appendRead(entry, into: &output)
    output.pad(to: start + 36)
    let valueStart = output.count
    switch reading {
    case .number(let value): output.append(value)
    case .counter(let value): output.append(decimal: value)
    case .failed(let failure):
      output.append(UInt8(ascii: "("))
      output.append(failure.name)
      output.append(UInt8(ascii: ")"))
    case .boolean, .text: break
    }
    output.pad(to: valueStart + 18)
    let unitStart = output.count
    let symbol = entry.unit.symbol
    output.append(symbol)
    // The degree sign has two bytes and one column.
    let isASCII = symbol.isEmpty || symbol[0] < 0x80
    output.pad(to: unitStart + 6 + (isASCII ? 0 : 1))
    output.append(text.span.extracting(entry.path.range))
    output.append(UInt8(ascii: "\n"))
  }

  func writeObject(_ index: Int, _ reading: Reading, into output: inout ByteBuffer) {
    let entry = entries[index]
    output.append("{\"name\":")
    output.appendJSON(string: text.span.extracting(entry.name.range))
    output.append(",\"read\":")
    output.append(UInt8(ascii: "\""))
    output.append(entry.kind.name)
    if !entry.argument.range.isEmpty { output.append(UInt8(ascii: ":")) }
    output.appendJSON(insideString: text.span.extracting(entry.argument.range))
    output.append(UInt8(ascii: "\""))
    output.append(",\"value\":")
    switch reading {
    case .number(let value): output.append(value)
    case .counter(let value): output.append(decimal: value)
    case .failed(let failure):
      output.append("null,\"failure\":")
      output.appendJSON(string: failure.name.bytes)
    case .boolean, .text: output.append("null")
    }
    output.append(",\"unit\":")
    output.appendJSON(string: entry.unit.symbol)
    output.append(",\"path\":")
    output.appendJSON(string: text.span.extracting(entry.path.range))
    output.append(UInt8(ascii: "}"))
  }

  /// What stands behind `read =`.
  private func appendRead(_ entry: ListEntry, into output: inout ByteBuffer) {
    output.append(entry.kind.name)
    guard !entry.argument.range.isEmpty else { return }
    output.append(UInt8(ascii: ":"))
    output.append(text.span.extracting(entry.argument.range))
  }
}

/// Reads the source at `index` while the next few are being read, and waits for it until `end`.
@inline(never)
func readInTurn(
  _ index: Int, of sources: borrowing FixedArray<Int>, as channel: inout Channel, field: Span<UInt8>,
  into raw: inout ByteBuffer, until end: Instant, _ host: inout LinuxHost
) -> Reading {
  while !host.prepareSource(sources[index]), host.now() < end {
    for next in index + 1..<min(index + SensorList.sensorsAtOnce, sources.count) where sources[next] >= 0 {
      _ = host.prepareSource(sources[next])
    }
    host.wait(until: end)
  }
  raw.removeAll()
  switch host.readSource(sources[index], into: &raw) {
  case .complete(let exponent): return channel.interpret(raw.span, field: field, exponent: exponent)
  case .pending: return .failed(.timeout)
  case .failed(let failure): return .failed(failure)
  }
}

// MARK: Finding

private func makeList(_ host: inout LinuxHost, from arena: inout Arena) throws(ExitStatus) -> SensorTable {
  do throws(ArenaExhausted) {
    return try findSensors(&host, from: &arena)
  } catch {
    throw .software
  }
}

private func findSensors(
  _ host: inout LinuxHost, from arena: inout Arena
) throws(ArenaExhausted) -> SensorTable {
  var entries = try FixedArray<ListEntry>(capacity: SensorList.sensorsMax, for: "sensors", from: &arena)
  var sources = try FixedArray<Int>(capacity: SensorList.sensorsMax, for: "sensors", from: &arena)
  var text = try ByteBuffer(capacity: SensorList.textBytes, for: "sensors", from: &arena)
  var listing = try SensorListing(from: &arena)
  listing.forEach { sensor, found in
    let argument = found.extracting(sensor.argument)
    guard entries.count < entries.capacity, found.count <= text.freeCount,
      // A line would have to be taken away from what it is for.
      let source = sensor.kind == .gpio ? -1 : host.openSource(sensor.kind, argument: argument),
      let quantity = Quantity.number(of: sensor.kind, argument: argument, hasField: false)
    else { return }
    let offset = text.count
    text.append(found)
    _ = sources.append(source)
    _ = entries.append(
      ListEntry(
        kind: sensor.kind, unit: sensor.unit, argument: TextRange(sensor.argument, at: offset),
        name: TextRange(sensor.name, at: offset), path: TextRange(sensor.path, at: offset),
        channel: Channel(quantity: quantity, offset: Decimal(0), scale: Decimal(1), fractionDigits: nil)))
  }
  return SensorTable(entries: entries, sources: sources, text: text)
}

/// A host that reads sensors and has nothing else to do.
func makeReadingHost(_ plan: HostPlan, from arena: inout Arena) throws(ExitStatus) -> LinuxHost {
  let links = try makeUnusedLinks(from: &arena)
  do throws(HostSetupFailure) {
    return try LinuxHost(links: links, storage: LinuxStorage(folder: nil), plan: plan, from: &arena)
  } catch {
    throw .system
  }
}

private func makeUnusedLinks(from arena: inout Arena) throws(ExitStatus) -> PerLink<Link> {
  do throws(ArenaExhausted) { return try makeLinks(message: .none, transfer: .none, from: &arena) } catch {
    throw .software
  }
}

extension ByteBuffer {
  /// Appends blanks up to a length, and at least one.
  fileprivate mutating func pad(to length: Int) {
    append(UInt8(ascii: " "))
    while count < length, freeCount > 0 { append(UInt8(ascii: " ")) }
  }
}
