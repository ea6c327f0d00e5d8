// Where sources are found under /sys and /proc.

import Bytes

/// The folders under which the kernel shows itself. Tests lay out their own.
public struct MachineRoots: ~Copyable {
  private let pinned = Pinned()
  let sys: PathText
  let proc: PathText

  /// The real ones.
  @inline(never)
  public init() {
    self.init(sys: ("/sys" as StaticString).bytes, proc: ("/proc" as StaticString).bytes)
  }

  /// Others, each without a slash at its end.
  public init(sys: Span<UInt8>, proc: Span<UInt8>) {
    self.sys = PathText(sys)
    self.proc = PathText(proc)
  }

  @inline(never)
  init(copying other: borrowing MachineRoots) {
    sys = PathText(copying: other.sys)
    proc = PathText(copying: other.proc)
  }

  /// `NAME` under /sys/class.
  @inline(never)
  func classPath(_ name: StaticString) -> PathText {
    var path = PathText(copying: sys)
    path.append("/class/")
    path.append(name)
    return path
  }

  /// The devices of a bus, under /sys/bus.
  @inline(never)
  func busPath(_ bus: StaticString) -> PathText {
    var path = PathText(copying: sys)
    path.append("/bus/")
    path.append(bus)
    path.append("/devices")
    return path
  }

  /// `NAME` under /proc.
  @inline(never)
  func procPath(_ name: StaticString) -> PathText {
    var path = PathText(copying: proc)
    path.append("/")
    path.append(name)
    return path
  }
}

extension MachineRoots {
  /// `IFACE/COUNTER`, whose hyphens are underscores in the kernel's names.
  func networkPath(_ place: Span<UInt8>) -> PathText? {
    guard let slash = place.firstIndex(of: UInt8(ascii: "/")) else { return nil }
    let interface = place.extracting(0..<slash)
    let counter = place.extracting((slash + 1)..<place.count)
    guard isFileName(interface), isFileName(counter) else { return nil }
    var path = classPath("net")
    path.append("/")
    path.append(interface)
    path.append("/statistics/")
    for index in counter.indices {
      path.appendByte(counter[index] == UInt8(ascii: "-") ? UInt8(ascii: "_") : counter[index])
    }
    return path
  }

  /// A thermal zone by its type, or by its own name: several may have the same type.
  func thermalPath(_ place: Span<UInt8>) -> PathText? {
    var number = -1
    while let zone = ThermalZones.next(after: number, self) {
      number = zone.number
      if zone.isNamed(place) || (!place.isEmpty && zone.type.equals(place)) { return zone.valuePath }
    }
    return nil
  }

  /// `CHIP/LABEL`: the chip by its name, as `NAME@DEVICE` or as `hwmonN`, the input by its label or as `temp1`.
  func hwmonPath(_ place: Span<UInt8>) -> PathText? {
    guard let slash = place.firstIndex(of: UInt8(ascii: "/")) else { return nil }
    let chipName = place.extracting(0..<slash)
    let inputName = place.extracting((slash + 1)..<place.count)
    var number = -1
    while let chip = HwmonChips.next(after: number, self) {
      number = chip.number
      guard chip.isNamed(chipName) else { continue }
      if let input = chip.input(named: inputName) { return chip.valuePath(of: input) }
    }
    return nil
  }

  /// `DEVICE/CHANNEL`: the device by its name, its label, as `NAME@PARENT` or as `iio:deviceN`, the channel by its
  /// label or as `voltage0`.
  func iioPath(_ place: Span<UInt8>) -> PathText? {
    guard let slash = place.firstIndex(of: UInt8(ascii: "/")) else { return nil }
    let deviceName = place.extracting(0..<slash)
    let channelName = place.extracting((slash + 1)..<place.count)
    var number = -1
    while let device = IIODevices.next(after: number, self) {
      number = device.number
      guard device.isNamed(deviceName) else { continue }
      if let channel = device.channel(named: channelName) { return device.valuePath(of: channel) }
    }
    return nil
  }

  /// A 1-wire thermometer by its family and number, `28-0c1a2b3c4d5e`.
  func oneWirePath(_ place: Span<UInt8>) -> PathText? {
    guard isFileName(place) else { return nil }
    var path = busPath("w1")
    path.append("/")
    path.append(place)
    path.append("/w1_slave")
    return path
  }

  /// One component of a path, that leads nowhere else.
  private func isFileName(_ text: Span<UInt8>) -> Bool {
    !text.isEmpty && !text.equals(".") && !text.equals("..") && text.firstIndex(of: UInt8(ascii: "/")) == nil
  }
}

/// The text of one of the kernel's small files, trimmed: a name, a type, a label, a number.
@inline(never)
func readAttribute(_ path: borrowing PathText) -> PathText? {
  var memory = InlineArray<128, UInt8>(repeating: 0)
  var bytes = memory.mutableSpan
  let count = System.readSmallFile(path, into: &bytes)
  guard let count else { return nil }
  let text = memory.span
  return PathText(text.extracting(text.trimmed(0..<count)))
}

/// The same of a file in a folder; nil also where it is empty.
@inline(never)
func readAttribute(_ suffix: StaticString, of folder: borrowing PathText) -> PathText? {
  var path = PathText(copying: folder)
  path.append(suffix)
  guard let text = readAttribute(path), text.count > 0 else { return nil }
  return text
}
