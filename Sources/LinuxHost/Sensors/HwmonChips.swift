// Hardware monitoring chips: /sys/class/hwmon/hwmonN, as Documentation/hwmon/sysfs-interface.rst of the kernel has it:
// `name`, and for each input `TYPEn_input` with an optional `TYPEn_label`.

import Bytes

/// What the inputs of a chip measure, in the order of the units of `SourceKind.hwmon`.
enum HwmonQuantity: UInt8, BitwiseCopyable {
  case temperature, voltage, current, power, energy, humidity, fan, frequency

  /// The beginning of the file's name.
  var prefix: Span<UInt8> {
    @_lifetime(immortal)
    get { WordList("temp|in|curr|power|energy|humidity|fan|freq").word(Int(rawValue)) }
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
  let name: PathText
  let folder: PathText
  private var inputs = Inputs(repeating: nil)
  private(set) var inputCount = 0

  init(number: Int, name: consuming PathText, folder: consuming PathText) {
    self.number = number
    self.name = name
    self.folder = folder
    var inputs = Inputs(repeating: nil)
    var count = 0
    Directory.forEachEntry(of: self.folder) { fileName in
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

  /// Whether `name` is its own name, hwmonN.
  func isNamed(_ name: Span<UInt8>) -> Bool {
    guard name.starts(with: "hwmon") else { return false }
    return parseUnsigned(name.extracting(5..<name.count)) == UInt64(number)
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
  /// Numbers from 0 up to this are looked at.
  static var numberMax: Int { 64 }

  /// The chip with that number, if there is one.
  @inline(never)
  static func chip(_ number: Int, _ roots: borrowing MachineRoots) -> HwmonChip? {
    var folder = roots.classPath("hwmon")
    folder.append("/hwmon")
    folder.append(decimal: number)
    var namePath = PathText(copying: folder)
    namePath.append("/name")
    guard let name = readAttribute(namePath) else { return nil }
    return HwmonChip(number: number, name: name, folder: folder)
  }
}
