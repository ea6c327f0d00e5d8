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
  /// Whether it moves: counters and sizes that stay as they are make dull charts.
  public let makesCurve: Bool
}

/// What is called with each sensor and its text.
typealias SensorBody = (ListedSensor, Span<UInt8>) -> Void

/// Finds what can be read. Looks only at folders and names; reading is the caller's affair.
public struct SensorListing: ~Copyable {
  /// The room that the text of one sensor needs, in bytes.
  public static var textBytesMax: Int { 3 * 512 }

  let roots: MachineRoots
  private var text: ByteBuffer

  /// Looks under `roots`; takes room for the text of one sensor from `arena`.
  public init(roots: consuming MachineRoots = MachineRoots(), from arena: inout Arena) throws(ArenaExhausted) {
    text = try ByteBuffer(capacity: SensorListing.textBytesMax, for: "sensor listing", from: &arena)
    self.roots = roots
  }

  /// Calls `body` with each sensor and its text, in an order that does not change as long as the machine does not.
  public mutating func forEach(_ body: (ListedSensor, Span<UInt8>) -> Void) {
    for raw in 0..<SourceKind.count {
      if let kind = SourceKind(rawValue: UInt8(raw)) { list(kind, body) }
    }
  }

  // MARK: Kinds

  mutating func listThermalZones(_ body: SensorBody) {
    var number = -1
    while let zone = ThermalZones.next(after: number, roots) {
      number = zone.number
      // A type that several zones have leads to the first: the others go by their own names.
      var argument = PathText(copying: zone.type)
      if !leads(.thermal, argument, to: zone.valuePath) {
        argument = PathText()
        argument.append("thermal_zone")
        argument.append(decimal: number)
      }
      let unit = SensorUnit(.thermal, exponent: ThermalZones.exponent)
      add(.thermal, argument, name: argument, path: zone.valuePath, unit, makesCurve: true, body)
    }
  }

  mutating func listHwmonChips(_ body: SensorBody) {
    var number = -1
    while let chip = HwmonChips.next(after: number, roots) {
      number = chip.number
      if chip.name.equals(OneWireChips.mirrorName.bytes) { continue }
      let isShared = HwmonChips.isNameShared(chip, roots)
      for index in 0..<chip.inputCount {
        guard let input = chip.input(index) else { continue }
        let argument = hwmonArgument(chip, input, isShared: isShared)
        let unit = SensorUnit(.hwmon, Int(input.quantity.rawValue), exponent: input.quantity.exponent)
        add(.hwmon, argument, name: argument, path: chip.valuePath(of: input), unit, makesCurve: true, body)
      }
    }
  }

  /// The most telling of NAME/LABEL, NAME/INPUT, hwmonN/LABEL and hwmonN/INPUT that leads to the input: chips and
  /// labels may occur twice. Where several chips have a name, their devices tell them apart, whatever their numbers are
  /// at the next start.
  private func hwmonArgument(_ chip: borrowing HwmonChip, _ input: HwmonInput, isShared: Bool) -> PathText {
    let path = chip.valuePath(of: input)
    var inputName = PathText()
    input.appendName(to: &inputName)
    let label = chip.label(of: input) ?? PathText(copying: inputName)
    let ownName = HwmonChip.ownName(chip.number)

    let name = isShared && chip.device.count > 0 ? chip.nameAtDevice : PathText(copying: chip.name)
    let byLabel = joined(name, label)
    if leads(.hwmon, byLabel, to: path) { return byLabel }
    let byInput = joined(name, inputName)
    if leads(.hwmon, byInput, to: path) { return byInput }
    let ownByLabel = joined(ownName, label)
    if leads(.hwmon, ownByLabel, to: path) { return ownByLabel }
    return joined(ownName, inputName)
  }

  mutating func listIIODevices(_ body: SensorBody) {
    var number = -1
    while let device = IIODevices.next(after: number, roots) {
      number = device.number
      let isShared = IIODevices.isNameShared(device, roots)
      var earlier = PathText()
      while let channel = device.channel(after: earlier) {
        earlier = PathText(copying: channel.name)
        let path = device.valuePath(of: channel)
        let name = isShared && device.parent.count > 0 ? device.nameAtParent : PathText(copying: device.name)
        var argument = joined(name, device.label(of: channel) ?? PathText(copying: channel.name))
        if !leads(.iio, argument, to: path) { argument = joined(name, channel.name) }
        if !leads(.iio, argument, to: path) { argument = joined(IIODevice.ownName(number), channel.name) }
        let quantity = channel.name.withBytes { SourceKind.iio.description.quantity(of: $0) }
        let unit = SensorUnit(.iio, quantity ?? Int(UInt8.max), exponent: IIODevices.exponent(of: quantity))
        add(.iio, argument, name: argument, path: path, unit, makesCurve: true, body)
      }
    }
  }

  mutating func listOneWireChips(_ body: SensorBody) {
    let roots = MachineRoots(copying: roots)
    Directory.forEachEntry(of: roots.busPath("w1")) { chip in
      guard OneWireChips.isThermometer(chip), let path = roots.oneWirePath(chip) else { return true }
      var name = PathText()
      name.append("w1_")
      name.append(chip)
      add(.w1, PathText(chip), name: name, path: path, SensorUnit(.w1, exponent: -3), makesCurve: true, body)
      return true
    }
  }

  mutating func listInterfaces(_ body: SensorBody) {
    var index = 0
    while let interface = NetworkInterfaces.next(after: index, roots) {
      index = interface.index
      if interface.isLoopback { continue }
      addCounter(interface, "rx-bytes", body)
      addCounter(interface, "tx-bytes", body)
      addCounter(interface, "rx-packets", body)
      addCounter(interface, "tx-packets", body)
      addCounter(interface, "rx-errors", body)
      addCounter(interface, "tx-errors", body)
    }
  }

  mutating func listDisks(_ body: SensorBody) {
    let roots = MachineRoots(copying: roots)
    Mounts.forEach(roots) { folder in
      addDisk(folder, "available", body)
      addDisk(folder, "percent", body)
    }
  }

  // MARK: One sensor

  @inline(never)
  mutating func addSystem(
    _ kind: SourceKind, _ word: StaticString, _ name: StaticString, makesCurve: Bool = false, _ body: SensorBody
  ) {
    guard let path = roots.path(of: kind, place: Span()), System.status(of: path) != nil else { return }
    add(
      kind, PathText(word.bytes), name: PathText(name.bytes), path: path, unit(of: kind, word),
      makesCurve: makesCurve, body)
  }

  @inline(never)
  private func unit(of kind: SourceKind, _ word: StaticString) -> SensorUnit {
    SensorUnit(kind, kind.description.words.index(of: word.bytes) ?? 0)
  }

  @inline(never)
  private mutating func addCounter(
    _ interface: borrowing NetworkInterface, _ counter: StaticString, _ body: SensorBody
  ) {
    let argument = joined(interface.name, PathText(counter.bytes))
    guard let path = argument.withBytes({ roots.path(of: .network, place: $0) }), System.status(of: path) != nil
    else { return }
    add(
      .network, argument, name: argument, path: path, unit(of: .network, counter), makesCurve: false, body)
  }

  @inline(never)
  private mutating func addDisk(
    _ folder: borrowing PathText, _ quantity: StaticString, _ body: SensorBody
  ) {
    let isRoot = folder.count == 1
    let argument = joined(isRoot ? PathText() : PathText(copying: folder), PathText(quantity.bytes))
    var name = PathText()
    name.append("disk_")
    name.append(isRoot ? PathText(("root" as StaticString).bytes) : PathText(copying: folder))
    name.append("_")
    name.append(quantity)
    add(.disk, argument, name: name, path: folder, unit(of: .disk, quantity), makesCurve: false, body)
  }

  @inline(never)
  mutating func add(
    _ kind: SourceKind, _ argument: borrowing PathText, name: borrowing PathText, path: borrowing PathText,
    _ unit: SensorUnit, makesCurve: Bool, _ body: SensorBody
  ) {
    guard !argument.isTooLong, !path.isTooLong else { return }
    text.removeAll()
    text.append(argument)
    let nameStart = text.count
    appendName(name)
    let pathStart = text.count
    text.append(path)
    let sensor = ListedSensor(
      kind: kind, argument: 0..<nameStart, name: nameStart..<pathStart, path: pathStart..<text.count, unit: unit,
      makesCurve: makesCurve)
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
