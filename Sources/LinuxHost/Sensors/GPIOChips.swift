// GPIO chips: /dev/gpiochipN, and below /sys/bus/gpio/devices what hardware they are.

import Bytes
import CLinux
import Fieldbus
import HostInterface

/// One chip, open; to be closed by whoever has it.
struct GPIOChip: ~Copyable {
  let number: Int
  let descriptor: Int32
  /// gpiochip_info.
  let information: InlineArray<68, UInt8>

  /// How many lines it has.
  var lineCount: UInt32 { information.span.structureNumber(at: LineStructure.number) }

  /// The chip with the lowest number above `number`, but for those that cannot be opened.
  @inline(never)
  static func next(after number: Int, _ roots: borrowing MachineRoots) -> GPIOChip? {
    var folder = PathText(copying: roots.sys)
    folder.append("/bus/gpio/devices")
    var number = number
    while let found = NumberedFolders.next(after: number, "gpiochip", in: folder) {
      number = found
      if let chip = GPIOChip(number: found) { return chip }
    }
    return nil
  }

  /// The chip `number`; nil where it cannot be opened.
  @inline(never)
  init?(number: Int) {
    var path = PathText()
    path.append("/dev/gpiochip")
    path.append(decimal: number)
    let opened: Int32
    do throws(Errno) { opened = try System.openForReading(path) } catch { return nil }
    var bytes = InlineArray<68, UInt8>(repeating: 0)
    var span = bytes.mutableSpan
    guard span.control(opened, LineRequestNumber.chipInfo) else {
      System.close(opened)
      return nil
    }
    self.number = number
    descriptor = opened
    information = bytes
  }

  /// Whether it goes by `name`: `gpiochipN`, its label, or that of the hardware that it belongs to, which is the only
  /// one of them that never changes.
  func isNamed(_ name: Span<UInt8>, _ roots: borrowing MachineRoots) -> Bool {
    if name.starts(with: "gpiochip"), let found = parseUnsigned(name.extracting(8..<name.count)) {
      return found == UInt64(number)
    }
    let bytes = information.span
    if bytes.extracting(bytes.structureName(at: LineStructure.secondName)).equals(name) { return true }
    var path = PathText(copying: roots.sys)
    path.append("/bus/gpio/devices/gpiochip")
    path.append(decimal: number)
    path.append("/device")
    return System.nameOfLinkTarget(path)?.equals(name) ?? false
  }

  /// gpio_v2_line_info of a line; nil where the kernel is older than 5.10, or has no such line.
  @inline(never)
  func line(_ offset: UInt32) -> InlineArray<256, UInt8>? {
    var bytes = InlineArray<256, UInt8>(repeating: 0)
    for byte in 0..<4 {
      bytes[LineStructure.number + byte] = UInt8(truncatingIfNeeded: offset >> UInt32(8 * byte))
    }
    var span = bytes.mutableSpan
    return span.control(descriptor, LineRequestNumber.lineInfo) ? bytes : nil
  }

  /// The line called `name`, counted from `offset`; nil where there is none.
  @inline(never)
  func line(named name: Span<UInt8>, from offset: UInt32) -> UInt32? {
    var offset = offset
    while offset < lineCount {
      if let line = line(offset), line.span.extracting(line.span.structureName(at: 0)).equals(name) { return offset }
      offset += 1
    }
    return nil
  }
}

extension GPIOChip {
  /// GPIO_V2_GET_LINE: makes a line ours. Gives the descriptor of the request, or -1 with errno.
  @inline(never)
  func request(_ line: UInt32, _ flags: UInt32, _ attribute: LineAttribute) -> Int32 {
    var bytes = InlineArray<592, UInt8>(repeating: 0)
    LineRequest.encode(line: line, flags: flags, attribute, into: &bytes)
    var span = bytes.mutableSpan
    guard span.control(descriptor, LineRequestNumber.line) else { return -1 }
    return Int32(truncatingIfNeeded: bytes.span.structureNumber(at: LineStructure.descriptor))
  }
}

extension MutableSpan<UInt8> {
  /// ioctl(2) with these bytes; false when it fails.
  @inline(never)
  mutating func control(_ descriptor: Int32, _ request: UInt32) -> Bool {
    withUnsafeMutableBufferPointer { buffer in
      guard let start = buffer.baseAddress else { return false }
      return mote_control_device(descriptor, request, start) >= 0
    }
  }
}

extension SensorListing {
  /// The lines of all chips: those that have names, and where none has, all of them. Nothing is asked of a line: it
  /// would have to be taken for that, and what it is for might change.
  mutating func listLines(_ body: SensorBody) {
    var number = -1
    while let chip = GPIOChip.next(after: number, roots) {
      number = chip.number
      var hasNames = false
      for offset in 0..<chip.lineCount where !hasNames {
        if let line = chip.line(offset) { hasNames = line[0] != 0 }
      }
      for offset in 0..<chip.lineCount { listLine(offset, of: chip, hasNames: hasNames, body) }
      System.close(chip.descriptor)
    }
  }

  private mutating func listLine(
    _ offset: UInt32, of chip: borrowing GPIOChip, hasNames: Bool, _ body: SensorBody
  ) {
    guard let line = chip.line(offset), !hasNames || line[0] != 0 else { return }
    var argument = PathText()
    argument.append(line.span.extracting(line.span.structureName(at: 0)))
    // A name with blanks in it cannot be written there.
    if argument.count == 0 || argument.withBytes({ $0.firstIndex(of: UInt8(ascii: " ")) != nil }) {
      argument.truncate(to: 0)
      argument.append("gpiochip")
      argument.append(decimal: chip.number)
      argument.append("/")
      argument.append(decimal: Int(offset))
    }
    var path = PathText()
    path.append("/dev/gpiochip")
    path.append(decimal: chip.number)
    path.append(" line ")
    path.append(decimal: Int(offset))
    let flags = line.span.structureNumber(at: LineStructure.lineFlags)
    path.append(flags & LineFlag.output != 0 ? ", output" : ", input")
    if flags & LineFlag.used != 0 {
      path.append(", of ")
      path.append(line.span.extracting(line.span.structureName(at: LineStructure.secondName)))
    }
    add(.gpio, argument, name: argument, path: path, SensorUnit(.gpio), makesCurve: false, body)
  }
}
