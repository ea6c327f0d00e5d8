// Converters, accelerometers, light sensors and the like: /sys/bus/iio/devices/iio:deviceN, as
// Documentation/ABI/testing/sysfs-bus-iio of the kernel has it. A channel is `in_CHANNEL_input`, a value, or
// `in_CHANNEL_raw`, to which `_offset` is added before it is multiplied with `_scale`. Channels share these two where
// their files lack what tells the channels apart: in_voltage0_raw and in_voltage_scale.

import Bytes
import HostInterface

/// One channel.
struct IIOChannel: ~Copyable {
  /// What stands between `in_` and `_raw` or `_input`: `voltage0`, `voltage0-voltage1`, `accel_x`.
  let name: PathText
  /// Whether the driver gives the value itself, besides the raw one or in its place.
  let isProcessed: Bool
}

/// One device.
struct IIODevice: ~Copyable {
  let number: Int
  /// What its driver calls it, the part as a rule; without that its own name.
  let name: PathText
  /// The name of the device that it is part of, `1-0048` of an I2C bus, which stays when devices are numbered anew.
  let parent: PathText
  private let folder: PathText

  @inline(never)
  init(number: Int, folder: consuming PathText) {
    self.number = number
    name = readAttribute("/name", of: folder) ?? IIODevice.ownName(number)
    parent = System.nameOfLinkTarget(folder, levelsUp: 1) ?? PathText()
    self.folder = folder
  }

  /// iio:deviceN.
  static func ownName(_ number: Int) -> PathText {
    var name = PathText()
    name.append("iio:device")
    name.append(decimal: number)
    return name
  }

  /// NAME@PARENT.
  var nameAtParent: PathText {
    var text = PathText(copying: name)
    text.append("@")
    text.append(parent)
    return text
  }

  /// Whether a configuration may call it so: NAME, NAME@PARENT, iio:deviceN, or the label of the board's description.
  func isNamed(_ text: Span<UInt8>) -> Bool {
    if name.equals(text) || IIODevice.ownName(number).equals(text) { return true }
    if parent.count > 0, nameAtParent.equals(text) { return true }
    guard let label = readAttribute("/label", of: folder) else { return false }
    return label.equals(text)
  }

  /// The channel whose name comes next behind `earlier`, by bytes.
  @inline(never)
  func channel(after earlier: borrowing PathText) -> IIOChannel? {
    var best = PathText()
    Directory.forEachEntry(of: folder) { fileName in
      guard let range = IIODevice.channelName(in: fileName) else { return true }
      let name = fileName.extracting(range)
      if earlier.withBytes({ name.comes(after: $0) }), best.count == 0 || best.withBytes({ $0.comes(after: name) }) {
        best = PathText(name)
      }
      return true
    }
    return best.count > 0 ? makeChannel(best) : nil
  }

  private func makeChannel(_ name: consuming PathText) -> IIOChannel {
    let isProcessed = System.status(of: file(name, "_input")) != nil
    return IIOChannel(name: name, isProcessed: isProcessed)
  }

  /// The channel with that label or, failing that, that name.
  @inline(never)
  func channel(named name: Span<UInt8>) -> IIOChannel? {
    var isThere = false
    var earlier = PathText()
    while let channel = channel(after: earlier) {
      if let label = label(of: channel), label.equals(name) { return channel }
      earlier = PathText(copying: channel.name)
      if earlier.equals(name) { isThere = true }
    }
    return isThere ? makeChannel(PathText(name)) : nil
  }

  /// The label that the board's description gives the channel, if any.
  func label(of channel: borrowing IIOChannel) -> PathText? { readAttribute(file(channel.name, "_label")) }

  func valuePath(of channel: borrowing IIOChannel) -> PathText {
    file(channel.name, channel.isProcessed ? "_input" : "_raw")
  }

  private func file(_ channel: borrowing PathText, _ suffix: StaticString) -> PathText {
    var path = PathText(copying: folder)
    path.append("/in_")
    path.append(channel)
    path.append(suffix)
    return path
  }

  /// Where in the name of a file that has a channel's value the channel's name is.
  static func channelName(in fileName: Span<UInt8>) -> Range<Int>? {
    guard fileName.starts(with: "in_"), let end = fileName.lastIndex(of: UInt8(ascii: "_")), end > 3 else { return nil }
    let kind = fileName.extracting(end..<fileName.count)
    return kind.equals("_raw") || kind.equals("_input") ? 3..<end : nil
  }
}

/// All devices.
enum IIODevices {
  /// The device with the lowest number above `number`.
  @inline(never)
  static func next(after number: Int, _ roots: borrowing MachineRoots) -> IIODevice? {
    var folder = roots.busPath("iio")
    guard let number = NumberedFolders.next(after: number, "iio:device", in: folder) else { return nil }
    folder.append("/iio:device")
    folder.append(decimal: number)
    return IIODevice(number: number, folder: folder)
  }

  /// Whether another device has the name of this one.
  static func isNameShared(_ device: borrowing IIODevice, _ roots: borrowing MachineRoots) -> Bool {
    var number = -1
    while let other = next(after: number, roots) {
      number = other.number
      if number != device.number, device.name.withBytes({ other.name.equals($0) }) { return true }
    }
    return false
  }

  /// The power of ten that brings a value to its unit: most are in thousandths of it, pressure in thousands.
  static func exponent(of quantity: Int?) -> Int {
    switch quantity {
    case 0, 1, 2, 3, 4, 6, 7: -3
    case 8: 3
    default: 0
    }
  }

  /// What the numbers of a channel's file are; nil where one of the files that say it is there, and says nothing that
  /// can be understood: a raw value would be taken for what it is worth.
  @inline(never)
  static func numbers(at path: Span<UInt8>) -> SourceNumbers? {
    let start = (path.lastIndex(of: UInt8(ascii: "/")) ?? -1) + 1
    let fileName = path.extracting(start..<path.count)
    guard let range = IIODevice.channelName(in: fileName) else { return nil }
    let channel = fileName.extracting(range)
    let quantity = SourceKind.iio.description.quantity(of: channel)
    var numbers = SourceNumbers(exponent: exponent(of: quantity), areTemperatures: quantity == 0)
    guard fileName.extracting(range.upperBound..<fileName.count).equals("_raw") else { return numbers }
    let folder = path.extracting(0..<start)
    guard let offset = attribute("_offset", of: channel, in: folder, standard: Decimal(0)),
      let scale = attribute("_scale", of: channel, in: folder, standard: Decimal(1)), scale.significand != 0
    else { return nil }
    numbers.offset = offset
    numbers.scale = scale
    return numbers
  }

  /// What an attribute says that a channel may share with others: the channel's own, else the one without its index,
  /// without what modifies it, of its type, of all.
  private static func attribute(
    _ name: StaticString, of channel: Span<UInt8>, in folder: Span<UInt8>, standard: Decimal
  ) -> Decimal? {
    for omission in 0..<5 {
      var path = PathText(folder)
      path.append("in")
      if omission < 4 { path.append("_") }
      for index in channel.indices {
        let byte = channel[index]
        if omission >= 1, byte.isDigit { continue }
        if omission == 4 || (omission >= 2 && byte == UInt8(ascii: "_")) { break }
        if omission == 3, byte == UInt8(ascii: "-") { break }
        path.appendByte(byte)
      }
      path.append(name)
      guard System.status(of: path) != nil else { continue }
      guard let text = readAttribute(path) else { return nil }
      return text.withBytes { Decimal(parsing: $0) }
    }
    return standard
  }
}

extension Span where Element == UInt8 {
  /// Whether it comes behind another one, by bytes.
  fileprivate func comes(after other: Span<UInt8>) -> Bool {
    var index = 0
    while index < count, index < other.count {
      if self[index] != other[index] { return self[index] > other[index] }
      index += 1
    }
    return count > other.count
  }
}
