// What a board says about itself: in its device tree, in its firmware's tables (DMI), and in the system that it runs.

import Bytes

/// What can be asked.
public enum BoardItem: UInt8, Sendable, BitwiseCopyable {
  /// The board's own number.
  case serialNumber
  /// Who made it.
  case manufacturer
  /// What it is.
  case model
  /// The version of the system that it runs.
  case systemVersion
}

extension MachineRoots {
  /// Appends what the board says about `item`, or nothing.
  public func appendBoard(_ item: BoardItem, to buffer: inout ByteBuffer) {
    switch item {
    case .serialNumber: append("serial-number", orTable: "product_serial", to: &buffer)
    case .model: append("model", orTable: "product_name", to: &buffer)
    case .manufacturer: append("", orTable: "sys_vendor", to: &buffer)
    case .systemVersion: appendSystemVersion(to: &buffer)
    }
  }

  private func append(_ name: StaticString, orTable table: StaticString, to buffer: inout ByteBuffer) {
    var tree = PathText(copying: sys)
    tree.append("/firmware/devicetree/base/")
    tree.append(name)
    var tables = classPath("dmi/id/")
    tables.append(table)
    guard let text = readAttribute(tree) ?? readAttribute(tables) else { return }
    text.withBytes { bytes in
      // Texts of a device tree end with a zero.
      let end = bytes.firstIndex(of: 0) ?? bytes.count
      let text = bytes.extracting(0..<end)
      // What makers leave in where something was to be put.
      let fillers = WordList("default string|to be filled by o.e.m.|system serial number|not specified|none|0")
      if fillers.index(of: text) == nil { buffer.append(text) }
    }
  }

  /// `VERSION_ID` of os-release(5).
  private func appendSystemVersion(to buffer: inout ByteBuffer) {
    var memory = InlineArray<1024, UInt8>(repeating: 0)
    var bytes = memory.mutableSpan
    guard let count = System.readSmallFile(PathText(("/etc/os-release" as StaticString).bytes), into: &bytes) else {
      return
    }
    let text = memory.span.extracting(0..<count)
    var start = 0
    while start < text.count {
      let end = text.firstIndex(of: UInt8(ascii: "\n"), from: start) ?? text.count
      let line = text.extracting(start..<end)
      if line.starts(with: "VERSION_ID=") {
        for index in 11..<line.count where line[index] != UInt8(ascii: "\"") && line[index] != UInt8(ascii: "'") {
          buffer.append(line[index])
        }
        return
      }
      start = end + 1
    }
  }
}
