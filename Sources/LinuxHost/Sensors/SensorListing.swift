// What this machine has to read, for a person who wants to configure it.

import Bytes
import CLinux
import HostInterface

/// One thing that can be read. Ranges are of the text that comes with it.
public struct ListedSensor: Sendable {
  /// What stands before the colon of `read =`.
  public let kind: SourceKind
  /// What stands behind it.
  public let argument: Range<Int>
  /// A name that a configuration could give it: lower-case letters, digits and underscores.
  public let name: Range<Int>
  /// The file that is read, or for a disk the folder where it is mounted.
  public let path: Range<Int>
  /// What the source's numbers mean.
  public let unit: SensorUnit
}

/// Finds what can be read. Looks only at folders and names; reading is the caller's affair.
public struct SensorListing: ~Copyable {
  /// The room that the text of one sensor needs, in bytes.
  public static var textBytesMax: Int { 3 * 512 }

  private let roots: MachineRoots
  private var text: ByteBuffer

  /// Looks under `roots`; takes room for the text of one sensor from `arena`.
  public init(roots: consuming MachineRoots = MachineRoots(), from arena: inout Arena) throws(ArenaExhausted) {
    text = try ByteBuffer(capacity: SensorListing.textBytesMax, for: "sensor listing", from: &arena)
    self.roots = roots
  }

  /// Calls `body` with each sensor and its text, in an order that does not change as long as the machine does not.
  public mutating func forEach(_ body: (ListedSensor, Span<UInt8>) -> Void) {
    listThermalZones(body)
    listHwmonChips(body)
    listSystem(body)
    listInterfaces(body)
    listDisks(body)
  }

  // MARK: Kinds

  private mutating func listThermalZones(_ body: (ListedSensor, Span<UInt8>) -> Void) {
    for number in 0..<ThermalZones.numberMax {
      guard let zone = ThermalZones.zone(number, roots) else { continue }
      // A type that several zones have leads to the first: the others go by their own names.
      var argument = PathText(copying: zone.type)
      if !leads(.thermal, argument, to: zone.valuePath) {
        argument = PathText()
        argument.append("thermal_zone")
        argument.append(decimal: number)
      }
      add(.thermal, argument, name: argument, path: zone.valuePath, SensorUnit("°C", exponent: -3), body)
    }
  }

  private mutating func listHwmonChips(_ body: (ListedSensor, Span<UInt8>) -> Void) {
    for number in 0..<HwmonChips.numberMax {
      guard let chip = HwmonChips.chip(number, roots) else { continue }
      for index in 0..<chip.inputCount {
        guard let input = chip.input(index) else { continue }
        let argument = hwmonArgument(chip, input)
        add(.hwmon, argument, name: argument, path: chip.valuePath(of: input), input.quantity.unit, body)
      }
    }
  }

  /// The most telling of CHIP/LABEL, CHIP/INPUT, hwmonN/LABEL and hwmonN/INPUT that leads to the input: chips and
  /// labels may occur twice.
  private func hwmonArgument(_ chip: borrowing HwmonChip, _ input: HwmonInput) -> PathText {
    let path = chip.valuePath(of: input)
    var inputName = PathText()
    input.appendName(to: &inputName)
    let label = chip.label(of: input) ?? PathText(copying: inputName)
    var ownName = PathText()
    ownName.append("hwmon")
    ownName.append(decimal: chip.number)

    let byLabel = joined(chip.name, label)
    if leads(.hwmon, byLabel, to: path) { return byLabel }
    let byInput = joined(chip.name, inputName)
    if leads(.hwmon, byInput, to: path) { return byInput }
    let ownByLabel = joined(ownName, label)
    if leads(.hwmon, ownByLabel, to: path) { return ownByLabel }
    return joined(ownName, inputName)
  }

  private mutating func listSystem(_ body: (ListedSensor, Span<UInt8>) -> Void) {
    addSystem(.cpu, "usage", "cpu_usage", SensorUnit("%", exponent: 0), body)
    addSystem(.loadavg, "1", "load_1", SensorUnit("", exponent: 0), body)
    addSystem(.loadavg, "5", "load_5", SensorUnit("", exponent: 0), body)
    addSystem(.loadavg, "15", "load_15", SensorUnit("", exponent: 0), body)
    addSystem(.memory, "available", "memory_available", SensorUnit("B", exponent: 0), body)
    addSystem(.memory, "used", "memory_used", SensorUnit("B", exponent: 0), body)
    addSystem(.memory, "total", "memory_total", SensorUnit("B", exponent: 0), body)
    addSystem(.uptime, "", "uptime", SensorUnit("s", exponent: 0), body)
  }

  private mutating func listInterfaces(_ body: (ListedSensor, Span<UInt8>) -> Void) {
    var index = 0
    while let interface = NetworkInterfaces.next(after: index, roots) {
      index = interface.index
      if interface.isLoopback { continue }
      addCounter(interface, "rx-bytes", SensorUnit("B", exponent: 0), body)
      addCounter(interface, "tx-bytes", SensorUnit("B", exponent: 0), body)
      addCounter(interface, "rx-packets", SensorUnit("", exponent: 0), body)
      addCounter(interface, "tx-packets", SensorUnit("", exponent: 0), body)
      addCounter(interface, "rx-errors", SensorUnit("", exponent: 0), body)
      addCounter(interface, "tx-errors", SensorUnit("", exponent: 0), body)
    }
  }

  private mutating func listDisks(_ body: (ListedSensor, Span<UInt8>) -> Void) {
    let roots = MachineRoots(copying: roots)
    Mounts.forEach(roots) { folder in
      addDisk(folder, "available", SensorUnit("B", exponent: 0), body)
      addDisk(folder, "percent", SensorUnit("%", exponent: 0), body)
    }
  }

  // MARK: One sensor

  @inline(never)
  private mutating func addSystem(
    _ kind: SourceKind, _ word: StaticString, _ name: StaticString, _ unit: SensorUnit,
    _ body: (ListedSensor, Span<UInt8>) -> Void
  ) {
    guard let path = roots.path(of: kind, place: Span()), System.status(of: path) != nil else { return }
    add(kind, PathText(word.bytes), name: PathText(name.bytes), path: path, unit, body)
  }

  @inline(never)
  private mutating func addCounter(
    _ interface: borrowing NetworkInterface, _ counter: StaticString, _ unit: SensorUnit,
    _ body: (ListedSensor, Span<UInt8>) -> Void
  ) {
    let argument = joined(interface.name, PathText(counter.bytes))
    guard let path = argument.withBytes({ roots.path(of: .network, place: $0) }), System.status(of: path) != nil
    else { return }
    add(.network, argument, name: argument, path: path, unit, body)
  }

  @inline(never)
  private mutating func addDisk(
    _ folder: borrowing PathText, _ quantity: StaticString, _ unit: SensorUnit,
    _ body: (ListedSensor, Span<UInt8>) -> Void
  ) {
    let isRoot = folder.count == 1
    let argument = joined(isRoot ? PathText() : PathText(copying: folder), PathText(quantity.bytes))
    var name = PathText()
    name.append("disk_")
    name.append(isRoot ? PathText(("root" as StaticString).bytes) : PathText(copying: folder))
    name.append("_")
    name.append(quantity)
    add(.disk, argument, name: name, path: folder, unit, body)
  }

  @inline(never)
  private mutating func add(
    _ kind: SourceKind, _ argument: borrowing PathText, name: borrowing PathText, path: borrowing PathText,
    _ unit: SensorUnit, _ body: (ListedSensor, Span<UInt8>) -> Void
  ) {
    guard !argument.isTooLong, !path.isTooLong else { return }
    text.removeAll()
    text.append(argument)
    let nameStart = text.count
    appendName(name)
    let pathStart = text.count
    text.append(path)
    let sensor = ListedSensor(
      kind: kind, argument: 0..<nameStart, name: nameStart..<pathStart, path: pathStart..<text.count, unit: unit)
    body(sensor, text.span)
  }

  /// Anything but letters and digits becomes an underscore, several of them one, and none stands at either end.
  @inline(never)
  private mutating func appendName(_ name: borrowing PathText) {
    var isSeparated = true
    var needsSeparator = false
    for index in 0..<name.count {
      let byte = name.byte(index).lowercased
      guard byte.isDigit || (byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z")) else {
        needsSeparator = !isSeparated
        continue
      }
      if needsSeparator { text.append(UInt8(ascii: "_")) }
      needsSeparator = false
      isSeparated = false
      text.append(byte)
    }
  }

  @inline(never)
  private func joined(_ first: borrowing PathText, _ second: borrowing PathText) -> PathText {
    var argument = PathText(copying: first)
    argument.append("/")
    argument.append(second)
    return argument
  }

  /// Whether what a configuration would say is read at this path.
  @inline(never)
  private func leads(_ kind: SourceKind, _ argument: borrowing PathText, to path: borrowing PathText) -> Bool {
    guard let found = argument.withBytes({ roots.path(of: kind, place: $0) }) else { return false }
    return path.withBytes { found.equals($0) }
  }
}
