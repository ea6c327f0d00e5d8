// Hardware monitoring chips: /sys/class/hwmon/hwmonN, as Documentation/hwmon/sysfs-interface.rst of the kernel has it:
// `name`, and for each input `TYPEn_input` with an optional `TYPEn_label`. Older drivers have all of that, or part of
// it, one folder below, in `device`, which is a link to the chip's own.

import Bytes
import HostInterface

/// What the inputs of a chip measure, in the order of the units of `SourceKind.hwmon`.
enum HwmonQuantity: UInt8, BitwiseCopyable {
  case temperature, voltage, current, power, energy, humidity, fan, frequency

  /// The beginning of the file's name.
  var prefix: Span<UInt8> {
    @_lifetime(immortal)
    get { SourceKind.hwmon.description.quantities.word(Int(rawValue)) }
  }

  /// The kernel's number times ten to this power is the value in the unit.
  var exponent: Int {
    switch self {
    case .temperature, .voltage, .current, .humidity: -3
    case .power, .energy: -6
    case .fan, .frequency: 0
    }
  }
}

/// One input of a chip.
struct HwmonInput: BitwiseCopyable {
  let quantity: HwmonQuantity
  let number: Int

  /// Takes `temp1_input` apart; nil for any other file.
  init?(fileName: Span<UInt8>) {
    var raw: UInt8 = 0
    while let quantity = HwmonQuantity(rawValue: raw) {
      raw += 1
      let prefix = quantity.prefix
      guard fileName.count >= prefix.count, fileName.extracting(0..<prefix.count).equals(prefix) else { continue }
      guard let underscore = fileName.firstIndex(of: UInt8(ascii: "_")),
        fileName.extracting(underscore..<fileName.count).equals("_input"),
        underscore > prefix.count,
        let number = parseUnsigned(fileName.extracting(prefix.count..<underscore)), number < 1000
      else { continue }
      self.quantity = quantity
      self.number = Int(number)
      return
    }
    return nil
  }

  /// Temperatures first, and by number: a person's order, whatever the folder's is.
  func comes(before other: HwmonInput) -> Bool {
    (quantity.rawValue, number) < (other.quantity.rawValue, other.number)
  }

  /// Appends `temp1`.
  func appendName(to text: inout PathText) {
    text.append(quantity.prefix)
    text.append(decimal: number)
  }
}

/// One chip with its inputs in order.
struct HwmonChip: ~Copyable {
  /// More inputs than any chip has; the rest is ignored.
  typealias Inputs = InlineArray<64, HwmonInput?>

  let number: Int
  /// What its driver calls it; without that its device's name, or its own.
  let name: PathText
  /// The name of its device, `1-0048` of an I2C bus, which stays when chips are numbered anew; empty without one.
  let device: PathText
  private var folder: PathText
  private var inputs = Inputs(repeating: nil)
  private(set) var inputCount = 0

  @inline(never)
  init(number: Int, folder: consuming PathText) {
    self.number = number
    var devicePath = PathText(copying: folder)
    devicePath.append("/device")
    device = System.nameOfLinkTarget(devicePath) ?? PathText()
    name = HwmonChip.name(number, in: folder, device)
    self.folder = folder
    findInputs()
    guard inputCount == 0 else { return }
    self.folder = devicePath
    findInputs()
  }

  private static func name(_ number: Int, in folder: borrowing PathText, _ device: borrowing PathText) -> PathText {
    if let name = readAttribute("/name", of: folder) { return name }
    if let name = readAttribute("/device/name", of: folder) { return name }
    if device.count > 0 { return PathText(copying: device) }
    return ownName(number)
  }

  /// hwmonN.
  static func ownName(_ number: Int) -> PathText {
    var name = PathText()
    name.append("hwmon")
    name.append(decimal: number)
    return name
  }

  private mutating func findInputs() {
    var inputs = Inputs(repeating: nil)
    var count = 0
    Directory.forEachEntry(of: folder) { fileName in
      guard let input = HwmonInput(fileName: fileName) else { return true }
      var position = count
      while position > 0, let before = inputs[position - 1], input.comes(before: before) {
        inputs[position] = before
        position -= 1
      }
      inputs[position] = input
      count += 1
      return count < inputs.count
    }
    self.inputs = inputs
    inputCount = count
  }

  func input(_ index: Int) -> HwmonInput? { inputs[index] }

  /// NAME@DEVICE.
  var nameAtDevice: PathText {
    var text = PathText(copying: name)
    text.append("@")
    text.append(device)
    return text
  }

  /// Whether a configuration may call it so: NAME, NAME@DEVICE or hwmonN.
  func isNamed(_ text: Span<UInt8>) -> Bool {
    if name.equals(text) || HwmonChip.ownName(number).equals(text) { return true }
    return device.count > 0 && nameAtDevice.equals(text)
  }

  /// The input with that label or, failing that, that name.
  func input(named name: Span<UInt8>) -> HwmonInput? {
    for index in 0..<inputCount {
      if let input = inputs[index], let label = label(of: input), label.equals(name) { return input }
    }
    for index in 0..<inputCount {
      guard let input = inputs[index] else { continue }
      var ownName = PathText()
      input.appendName(to: &ownName)
      if ownName.equals(name) { return input }
    }
    return nil
  }

  /// The label that the driver gives the input, if any.
  func label(of input: HwmonInput) -> PathText? {
    readAttribute(path(of: input, "_label"))
  }

  func valuePath(of input: HwmonInput) -> PathText {
    path(of: input, "_input")
  }

  @inline(never)
  private func path(of input: HwmonInput, _ suffix: StaticString) -> PathText {
    var path = PathText(copying: folder)
    path.append("/")
    input.appendName(to: &path)
    path.append(suffix)
    return path
  }
}

/// All chips.
enum HwmonChips {
  /// The chip with the lowest number above `number`.
  @inline(never)
  static func next(after number: Int, _ roots: borrowing MachineRoots) -> HwmonChip? {
    var folder = roots.classPath("hwmon")
    guard let number = NumberedFolders.next(after: number, "hwmon", in: folder) else { return nil }
    folder.append("/hwmon")
    folder.append(decimal: number)
    return HwmonChip(number: number, folder: folder)
  }

  /// Whether another chip has the name of this one.
  static func isNameShared(_ chip: borrowing HwmonChip, _ roots: borrowing MachineRoots) -> Bool {
    var number = -1
    while let other = next(after: number, roots) {
      number = other.number
      if number != chip.number, chip.name.withBytes({ other.name.equals($0) }) { return true }
    }
    return false
  }
}
